"""Schedules, what became of their times, and the rule that nobody changes times unnoticed."""

from __future__ import annotations

from typing import ClassVar

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import executions.models.fields

# What is worked out from the times of a schedule is thrown away when somebody changes them by
# another way than the service, which raises plan_no: the next tick works it out anew.
NOTICE_CHANGES = """
CREATE FUNCTION triggers_schedule_plan_anew() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.next_fire_at := NULL;
  NEW.next_effective_at := NULL;
  NEW.exhausted_at := NULL;
  NEW.due_at := CASE
    WHEN NEW.paused_at IS NULL AND NEW.disabled_at IS NULL THEN flowmaestro_now() END;
  RETURN NEW;
END $$;

CREATE TRIGGER schedule_plan_anew
BEFORE UPDATE OF crontab_id, interval_id, clocked_id, solar_id, timezone, "window", starts_at,
  ends_at, remaining_actions, paused_at, disabled_at ON triggers_schedule FOR EACH ROW
WHEN (OLD.plan_no = NEW.plan_no AND (
  OLD.crontab_id, OLD.interval_id, OLD.clocked_id, OLD.solar_id, OLD.timezone, OLD."window",
  OLD.starts_at, OLD.ends_at, OLD.remaining_actions, OLD.paused_at, OLD.disabled_at
) IS DISTINCT FROM (
  NEW.crontab_id, NEW.interval_id, NEW.clocked_id, NEW.solar_id, NEW.timezone, NEW."window",
  NEW.starts_at, NEW.ends_at, NEW.remaining_actions, NEW.paused_at, NEW.disabled_at))
EXECUTE FUNCTION triggers_schedule_plan_anew();
"""
_NOTICE_CHANGED_SPEC = """
CREATE FUNCTION triggers_schedule_{name}_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE triggers_schedule SET next_fire_at = NULL, next_effective_at = NULL, exhausted_at = NULL,
    due_at = flowmaestro_now()
  WHERE {name}_id = NEW.id AND paused_at IS NULL AND disabled_at IS NULL;
  RETURN NULL;
END $$;

CREATE TRIGGER schedule_{name}_changed
AFTER UPDATE ON django_celery_beat_{name}schedule FOR EACH ROW
WHEN (OLD.* IS DISTINCT FROM NEW.*)
EXECUTE FUNCTION triggers_schedule_{name}_changed();
"""
_FORGET_CHANGED_SPEC = """
DROP TRIGGER schedule_{name}_changed ON django_celery_beat_{name}schedule;
DROP FUNCTION triggers_schedule_{name}_changed();
"""
_SPECS = ("crontab", "interval", "clocked", "solar")
NOTICE_CHANGED_SPECS = "".join(_NOTICE_CHANGED_SPEC.format(name=name) for name in _SPECS)
FORGET_CHANGED_SPECS = "".join(_FORGET_CHANGED_SPEC.format(name=name) for name in _SPECS)


class Migration(migrations.Migration):
    """Schedules and their fires."""

    initial = True
    dependencies: ClassVar = [
        ("django_celery_beat", "0019_alter_periodictasks_options"),
        ("executions", "0012_add_workspaces"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar = [
        migrations.CreateModel(
            name="Schedule",
            fields=[
                (
                    "id",
                    executions.models.fields.IdField(
                        db_collation="C", primary_key=True, serialize=False
                    ),
                ),
                ("task", models.TextField()),
                (
                    "payload",
                    executions.models.fields.OrderedJSONField(
                        blank=True,
                        help_text="Stands in each run's payload beside the schedule's own.",
                        null=True,
                    ),
                ),
                (
                    "timezone",
                    models.TextField(default="UTC", help_text="Of a crontab: as that row has it."),
                ),
                (
                    "expression",
                    models.TextField(help_text="The times as text, as when they were worked out."),
                ),
                ("external_id", models.TextField(blank=True, null=True)),
                ("deduplication_key", models.TextField(blank=True, null=True)),
                (
                    "overlap",
                    models.TextField(
                        choices=[
                            ("SKIP", "SKIP"),
                            ("BUFFER_ONE", "BUFFER_ONE"),
                            ("BUFFER_ALL", "BUFFER_ALL"),
                            ("CANCEL_OTHER", "CANCEL_OTHER"),
                            ("TERMINATE_OTHER", "TERMINATE_OTHER"),
                            ("ALLOW_ALL", "ALLOW_ALL"),
                        ],
                        default="SKIP",
                    ),
                ),
                (
                    "catch_up_seconds",
                    models.FloatField(
                        default=3600, help_text="Times missed by more are not caught up with."
                    ),
                ),
                (
                    "window",
                    models.TextField(
                        blank=True, default="", help_text="As 30m or 30%; empty: none."
                    ),
                ),
                ("pause_on_failure", models.BooleanField(default=False)),
                (
                    "remaining_actions",
                    models.IntegerField(blank=True, help_text="Empty: no limit.", null=True),
                ),
                ("starts_at", models.DateTimeField(blank=True, null=True)),
                ("ends_at", models.DateTimeField(blank=True, null=True)),
                (
                    "is_declarative",
                    models.BooleanField(default=False, help_text="Declared in a task's code."),
                ),
                (
                    "tags",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.TextField(), blank=True, default=list, size=None
                    ),
                ),
                ("queue", models.TextField(blank=True, null=True)),
                ("metadata", models.JSONField(blank=True, default=dict)),
                (
                    "ttl_seconds",
                    models.FloatField(
                        blank=True, help_text="A run that has not begun by then expires.", null=True
                    ),
                ),
                ("paused_at", models.DateTimeField(blank=True, null=True)),
                ("pause_note", models.TextField(blank=True, default="")),
                (
                    "disabled_at",
                    models.DateTimeField(
                        blank=True, help_text="It broke: see the error.", null=True
                    ),
                ),
                ("error", models.TextField(blank=True, default="")),
                (
                    "exhausted_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When it was known that no more times come.",
                        null=True,
                    ),
                ),
                (
                    "next_fire_at",
                    models.DateTimeField(blank=True, help_text="The nominal time.", null=True),
                ),
                (
                    "next_effective_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="The nominal time and the schedule's place in its window.",
                        null=True,
                    ),
                ),
                (
                    "due_at",
                    models.DateTimeField(
                        blank=True, help_text="When a tick looks at it.", null=True
                    ),
                ),
                (
                    "last_fire_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="The nominal time of the last run it started by itself.",
                        null=True,
                    ),
                ),
                (
                    "last_run",
                    executions.models.fields.IdField(blank=True, db_collation="C", null=True),
                ),
                ("plan_no", models.IntegerField(default=0)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                (
                    "updated_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                (
                    "clocked",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="schedules",
                        to="django_celery_beat.clockedschedule",
                    ),
                ),
                (
                    "crontab",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="schedules",
                        to="django_celery_beat.crontabschedule",
                    ),
                ),
                (
                    "interval",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="schedules",
                        to="django_celery_beat.intervalschedule",
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="schedules",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "solar",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="schedules",
                        to="django_celery_beat.solarschedule",
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
                        related_name="schedules",
                        to="executions.workspace",
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
                "permissions": (
                    ("run_schedule", "Can fire schedules by hand"),
                    ("manage_schedule", "Can create, pause and resume schedules"),
                ),
            },
        ),
        migrations.CreateModel(
            name="ScheduleFire",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("nominal_at", models.DateTimeField(blank=True, null=True)),
                (
                    "last_nominal_at",
                    models.DateTimeField(blank=True, help_text="Of several in a row.", null=True),
                ),
                (
                    "count",
                    models.IntegerField(
                        default=1, help_text="How many in a row, as far as counted."
                    ),
                ),
                (
                    "outcome",
                    models.TextField(
                        choices=[
                            ("FIRED", "its run was started"),
                            ("BUFFERED", "its run waits for another to end"),
                            ("SKIPPED", "left out, by the policy for overlaps"),
                            ("MISSED", "too long ago to be caught up with"),
                        ]
                    ),
                ),
                (
                    "origin",
                    models.TextField(
                        choices=[
                            ("SCHEDULED", "the schedule"),
                            ("MANUAL", "somebody, now"),
                            ("BACKFILL", "somebody, for times gone by"),
                        ]
                    ),
                ),
                ("run", executions.models.fields.IdField(blank=True, db_collation="C", null=True)),
                (
                    "is_open",
                    models.BooleanField(
                        default=False, help_text="Its run was not yet seen to have ended."
                    ),
                ),
                ("note", models.TextField(blank=True, default="")),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "schedule",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="fires",
                        to="triggers.schedule",
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
            },
        ),
        migrations.AddIndex(
            model_name="schedule",
            index=models.Index(
                condition=models.Q(
                    ("disabled_at__isnull", True),
                    ("paused_at__isnull", True),
                    ("due_at__isnull", False),
                ),
                fields=["due_at"],
                name="schedule_due",
            ),
        ),
        migrations.AddIndex(
            model_name="schedule",
            index=models.Index(
                condition=models.Q(
                    ("disabled_at__isnull", True),
                    ("paused_at__isnull", True),
                    ("pause_on_failure", True),
                ),
                fields=["id"],
                name="schedule_that_may_pause",
            ),
        ),
        migrations.AddIndex(
            model_name="schedule",
            index=models.Index(fields=["workspace", "id"], name="schedule_of_workspace"),
        ),
        migrations.AddIndex(
            model_name="schedule",
            index=models.Index(
                condition=models.Q(("external_id__isnull", False)),
                fields=["external_id"],
                name="schedule_of_external",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("clocked__isnull", True),
                        ("crontab__isnull", False),
                        ("interval__isnull", True),
                        ("solar__isnull", True),
                    ),
                    models.Q(
                        ("clocked__isnull", True),
                        ("crontab__isnull", True),
                        ("interval__isnull", False),
                        ("solar__isnull", True),
                    ),
                    models.Q(
                        ("clocked__isnull", False),
                        ("crontab__isnull", True),
                        ("interval__isnull", True),
                        ("solar__isnull", True),
                    ),
                    models.Q(
                        ("clocked__isnull", True),
                        ("crontab__isnull", True),
                        ("interval__isnull", True),
                        ("solar__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="schedule_has_one_spec",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "overlap__in",
                        [
                            "SKIP",
                            "BUFFER_ONE",
                            "BUFFER_ALL",
                            "CANCEL_OTHER",
                            "TERMINATE_OTHER",
                            "ALLOW_ALL",
                        ],
                    )
                ),
                name="schedule_overlap_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("disabled_at__isnull", True), ("error", "")),
                    models.Q(
                        ("disabled_at__isnull", False), models.Q(("error", ""), _negated=True)
                    ),
                    _connector="OR",
                ),
                name="schedule_broken_says_why",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("remaining_actions__isnull", True),
                    ("remaining_actions__gte", 0),
                    _connector="OR",
                ),
                name="schedule_actions_left",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("disabled_at__isnull", True), ("paused_at__isnull", True), _negated=True
                    ),
                    ("due_at__isnull", False),
                    ("exhausted_at__isnull", False),
                    _connector="OR",
                ),
                name="schedule_active_is_looked_at",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.UniqueConstraint(
                condition=models.Q(("deduplication_key__isnull", False)),
                fields=("workspace", "deduplication_key"),
                name="schedule_once_per_key",
                nulls_distinct=False,
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_declarative", True)),
                fields=("task",),
                name="schedule_declared_once",
            ),
        ),
        migrations.AddIndex(
            model_name="schedulefire",
            index=models.Index(fields=["schedule", "id"], name="fire_of_schedule"),
        ),
        migrations.AddIndex(
            model_name="schedulefire",
            index=models.Index(
                condition=models.Q(("is_open", True)), fields=["schedule"], name="fire_open"
            ),
        ),
        migrations.AddIndex(
            model_name="schedulefire",
            index=models.Index(
                condition=models.Q(("outcome", "BUFFERED")),
                fields=["schedule", "nominal_at"],
                name="fire_buffered",
            ),
        ),
        migrations.AddIndex(
            model_name="schedulefire",
            index=models.Index(fields=["at"], name="fire_of_age"),
        ),
        migrations.AddConstraint(
            model_name="schedulefire",
            constraint=models.UniqueConstraint(
                condition=models.Q(("outcome__in", ("FIRED", "BUFFERED"))),
                fields=("schedule", "nominal_at"),
                name="fire_once_per_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedulefire",
            constraint=models.CheckConstraint(
                condition=models.Q(("outcome__in", ["FIRED", "BUFFERED", "SKIPPED", "MISSED"])),
                name="fire_outcome_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedulefire",
            constraint=models.CheckConstraint(
                condition=models.Q(("origin__in", ["SCHEDULED", "MANUAL", "BACKFILL"])),
                name="fire_origin_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedulefire",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("outcome", "FIRED"), ("run__isnull", False)),
                    models.Q(
                        models.Q(("outcome", "FIRED"), _negated=True),
                        ("is_open", False),
                        ("run__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="fire_has_run",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedulefire",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("nominal_at__isnull", False), ("origin", "MANUAL"), _connector="OR"
                ),
                name="fire_only_manual_has_no_time",
            ),
        ),
        migrations.RunSQL(
            NOTICE_CHANGES,
            "DROP TRIGGER schedule_plan_anew ON triggers_schedule;"
            " DROP FUNCTION triggers_schedule_plan_anew();",
        ),
        migrations.RunSQL(NOTICE_CHANGED_SPECS, FORGET_CHANGED_SPECS),
    ]
