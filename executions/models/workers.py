"""The processes that advance runs; one heartbeat each keeps all the runs they hold."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from executions.models.fields import IdField


class Worker(models.Model):
    """A worker process. `pid` and `process_started` tell, on its host, whether it still lives."""

    id = IdField(primary_key=True)
    host = models.TextField()
    pid = models.IntegerField()
    process_started = models.BigIntegerField(help_text="Kernel ticks since boot; guards pid reuse.")
    started_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now())
    dead_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        indexes = (
            models.Index(
                name="worker_alive", fields=("seen_at",), condition=models.Q(dead_at__isnull=True)
            ),
        )

    def __str__(self) -> str:
        return f"{self.host} {self.pid}"
