"""Stored credentials, and the descriptions of APIs that they are used with."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from executions.models.fields import IdField, OrderedJSONField


class Connection(models.Model):
    """An account at a provider: what anybody may see of it, and its secrets, sealed.

    The secrets are encrypted with a data key of the row's own, and that key with the master key
    `key_id`; both are bound to the row's id and provider.
    """

    id = IdField(primary_key=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="connections",
        db_index=False,
        help_text="Who stored it.",
    )
    workspace = models.ForeignKey(
        "Workspace",
        null=True,
        blank=True,
        # Without one a connection would be everybody's.
        on_delete=models.PROTECT,
        related_name="connections",
        db_index=False,
        help_text="None: shared by the whole installation.",
    )
    name = models.TextField()
    provider = models.TextField(help_text="postgresql, http, the provider of an API, ...")
    fields = models.JSONField(default=dict, blank=True, help_text="What is no secret.")
    secret_names = models.JSONField(default=list, blank=True)
    sealed = models.BinaryField(default=bytes, blank=True)
    wrapped_key = models.BinaryField(default=bytes, blank=True)
    key_id = models.TextField(default="", blank=True)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                name="connection_name_once", fields=("workspace", "name"), nulls_distinct=False
            ),
            models.CheckConstraint(
                name="connection_revoked_is_empty",
                condition=Q(revoked_at__isnull=True) | Q(sealed=b"", wrapped_key=b"", key_id=""),
            ),
        )
        indexes = (
            models.Index(name="connection_of_provider", fields=("provider", "workspace")),
            models.Index(
                name="connection_of_key", fields=("key_id", "id"), condition=~Q(key_id="")
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.provider})"


class ApiDescription(models.Model):
    """An OpenAPI document whose operations nodes may call, under the name of a provider."""

    id = IdField(primary_key=True)
    provider = IdField(unique=True)
    title = models.TextField(default="", blank=True)
    document = OrderedJSONField()
    base_url = models.TextField(
        default="", blank=True, help_text="Instead of the servers that the document names."
    )
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return self.provider
