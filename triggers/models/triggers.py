"""What a trigger is. What is done to triggers lives in `triggers/triggers.py`."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from executions.models.fields import IdField
from triggers.rules.configs import TriggerType

PREFIX = "trigger"


class Trigger(models.Model):
    """Something outside that starts a workflow: a time, a request, an event, a person.

    Its secret is sealed as a connection's are, since a signature cannot be checked with a hash.
    A deleted trigger keeps its row, which runs and deliveries name, and loses its secret.
    """

    id = IdField(primary_key=True)
    workspace = models.ForeignKey(
        "executions.Workspace",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="triggers",
        db_index=False,
        help_text="None: the installation's own.",
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="triggers",
    )
    workflow = models.ForeignKey(
        "executions.Workflow", on_delete=models.PROTECT, related_name="triggers", db_index=False
    )
    name = models.TextField()
    type = models.TextField(choices=[(kind.value, kind.value) for kind in TriggerType])
    config = models.JSONField(default=dict, blank=True)
    enabled = models.BooleanField(default=True)
    schedule = models.ForeignKey(
        "triggers.Schedule",
        null=True,
        blank=True,
        # Whoever deletes a schedule must not need the trigger's row, which is locked before it.
        on_delete=models.DO_NOTHING,
        related_name="triggers",
        db_constraint=False,
    )
    event_type = models.TextField(  # noqa: DJ001 - null: no trigger for events
        null=True, blank=True, help_text="Of the config, for the index by which events find it."
    )

    sealed = models.BinaryField(default=bytes, blank=True)
    wrapped_key = models.BinaryField(default=bytes, blank=True)
    key_id = models.TextField(default="", blank=True)
    secret_changed_at = models.DateTimeField(null=True, blank=True)
    old_secret_until = models.DateTimeField(
        null=True, blank=True, help_text="The secret before this one counts until then."
    )

    trigger_count = models.BigIntegerField(
        default=0, help_text="Without the firings that have not been added up yet."
    )
    last_triggered_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(default="", blank=True)
    last_error_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        permissions = (("manage_trigger", "Can enable and disable triggers"),)
        constraints = (
            models.CheckConstraint(
                name="trigger_type_known",
                condition=Q(type__in=[kind.value for kind in TriggerType]),
            ),
            models.CheckConstraint(
                name="trigger_event_has_type",
                condition=Q(type="event", event_type__isnull=False)
                | (~Q(type="event") & Q(event_type__isnull=True)),
            ),
            models.CheckConstraint(
                name="trigger_deleted_is_off",
                condition=Q(deleted_at__isnull=True)
                | Q(enabled=False, sealed=b"", wrapped_key=b"", key_id=""),
            ),
        )
        indexes = (
            models.Index(
                name="trigger_of_workspace",
                fields=("workspace", "id"),
                condition=Q(deleted_at__isnull=True),
            ),
            models.Index(name="trigger_of_workflow", fields=("workflow", "id")),
            models.Index(
                name="trigger_of_event",
                fields=("event_type", "workspace", "id"),
                condition=Q(event_type__isnull=False, enabled=True),
            ),
            models.Index(name="trigger_of_key", fields=("key_id", "id"), condition=~Q(key_id="")),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.type})"

    @property
    def fired(self) -> int:
        """How often it fired, with what `triggers.with_counts` found beside the count."""
        return self.trigger_count + (getattr(self, "fresh", None) or 0)

    @property
    def fired_at(self) -> datetime | None:
        """When it last fired, likewise."""
        fresh: datetime | None = getattr(self, "fresh_at", None)
        return fresh or self.last_triggered_at


class Firing(models.Model):
    """One time that a trigger fired, until it is added to the trigger's count.

    Firing writes a row of its own and locks none, so that a busy trigger is no bottleneck and
    transactions that fire several triggers cannot wait for each other.
    """

    id = models.BigAutoField(primary_key=True)
    trigger = models.ForeignKey(
        Trigger, on_delete=models.CASCADE, related_name="firings", db_constraint=False
    )
    run = IdField(null=True, blank=True)
    error = models.TextField(default="", blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.trigger_id} at {self.at}"
