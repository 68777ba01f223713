"""What a batch of triggers is, and what triggers leave behind: parcels and answered requests.

What is done with them lives in `executions/batches.py`, `parcels.py` and `repeats.py`.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from executions.models.fields import IdField
from executions.models.runs import Run


class Batch(models.Model):
    """Runs that are triggered together: so many are announced, then they come, in any portions."""

    id = IdField(primary_key=True)
    workspace = models.ForeignKey(
        "Workspace",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="batches",
        db_constraint=False,
        db_index=False,
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,
    )
    run_count = models.IntegerField(help_text="How many items it is made of.")
    idempotency_key = models.TextField(  # noqa: DJ001 - null: it has none
        null=True, blank=True
    )
    created_at = models.DateTimeField(db_default=Now())
    sealed_at = models.DateTimeField(
        null=True, blank=True, help_text="When its last item came; nothing is added any more."
    )

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "batches"
        constraints = (
            models.CheckConstraint(name="batch_of_something", condition=Q(run_count__gte=1)),
        )

    def __str__(self) -> str:
        return self.id


class BatchItem(models.Model):
    """A place in a batch: the run it became, or why it became none."""

    pk = models.CompositePrimaryKey("batch_id", "index")
    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="items", db_index=False)
    index = models.IntegerField()
    task = models.TextField()
    run = models.ForeignKey(
        Run,
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
    )
    is_cached = models.BooleanField(
        default=False, help_text="Its idempotency key named a run that was there already."
    )
    error = models.JSONField(null=True, blank=True)

    class Meta:
        ordering = ("batch_id", "index")
        constraints = (
            models.CheckConstraint(
                name="batch_item_run_or_error",
                condition=Q(run__isnull=False, error__isnull=True)
                | Q(run__isnull=True, error__isnull=False),
            ),
            models.CheckConstraint(name="batch_item_index", condition=Q(index__gte=0)),
        )

    def __str__(self) -> str:
        return f"{self.batch_id}, item {self.index}"


class Parcel(models.Model):
    """A payload too large to travel in a trigger: announced, uploaded once, named by a trigger."""

    id = IdField(primary_key=True)
    workspace = models.ForeignKey(
        "Workspace",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    content_type = models.TextField(default="")
    content = models.TextField(  # noqa: DJ001 - null: not uploaded yet
        null=True, blank=True
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return self.id


class AnsweredRequest(models.Model):
    """A request that carried a key, and what it made: a repetition gets the same answer."""

    pk = models.CompositePrimaryKey("kind", "scope", "key")
    kind = models.TextField()
    scope = models.TextField()
    key = models.TextField()
    result = models.TextField(default="")
    expires_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(name="answered_request_expiry", fields=("expires_at",)),)

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"
