"""What a run is. What is done to runs lives in `executions/runs.py` and `engine/sql.py`."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Coalesce, Now

from executions.models.fields import IdField, OrderedJSONField
from executions.rules.statuses import FINAL, OPEN, ParentClose, RunStatus, is_final


class Run(models.Model):
    """One execution of a task. The row is narrow: each flush of the journal rewrites it.

    Payload and metadata live in RunData; output and error are written once, at the end.
    """

    id = IdField(primary_key=True)
    task = models.TextField()
    status = models.TextField(choices=[(s.value, s.value) for s in RunStatus])
    queue = models.TextField()
    concurrency_key = models.TextField(null=True, blank=True)  # noqa: DJ001 - null: no key
    priority = models.IntegerField(default=0, help_text="Seconds of head start in the queue.")
    due_at = models.DateTimeField(
        db_default=Now(), help_text="When it was queued, less its priority: the order of claims."
    )
    wake_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Must have started by then.")
    deadline_at = models.DateTimeField(null=True, blank=True, help_text="Must have ended by then.")
    max_duration = models.FloatField(null=True, blank=True, help_text="Active seconds allowed.")
    active_ms = models.BigIntegerField(default=0, help_text="Active milliseconds used.")
    attempt = models.IntegerField(default=1)
    max_attempts = models.IntegerField(null=True, blank=True)

    claim = models.UUIDField(null=True, blank=True, help_text="The fence: every write carries it.")
    worker = models.TextField(null=True, blank=True)  # noqa: DJ001 - null: nobody holds it
    stalls = models.SmallIntegerField(default=0, help_text="Workers that died holding this run.")
    wakes = models.IntegerField(default=0)
    flush_no = models.IntegerField(default=0)
    event_seq = models.IntegerField(default=0)
    op_seq = models.IntegerField(default=0, help_text="Metadata changes and events written so far.")

    is_gated = models.BooleanField(
        db_default=False, help_text="Its queue has, or once had, a limit or a pause."
    )
    generation = models.IntegerField(
        db_default=0, help_text="How often it has continued as new; each has a journal of its own."
    )
    pause_requested_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    cancel_reason = models.TextField(null=True, blank=True)  # noqa: DJ001 - null: not asked for
    parent = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        related_name="children",
        db_constraint=False,
        db_index=False,
    )
    parent_step = models.TextField(null=True, blank=True)  # noqa: DJ001 - null: no parent waits
    parent_close = models.TextField(
        default=ParentClose.REQUEST_CANCEL, choices=[(p.value, p.value) for p in ParentClose]
    )
    root = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        related_name="descendants",
        db_constraint=False,
        db_index=False,
    )
    hook_run = models.TextField(  # noqa: DJ001 - null: its task has no hook for the end
        null=True, blank=True, help_text="The run that its end starts, to call the task's hooks."
    )
    forked_from = models.TextField(null=True, blank=True)  # noqa: DJ001 - null: not a fork
    definition = models.ForeignKey(
        "WorkflowVersion",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="runs",
        db_index=False,
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="runs",
        db_index=False,
    )
    workspace = models.ForeignKey(
        "Workspace",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="runs",
        # Checked at the trigger; a lock on the one row for each run of it would cost more.
        db_constraint=False,
        db_index=False,
        help_text="Nobody's: the installation's own, which its staff see.",
    )
    source = models.TextField(  # noqa: DJ001 - null: code, a person or a key
        null=True, blank=True, help_text="The id of what started it: a schedule, trigger or batch."
    )
    tags = ArrayField(models.TextField(), default=list, blank=True)
    usage = models.JSONField(null=True, blank=True)

    output = OrderedJSONField(null=True, blank=True)
    error = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        permissions = (
            ("cancel_run", "Can cancel runs"),
            ("terminate_run", "Can terminate runs"),
            ("pause_run", "Can pause and resume runs"),
            ("release_run", "Can release runs that need attention"),
            ("replay_run", "Can replay and fork runs"),
        )
        constraints = (
            models.CheckConstraint(
                name="run_status_known", condition=Q(status__in=list(RunStatus))
            ),
            models.CheckConstraint(
                name="run_final_is_finished",
                condition=Q(status__in=FINAL, finished_at__isnull=False)
                | Q(status__in=OPEN, finished_at__isnull=True),
            ),
            models.CheckConstraint(
                name="run_claimed_while_executing",
                condition=Q(status="EXECUTING", claim__isnull=False)
                | (~Q(status="EXECUTING") & Q(claim__isnull=True)),
            ),
            models.CheckConstraint(
                name="run_delayed_has_wake_at",
                condition=~Q(status="DELAYED") | Q(wake_at__isnull=False),
            ),
        )
        # No index on a column that a flush changes: the row's update stays HOT.
        indexes = (
            models.Index(
                name="run_due",
                fields=("due_at", "id"),
                condition=Q(status="QUEUED", stalls=0, is_gated=False),
            ),
            models.Index(
                name="run_suspect",
                fields=("due_at",),
                condition=Q(status="QUEUED", stalls__gt=0, is_gated=False),
            ),
            models.Index(
                name="run_to_clean_up",
                fields=("due_at",),
                condition=Q(status="QUEUED", is_gated=True, cancel_requested_at__isnull=False),
            ),
            # No key and the empty key are one.
            models.Index(
                "queue",
                Coalesce("concurrency_key", Value("")),
                "due_at",
                "id",
                name="run_of_queue",
                condition=Q(status="QUEUED"),
            ),
            models.Index(
                name="run_timer",
                fields=("wake_at",),
                condition=Q(status__in=["DELAYED", "WAITING"], wake_at__isnull=False),
            ),
            models.Index(
                name="run_expiry",
                fields=("expires_at",),
                condition=Q(status__in=["QUEUED", "DELAYED"], expires_at__isnull=False),
            ),
            models.Index(
                name="run_deadline",
                fields=("deadline_at",),
                condition=Q(finished_at__isnull=True, deadline_at__isnull=False),
            ),
            models.Index(name="run_held", fields=("worker",), condition=Q(status="EXECUTING")),
            models.Index(
                name="run_child",
                fields=("parent", "parent_step"),
                condition=Q(parent__isnull=False),
            ),
            models.Index(
                name="run_of_workspace",
                fields=("workspace", "id"),
                condition=Q(workspace__isnull=False),
            ),
            models.Index(
                name="run_of_source", fields=("source", "id"), condition=Q(source__isnull=False)
            ),
            models.Index(
                name="run_of_definition",
                fields=("definition", "id"),
                condition=Q(definition__isnull=False),
            ),
            models.Index(name="run_of_task", fields=("task", "id")),
            models.Index(name="run_of_status", fields=("status", "id")),
            models.Index(name="run_in_queue", fields=("queue", "id")),
            models.Index(
                name="run_of_fork",
                fields=("forked_from", "id"),
                condition=Q(forked_from__isnull=False),
            ),
            GinIndex(name="run_tags", fields=("tags",), condition=~Q(tags=[])),
        )

    def __str__(self) -> str:
        return self.id

    @property
    def is_final(self) -> bool:
        """Whether nothing can change this run any more."""
        return is_final(self.status)


class RunData(models.Model):
    """What a run was given and what it shows: kept apart from the row that each flush rewrites."""

    run = models.OneToOneField(
        Run, primary_key=True, on_delete=models.CASCADE, related_name="data", db_constraint=False
    )
    payload = OrderedJSONField(null=True)
    metadata = OrderedJSONField(default=dict)
    first_metadata = OrderedJSONField(
        default=dict, help_text="Metadata at the trigger: what a replay starts from."
    )
    exposed = OrderedJSONField(
        null=True, blank=True, help_text="State declared by ctx.expose, for queries."
    )

    class Meta:
        verbose_name_plural = "run data"

    def __str__(self) -> str:
        return self.run_id


class IdempotencyKey(models.Model):
    """A caller's promise that one key means one run, for as long as it lasts.

    Its scope is a workspace's id, or `global` for runs of none.
    """

    pk = models.CompositePrimaryKey("task", "scope", "key")
    task = models.TextField()
    scope = models.TextField(default="global")
    key = models.TextField()
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="idempotency_keys")
    expires_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(name="idempotency_expiry", fields=("expires_at",)),)

    def __str__(self) -> str:
        return f"{self.task}: {self.key}"


class Debounce(models.Model):
    """A burst of triggers that share a key, gathered into one run as long as that is DELAYED."""

    pk = models.CompositePrimaryKey("task", "scope", "key")
    task = models.TextField()
    scope = models.TextField(db_default="global")
    key = models.TextField()
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="+")
    first_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.task}: {self.key}"
