"""The journal of a run: one row per step, and what a step may wait for (signals)."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from executions.models.fields import IdField, OrderedJSONField
from executions.models.runs import Run
from executions.rules.statuses import StepStatus


class Step(models.Model):
    """A named checkpoint of a run; waits, children and signals are steps too."""

    pk = models.CompositePrimaryKey("run_id", "key")
    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="steps", db_constraint=False, db_index=False
    )
    key = models.TextField()
    kind = models.TextField(default="step")
    status = models.TextField(choices=[(s.value, s.value) for s in StepStatus])
    seq = models.IntegerField(null=True, blank=True, help_text="Order of completion in the run.")
    pending = models.IntegerField(null=True, blank=True, help_text="Children still open.")
    attempt = models.IntegerField(default=1)
    run_attempt = models.IntegerField(default=1)
    input = OrderedJSONField(null=True, blank=True)
    output = OrderedJSONField(null=True, blank=True)
    error = models.JSONField(null=True, blank=True)
    heartbeat = models.JSONField(null=True, blank=True)
    usage = models.JSONField(null=True, blank=True)
    wake_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("started_at", "key")
        constraints = (
            models.CheckConstraint(
                name="step_status_known", condition=Q(status__in=list(StepStatus))
            ),
            models.CheckConstraint(
                name="step_pending_not_negative",
                condition=Q(pending__isnull=True) | Q(pending__gte=0),
            ),
        )

    def __str__(self) -> str:
        return f"{self.run_id} {self.key}"

    @property
    def name(self) -> str:
        """The step's name within its scope."""
        return self.key.rsplit("/", 1)[-1]


class PastStep(models.Model):
    """A step of an earlier generation of a run, kept when the run continued as new."""

    pk = models.CompositePrimaryKey("run_id", "generation", "key")
    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="past_steps", db_constraint=False,
        db_index=False,
    )  # fmt: skip
    generation = models.IntegerField()
    key = models.TextField()
    kind = models.TextField()
    status = models.TextField()
    seq = models.IntegerField(null=True, blank=True)
    attempt = models.IntegerField()
    input = OrderedJSONField(null=True, blank=True)
    output = OrderedJSONField(null=True, blank=True)
    error = models.JSONField(null=True, blank=True)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("generation", "started_at", "key")

    def __str__(self) -> str:
        return f"{self.run_id} {self.generation} {self.key}"


class Signal(models.Model):
    """A message in a run's mailbox, consumed in the transaction of the step that took it."""

    id = IdField(primary_key=True)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="signals", db_index=False)
    name = models.TextField()
    data = OrderedJSONField(null=True)
    dedupe_key = models.TextField(null=True, blank=True)  # noqa: DJ001 - null: not deduplicated
    consumed_by = models.TextField(null=True, blank=True)  # noqa: DJ001 - null: not yet
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(
                name="signal_once",
                fields=("run", "name", "dedupe_key"),
                condition=Q(dedupe_key__isnull=False),
            ),
        )
        indexes = (
            models.Index(
                name="signal_mailbox",
                fields=("run", "name", "id"),
                condition=Q(consumed_by__isnull=True),
            ),
            # A run that is pruned takes its signals along.
            models.Index(name="signal_of_run", fields=("run",)),
        )

    def __str__(self) -> str:
        return f"{self.run_id} {self.name}"
