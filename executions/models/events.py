"""The append-only log of a run and its output streams: the only sources of realtime."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from executions.models.fields import OrderedJSONField
from executions.models.runs import Run


class RunEvent(models.Model):
    """Something that happened to a run; `seq` is 1..n without a gap."""

    pk = models.CompositePrimaryKey("run_id", "seq")
    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="events", db_constraint=False, db_index=False
    )
    seq = models.IntegerField()
    type = models.TextField()
    data = OrderedJSONField(default=dict)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("seq",)

    def __str__(self) -> str:
        return f"{self.run_id} {self.seq} {self.type}"


class StreamChunk(models.Model):
    """One piece of an output stream; `index` is 0..n without a gap within (run, stream)."""

    pk = models.CompositePrimaryKey("run_id", "stream", "index")
    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="chunks", db_constraint=False, db_index=False
    )
    stream = models.TextField()
    index = models.IntegerField()
    data = OrderedJSONField(null=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("stream", "index")

    def __str__(self) -> str:
        return f"{self.run_id} {self.stream}[{self.index}]"
