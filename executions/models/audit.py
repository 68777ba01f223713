"""Who changed what and why. Entries are written by `executions/audit.py` and never change."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class AuditEntry(models.Model):
    """One change made by a person or a key.

    The database numbers the entries without a gap, chains each to the one before by its hash, and
    refuses to change or delete any.
    """

    number = models.BigIntegerField(primary_key=True, db_default=0)
    at = models.DateTimeField(db_default=Now())
    actor = models.TextField(help_text="Who: a user's name, a key's name, a command.")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
    )
    action = models.TextField(help_text="What: run.cancel, queue.pause, ...")
    subject = models.TextField(help_text="To whom: the id of a run, a token, a queue.")
    reason = models.TextField(default="", blank=True)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    previous_hash = models.TextField(db_default="")
    hash = models.TextField(db_default="")

    class Meta:
        ordering = ("-number",)
        verbose_name_plural = "audit entries"
        indexes = (models.Index(name="audit_of_subject", fields=("subject", "number")),)

    def __str__(self) -> str:
        return f"{self.number} {self.actor} {self.action} {self.subject}"
