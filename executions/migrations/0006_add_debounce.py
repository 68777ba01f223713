"""Bursts of triggers that become one run."""

from __future__ import annotations

from typing import ClassVar

import django.db.models.deletion
import django.db.models.functions
from django.db import migrations, models


class Migration(migrations.Migration):
    """Adds the table."""

    dependencies: ClassVar = [("executions", "0005_add_audit_log")]

    operations: ClassVar = [
        migrations.CreateModel(
            name="Debounce",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "task", "key", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("task", models.TextField()),
                ("key", models.TextField()),
                ("first_at", models.DateTimeField(db_default=django.db.models.functions.Now())),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="executions.run",
                    ),
                ),
            ],
        ),
    ]
