"""The files of runs, and the pieces of their content."""

from __future__ import annotations

from typing import ClassVar

import django.db.models.deletion
import django.db.models.functions
from django.db import migrations, models

import executions.models.fields


class Migration(migrations.Migration):
    """Adds both tables; pieces are stored as they are, since most formats are compressed."""

    dependencies: ClassVar = [("executions", "0009_add_connections")]

    operations: ClassVar = [
        migrations.CreateModel(
            name="RunFile",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "run_id",
                        "path",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="files",
                        to="executions.run",
                    ),
                ),
                ("path", models.TextField(help_text="Relative, with / between folders.")),
                ("size", models.BigIntegerField(help_text="Bytes.")),
                ("media_type", models.TextField()),
                ("sha256", models.TextField()),
                (
                    "step",
                    models.TextField(
                        blank=True,
                        default="",
                        help_text="The step that wrote it: a retry may write it again.",
                    ),
                ),
                ("written_at", models.DateTimeField(db_default=django.db.models.functions.Now())),
            ],
            options={"ordering": ("path",)},
        ),
        migrations.CreateModel(
            name="FilePiece",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "run_id",
                        "path",
                        "number",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("run_id", executions.models.fields.IdField(db_collation="C")),
                ("path", models.TextField()),
                ("number", models.IntegerField()),
                ("content", models.BinaryField()),
            ],
            options={"ordering": ("number",)},
        ),
        migrations.RunSQL(
            "ALTER TABLE executions_filepiece ALTER COLUMN content SET STORAGE EXTERNAL",
            migrations.RunSQL.noop,
        ),
    ]
