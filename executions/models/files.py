"""The files of a run, in pieces. What is done to them lives in `executions/files.py`."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from executions.models.fields import IdField
from executions.models.runs import Run


class RunFile(models.Model):
    """One file of a run, as last written; its content is in FilePiece."""

    pk = models.CompositePrimaryKey("run_id", "path")
    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="files", db_constraint=False, db_index=False
    )
    path = models.TextField(help_text="Relative, with / between folders.")
    size = models.BigIntegerField(help_text="Bytes.")
    media_type = models.TextField()
    sha256 = models.TextField()
    step = models.TextField(
        default="", blank=True, help_text="The step that wrote it: a retry may write it again."
    )
    written_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("path",)

    def __str__(self) -> str:
        return f"{self.run_id} {self.path}"


class FilePiece(models.Model):
    """A piece of a file's content; pieces are numbered from 0 and replaced all at once."""

    pk = models.CompositePrimaryKey("run_id", "path", "number")
    run_id = IdField()
    path = models.TextField()
    number = models.IntegerField()
    content = models.BinaryField()

    class Meta:
        ordering = ("number",)

    def __str__(self) -> str:
        return f"{self.run_id} {self.path}[{self.number}]"
