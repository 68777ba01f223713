"""Stored credentials, sealed, and the descriptions of APIs that they are used with."""

from __future__ import annotations

from typing import ClassVar

import django.db.models.deletion
import django.db.models.functions
from django.conf import settings
from django.db import migrations, models
from django.db.models import Q

import executions.models.fields

NOW = django.db.models.functions.Now()


class Migration(migrations.Migration):
    """Adds both tables."""

    dependencies: ClassVar = [
        ("executions", "0008_add_indexes"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar = [
        migrations.CreateModel(
            name="ApiDescription",
            fields=[
                (
                    "id",
                    executions.models.fields.IdField(
                        db_collation="C", primary_key=True, serialize=False
                    ),
                ),
                ("provider", executions.models.fields.IdField(db_collation="C", unique=True)),
                ("title", models.TextField(blank=True, default="")),
                ("document", executions.models.fields.OrderedJSONField()),
                (
                    "base_url",
                    models.TextField(
                        blank=True,
                        default="",
                        help_text="Instead of the servers that the document names.",
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=NOW)),
                ("updated_at", models.DateTimeField(db_default=NOW)),
            ],
            options={"ordering": ("-id",)},
        ),
        migrations.CreateModel(
            name="Connection",
            fields=[
                (
                    "id",
                    executions.models.fields.IdField(
                        db_collation="C", primary_key=True, serialize=False
                    ),
                ),
                ("name", models.TextField()),
                (
                    "provider",
                    models.TextField(help_text="postgresql, http, the provider of an API, ..."),
                ),
                (
                    "fields",
                    models.JSONField(blank=True, default=dict, help_text="What is no secret."),
                ),
                ("secret_names", models.JSONField(blank=True, default=list)),
                ("sealed", models.BinaryField(blank=True, default=bytes)),
                ("wrapped_key", models.BinaryField(blank=True, default=bytes)),
                ("key_id", models.TextField(blank=True, default="")),
                ("created_at", models.DateTimeField(db_default=NOW)),
                ("updated_at", models.DateTimeField(db_default=NOW)),
                ("last_used_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "owner",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        help_text="Nobody: shared by the whole installation.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="connections",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
                "indexes": [
                    models.Index(fields=["provider", "owner"], name="connection_of_provider"),
                    models.Index(
                        condition=~Q(key_id=""), fields=["key_id", "id"], name="connection_of_key"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("owner", "name"), name="connection_name_once", nulls_distinct=False
                    ),
                    models.CheckConstraint(
                        condition=Q(revoked_at__isnull=True)
                        | Q(sealed=b"", wrapped_key=b"", key_id=""),
                        name="connection_revoked_is_empty",
                    ),
                ],
            },
        ),
        migrations.RunSQL(
            r"DO $$ DECLARE name text; BEGIN "
            r"FOR name IN SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() "
            r"AND tablename IN ('executions_connection', 'executions_apidescription') "
            r"AND indexname LIKE '%\_like' "
            r"LOOP EXECUTE format('DROP INDEX %I', name); END LOOP; END $$;",
            migrations.RunSQL.noop,
        ),
    ]
