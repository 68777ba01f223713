"""What came in: the log of requests to webhooks, and what must be taken in only once."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from executions.models.fields import IdField
from triggers.models.triggers import Trigger


class Delivery(models.Model):
    """A request to a webhook and its answer, for a while. What is secret in it is not kept."""

    id = IdField(primary_key=True)
    trigger = models.ForeignKey(
        Trigger,
        on_delete=models.CASCADE,
        related_name="deliveries",
        db_constraint=False,
        db_index=False,
    )
    received_at = models.DateTimeField(db_default=Now())
    method = models.TextField()
    path = models.TextField()
    query = models.JSONField(default=dict)
    headers = models.JSONField(default=dict)
    body = models.TextField(blank=True, help_text="Its beginning, as text.")
    body_bytes = models.IntegerField(default=0)
    ip = models.TextField(blank=True)
    user_agent = models.TextField(blank=True)
    delivery_id = models.TextField(blank=True, help_text="What the sender calls it.")
    status = models.SmallIntegerField(help_text="Of the answer.")
    error = models.TextField(blank=True)
    is_repeated = models.BooleanField(default=False)
    run = IdField(null=True, blank=True, help_text="The run it started, or had started before.")
    duration_ms = models.FloatField(default=0)
    expires_at = models.DateTimeField(help_text="Kept until then.")

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "deliveries"
        indexes = (
            models.Index(name="delivery_of_trigger", fields=("trigger", "id")),
            models.Index(name="delivery_expiry", fields=("expires_at",)),
        )

    def __str__(self) -> str:
        return self.id


class Receipt(models.Model):
    """That something was taken in, and what came of it: a repetition gets the same answer.

    `scope` is a trigger for deliveries, a workspace or `global` for events. Receipts outlive the
    log: each lasts as long as its sender may come again.
    """

    pk = models.CompositePrimaryKey("scope", "key")
    scope = IdField()
    key = models.TextField(db_collation="C")
    result = models.JSONField(null=True)
    expires_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(name="receipt_expiry", fields=("expires_at",)),)

    def __str__(self) -> str:
        return f"{self.scope} {self.key}"
