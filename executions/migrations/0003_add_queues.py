"""Queues with limits and pauses, and the indexes that claim around them."""

from __future__ import annotations

from typing import ClassVar

import django.db.models.functions
from django.db import migrations, models
from django.db.models import Q

import executions.models.fields


class Migration(migrations.Migration):
    """Adds the table, marks runs of held queues, and keeps those out of the common index."""

    dependencies: ClassVar = [("executions", "0002_add_engine_rules")]

    operations: ClassVar = [
        migrations.CreateModel(
            name="Queue",
            fields=[
                (
                    "name",
                    executions.models.fields.IdField(
                        db_collation="C", primary_key=True, serialize=False
                    ),
                ),
                ("concurrency_limit", models.IntegerField(blank=True, null=True)),
                (
                    "declared_limit",
                    models.IntegerField(
                        blank=True,
                        help_text="What the code asks for; an operator may say otherwise.",
                        null=True,
                    ),
                ),
                ("is_overridden", models.BooleanField(default=False)),
                (
                    "is_gated",
                    models.BooleanField(
                        default=False,
                        help_text="It has, or once had, a limit or a pause: its runs are claimed one by one.",
                    ),
                ),
                ("paused_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.Now())),
            ],
            options={
                "ordering": ("name",),
                "constraints": (
                    models.CheckConstraint(
                        condition=Q(concurrency_limit__isnull=True) | Q(concurrency_limit__gte=1),
                        name="queue_limit_positive",
                    ),
                    models.CheckConstraint(
                        condition=Q(is_gated=True)
                        | Q(concurrency_limit__isnull=True, paused_at__isnull=True),
                        name="queue_gated_where_held",
                    ),
                ),
            },
        ),
        migrations.AddField(
            "run",
            "is_gated",
            models.BooleanField(
                db_default=False, help_text="Its queue has, or once had, a limit or a pause."
            ),
        ),
        migrations.RemoveIndex("run", "run_due"),
        migrations.RemoveIndex("run", "run_suspect"),
        migrations.AddIndex(
            "run",
            models.Index(
                condition=Q(is_gated=False, stalls=0, status="QUEUED"),
                fields=["due_at", "id"],
                name="run_due",
            ),
        ),
        migrations.AddIndex(
            "run",
            models.Index(
                condition=Q(is_gated=False, stalls__gt=0, status="QUEUED"),
                fields=["due_at"],
                name="run_suspect",
            ),
        ),
        migrations.AddIndex(
            "run",
            models.Index(
                models.F("queue"),
                django.db.models.functions.Coalesce("concurrency_key", models.Value("")),
                models.F("due_at"),
                models.F("id"),
                condition=Q(status="QUEUED"),
                name="run_of_queue",
            ),
        ),
        migrations.RunSQL(
            r"DROP INDEX IF EXISTS executions_queue_name_like; DO $$ DECLARE name text; BEGIN "
            r"FOR name IN SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() "
            r"AND tablename = 'executions_queue' AND indexname LIKE '%\_like' "
            r"LOOP EXECUTE format('DROP INDEX %I', name); END LOOP; END $$;",
            migrations.RunSQL.noop,
        ),
    ]
