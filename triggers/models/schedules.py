"""What a schedule is. What is done to schedules lives in `triggers/schedules/`."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    SolarSchedule,
)

from executions.models.fields import IdField, OrderedJSONField
from triggers.rules.overlap import Overlap

SPECS: Final = ("crontab", "interval", "clocked", "solar")
_ACTIVE: Final = Q(paused_at__isnull=True, disabled_at__isnull=True)


class Schedule(models.Model):
    """Times at which runs of a task start.

    The times are those of one of django-celery-beat's rows. What is worked out from them is kept
    here, and triggers of the database see to it that nobody can change the one without the other:
    a schedule with `due_at` and without `next_fire_at` wants its times worked out anew. `plan_no`
    is raised by whoever has done so.
    """

    id = IdField(primary_key=True)
    workspace = models.ForeignKey(
        "executions.Workspace",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="schedules",
        db_index=False,
        help_text="None: the installation's own.",
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="schedules",
    )
    task = models.TextField()
    payload = OrderedJSONField(
        null=True, blank=True, help_text="Stands in each run's payload beside the schedule's own."
    )
    crontab = models.ForeignKey(
        CrontabSchedule, null=True, blank=True, on_delete=models.PROTECT, related_name="schedules"
    )
    interval = models.ForeignKey(
        IntervalSchedule, null=True, blank=True, on_delete=models.PROTECT, related_name="schedules"
    )
    clocked = models.ForeignKey(
        ClockedSchedule, null=True, blank=True, on_delete=models.PROTECT, related_name="schedules"
    )
    solar = models.ForeignKey(
        SolarSchedule, null=True, blank=True, on_delete=models.PROTECT, related_name="schedules"
    )
    timezone = models.TextField(default="UTC", help_text="Of a crontab: as that row has it.")
    expression = models.TextField(help_text="The times as text, as when they were worked out.")
    external_id = models.TextField(null=True, blank=True)  # noqa: DJ001 - null: none given
    deduplication_key = models.TextField(null=True, blank=True)  # noqa: DJ001 - null: none given

    overlap = models.TextField(
        default=Overlap.SKIP, choices=[(policy.value, policy.value) for policy in Overlap]
    )
    catch_up_seconds = models.FloatField(
        default=3600, help_text="Times missed by more are not caught up with."
    )
    window = models.TextField(default="", blank=True, help_text="As 30m or 30%; empty: none.")
    pause_on_failure = models.BooleanField(default=False)
    remaining_actions = models.IntegerField(null=True, blank=True, help_text="Empty: no limit.")
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    is_declarative = models.BooleanField(default=False, help_text="Declared in a task's code.")
    tags = ArrayField(models.TextField(), default=list, blank=True)
    queue = models.TextField(null=True, blank=True)  # noqa: DJ001 - null: the task's own
    metadata = models.JSONField(default=dict, blank=True)
    ttl_seconds = models.FloatField(
        null=True, blank=True, help_text="A run that has not begun by then expires."
    )

    paused_at = models.DateTimeField(null=True, blank=True)
    pause_note = models.TextField(default="", blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True, help_text="It broke: see the error.")
    error = models.TextField(default="", blank=True)
    exhausted_at = models.DateTimeField(
        null=True, blank=True, help_text="When it was known that no more times come."
    )
    next_fire_at = models.DateTimeField(null=True, blank=True, help_text="The nominal time.")
    next_effective_at = models.DateTimeField(
        null=True, blank=True, help_text="The nominal time and the schedule's place in its window."
    )
    due_at = models.DateTimeField(null=True, blank=True, help_text="When a tick looks at it.")
    last_fire_at = models.DateTimeField(
        null=True, blank=True, help_text="The nominal time of the last run it started by itself."
    )
    last_run = IdField(null=True, blank=True)
    plan_no = models.IntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("-id",)
        permissions = (
            ("run_schedule", "Can fire schedules by hand"),
            ("manage_schedule", "Can create, pause and resume schedules"),
        )
        constraints = (
            models.CheckConstraint(
                name="schedule_has_one_spec",
                condition=Q(
                    *(Q(**{f"{name}__isnull": name != given for name in SPECS}) for given in SPECS),
                    _connector=Q.OR,
                ),
            ),
            models.CheckConstraint(
                name="schedule_overlap_known", condition=Q(overlap__in=list(Overlap))
            ),
            models.CheckConstraint(
                name="schedule_broken_says_why",
                condition=Q(disabled_at__isnull=True, error="")
                | (Q(disabled_at__isnull=False) & ~Q(error="")),
            ),
            models.CheckConstraint(
                name="schedule_actions_left",
                condition=Q(remaining_actions__isnull=True) | Q(remaining_actions__gte=0),
            ),
            models.CheckConstraint(
                name="schedule_active_is_looked_at",
                condition=~_ACTIVE | Q(due_at__isnull=False) | Q(exhausted_at__isnull=False),
            ),
            models.UniqueConstraint(
                name="schedule_once_per_key",
                fields=("workspace", "deduplication_key"),
                condition=Q(deduplication_key__isnull=False),
                nulls_distinct=False,
            ),
            models.UniqueConstraint(
                name="schedule_declared_once", fields=("task",), condition=Q(is_declarative=True)
            ),
        )
        indexes = (
            models.Index(
                name="schedule_due",
                fields=("due_at",),
                condition=_ACTIVE & Q(due_at__isnull=False),
            ),
            models.Index(
                name="schedule_that_may_pause",
                fields=("id",),
                condition=_ACTIVE & Q(pause_on_failure=True),
            ),
            models.Index(name="schedule_of_workspace", fields=("workspace", "id")),
            models.Index(
                name="schedule_of_external",
                fields=("external_id",),
                condition=Q(external_id__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return self.id

    @property
    def is_active(self) -> bool:
        """Whether it fires by itself when a time of it comes."""
        return self.paused_at is None and self.disabled_at is None


class Outcome(models.TextChoices):
    """What became of a nominal time."""

    FIRED = "FIRED", "its run was started"
    BUFFERED = "BUFFERED", "its run waits for another to end"
    SKIPPED = "SKIPPED", "left out, by the policy for overlaps"
    MISSED = "MISSED", "too long ago to be caught up with"


class Origin(models.TextChoices):
    """Who wanted it."""

    SCHEDULED = "SCHEDULED", "the schedule"
    MANUAL = "MANUAL", "somebody, now"
    BACKFILL = "BACKFILL", "somebody, for times gone by"


class ScheduleFire(models.Model):
    """What became of a nominal time, or of several in a row that shared their fate.

    One that somebody asked for now has no nominal time. What was skipped or missed may be filled
    in later: only a time that has a run, or will, is taken. A fire may outlive its run or be
    outlived by it; the run names its schedule too.
    """

    id = models.BigAutoField(primary_key=True)
    schedule = models.ForeignKey(
        Schedule, on_delete=models.CASCADE, related_name="fires", db_index=False
    )
    nominal_at = models.DateTimeField(null=True, blank=True)
    last_nominal_at = models.DateTimeField(null=True, blank=True, help_text="Of several in a row.")
    count = models.IntegerField(default=1, help_text="How many in a row, as far as counted.")
    outcome = models.TextField(choices=Outcome.choices)
    origin = models.TextField(choices=Origin.choices)
    run = IdField(null=True, blank=True)
    is_open = models.BooleanField(
        default=False, help_text="Its run was not yet seen to have ended."
    )
    note = models.TextField(default="", blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                name="fire_once_per_time",
                fields=("schedule", "nominal_at"),
                condition=Q(outcome__in=(Outcome.FIRED, Outcome.BUFFERED)),
            ),
            models.CheckConstraint(
                name="fire_outcome_known", condition=Q(outcome__in=Outcome.values)
            ),
            models.CheckConstraint(name="fire_origin_known", condition=Q(origin__in=Origin.values)),
            models.CheckConstraint(
                name="fire_has_run",
                condition=Q(outcome=Outcome.FIRED, run__isnull=False)
                | (~Q(outcome=Outcome.FIRED) & Q(run__isnull=True, is_open=False)),
            ),
            models.CheckConstraint(
                name="fire_only_manual_has_no_time",
                condition=Q(nominal_at__isnull=False) | Q(origin=Origin.MANUAL),
            ),
        )
        indexes = (
            models.Index(name="fire_of_schedule", fields=("schedule", "id")),
            models.Index(name="fire_open", fields=("schedule",), condition=Q(is_open=True)),
            models.Index(
                name="fire_buffered",
                fields=("schedule", "nominal_at"),
                condition=Q(outcome=Outcome.BUFFERED),
            ),
            models.Index(name="fire_of_age", fields=("at",)),
        )

    def __str__(self) -> str:
        return f"{self.schedule_id} at {self.nominal_at or self.at}"
