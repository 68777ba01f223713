"""Triggers, the log of what came in for them, and what is taken in only once."""

from __future__ import annotations

from typing import ClassVar

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import executions.models.fields


class Migration(migrations.Migration):
    """Adds the tables of triggers, firings, deliveries and receipts."""

    dependencies: ClassVar = [
        ("executions", "0012_add_workspaces"),
        ("triggers", "0001_add_schedules"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar = [
        migrations.CreateModel(
            name="Receipt",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "scope",
                        "key",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("scope", executions.models.fields.IdField(db_collation="C")),
                ("key", models.TextField(db_collation="C")),
                ("result", models.JSONField(null=True)),
                ("expires_at", models.DateTimeField()),
            ],
            options={
                "indexes": [models.Index(fields=["expires_at"], name="receipt_expiry")],
            },
        ),
        migrations.CreateModel(
            name="Trigger",
            fields=[
                (
                    "id",
                    executions.models.fields.IdField(
                        db_collation="C", primary_key=True, serialize=False
                    ),
                ),
                ("name", models.TextField()),
                (
                    "type",
                    models.TextField(
                        choices=[
                            ("schedule", "schedule"),
                            ("webhook", "webhook"),
                            ("event", "event"),
                            ("manual", "manual"),
                        ]
                    ),
                ),
                ("config", models.JSONField(blank=True, default=dict)),
                ("enabled", models.BooleanField(default=True)),
                (
                    "event_type",
                    models.TextField(
                        blank=True,
                        help_text="Of the config, for the index by which events find it.",
                        null=True,
                    ),
                ),
                ("sealed", models.BinaryField(blank=True, default=bytes)),
                ("wrapped_key", models.BinaryField(blank=True, default=bytes)),
                ("key_id", models.TextField(blank=True, default="")),
                ("secret_changed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "old_secret_until",
                    models.DateTimeField(
                        blank=True,
                        help_text="The secret before this one counts until then.",
                        null=True,
                    ),
                ),
                (
                    "trigger_count",
                    models.BigIntegerField(
                        default=0, help_text="Without the firings that have not been added up yet."
                    ),
                ),
                ("last_triggered_at", models.DateTimeField(blank=True, null=True)),
                ("last_error", models.TextField(blank=True, default="")),
                ("last_error_at", models.DateTimeField(blank=True, null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                (
                    "updated_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("deleted_at", models.DateTimeField(blank=True, null=True)),
                (
                    "owner",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="triggers",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "schedule",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="triggers",
                        to="triggers.schedule",
                    ),
                ),
                (
                    "workflow",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="triggers",
                        to="executions.workflow",
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        help_text="None: the installation's own.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="triggers",
                        to="executions.workspace",
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
                "permissions": (("manage_trigger", "Can enable and disable triggers"),),
            },
        ),
        migrations.CreateModel(
            name="Firing",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("run", executions.models.fields.IdField(blank=True, db_collation="C", null=True)),
                ("error", models.TextField(blank=True, default="")),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "trigger",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="firings",
                        to="triggers.trigger",
                    ),
                ),
            ],
            options={
                "ordering": ("id",),
            },
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                (
                    "id",
                    executions.models.fields.IdField(
                        db_collation="C", primary_key=True, serialize=False
                    ),
                ),
                (
                    "received_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("method", models.TextField()),
                ("path", models.TextField()),
                ("query", models.JSONField(default=dict)),
                ("headers", models.JSONField(default=dict)),
                ("body", models.TextField(blank=True, help_text="Its beginning, as text.")),
                ("body_bytes", models.IntegerField(default=0)),
                ("ip", models.TextField(blank=True)),
                ("user_agent", models.TextField(blank=True)),
                (
                    "delivery_id",
                    models.TextField(blank=True, help_text="What the sender calls it."),
                ),
                ("status", models.SmallIntegerField(help_text="Of the answer.")),
                ("error", models.TextField(blank=True)),
                ("is_repeated", models.BooleanField(default=False)),
                (
                    "run",
                    executions.models.fields.IdField(
                        blank=True,
                        db_collation="C",
                        help_text="The run it started, or had started before.",
                        null=True,
                    ),
                ),
                ("duration_ms", models.FloatField(default=0)),
                ("expires_at", models.DateTimeField(help_text="Kept until then.")),
                (
                    "trigger",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="triggers.trigger",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "deliveries",
                "ordering": ("-id",),
            },
        ),
        migrations.AddIndex(
            model_name="trigger",
            index=models.Index(
                condition=models.Q(("deleted_at__isnull", True)),
                fields=["workspace", "id"],
                name="trigger_of_workspace",
            ),
        ),
        migrations.AddIndex(
            model_name="trigger",
            index=models.Index(fields=["workflow", "id"], name="trigger_of_workflow"),
        ),
        migrations.AddIndex(
            model_name="trigger",
            index=models.Index(
                condition=models.Q(("enabled", True), ("event_type__isnull", False)),
                fields=["event_type", "workspace", "id"],
                name="trigger_of_event",
            ),
        ),
        migrations.AddIndex(
            model_name="trigger",
            index=models.Index(
                condition=models.Q(("key_id", ""), _negated=True),
                fields=["key_id", "id"],
                name="trigger_of_key",
            ),
        ),
        migrations.AddConstraint(
            model_name="trigger",
            constraint=models.CheckConstraint(
                condition=models.Q(("type__in", ["schedule", "webhook", "event", "manual"])),
                name="trigger_type_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="trigger",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("event_type__isnull", False), ("type", "event")),
                    models.Q(
                        models.Q(("type", "event"), _negated=True), ("event_type__isnull", True)
                    ),
                    _connector="OR",
                ),
                name="trigger_event_has_type",
            ),
        ),
        migrations.AddConstraint(
            model_name="trigger",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("deleted_at__isnull", True),
                    models.Q(
                        ("enabled", False), ("key_id", ""), ("sealed", b""), ("wrapped_key", b"")
                    ),
                    _connector="OR",
                ),
                name="trigger_deleted_is_off",
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(fields=["trigger", "id"], name="delivery_of_trigger"),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(fields=["expires_at"], name="delivery_expiry"),
        ),
    ]
