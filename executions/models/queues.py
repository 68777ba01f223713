"""What a queue is. Pausing and limiting one lives in `executions/queues.py`."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from executions.models.fields import IdField


class Queue(models.Model):
    """A line of runs. A run may name a queue that has no row: it has no limit then.

    The limit holds for each concurrency key by itself and counts runs that are EXECUTING.
    """

    name = IdField(primary_key=True)
    concurrency_limit = models.IntegerField(null=True, blank=True)
    declared_limit = models.IntegerField(
        null=True, blank=True, help_text="What the code asks for; an operator may say otherwise."
    )
    is_overridden = models.BooleanField(default=False)
    is_gated = models.BooleanField(
        default=False,
        help_text="It has, or once had, a limit or a pause: its runs are claimed one by one.",
    )
    paused_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("name",)
        permissions = (("manage_queue", "Can pause, resume and limit queues"),)
        constraints = (
            models.CheckConstraint(
                name="queue_limit_positive",
                condition=Q(concurrency_limit__isnull=True) | Q(concurrency_limit__gte=1),
            ),
            models.CheckConstraint(
                name="queue_gated_where_held",
                condition=Q(is_gated=True)
                | Q(concurrency_limit__isnull=True, paused_at__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return self.name
