"""What a wait token is. Completing one lives in `executions/tokens.py`."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from executions.models.fields import IdField, OrderedJSONField
from executions.models.runs import Run
from executions.rules.statuses import TokenStatus


class WaitToken(models.Model):
    """A promise a run is parked on; it has exactly one outcome."""

    id = IdField(primary_key=True)
    run = models.ForeignKey(
        Run, null=True, blank=True, on_delete=models.CASCADE, related_name="tokens", db_index=False
    )
    workspace = models.ForeignKey(
        "Workspace",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="tokens",
        db_constraint=False,
        db_index=False,
    )
    step_key = models.TextField(null=True, blank=True)  # noqa: DJ001 - null: made outside a run
    status = models.TextField(
        choices=[(s.value, s.value) for s in TokenStatus], default=TokenStatus.WAITING
    )
    timeout_at = models.DateTimeField(null=True, blank=True)
    output = OrderedJSONField(null=True, blank=True)
    tags = ArrayField(models.TextField(), default=list, blank=True)
    secret_hash = models.BinaryField(
        null=True, blank=True, help_text="SHA-256 of the secret in its callback address."
    )
    secret_key = models.TextField(  # noqa: DJ001 - null: it has no address
        null=True, blank=True, help_text="The id of the master key that its secret comes from."
    )
    idempotency_key = models.TextField(null=True, blank=True)  # noqa: DJ001 - null: made without
    idempotency_expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    completed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        permissions = (("complete_waittoken", "Can complete wait tokens"),)
        constraints = (
            models.CheckConstraint(
                name="token_status_known", condition=Q(status__in=list(TokenStatus))
            ),
            models.UniqueConstraint(
                name="one_token_per_step",
                fields=("run", "step_key"),
                condition=Q(run__isnull=False),
            ),
            models.CheckConstraint(
                name="token_key_expires",
                condition=Q(idempotency_key=None) | Q(idempotency_expires_at__isnull=False),
            ),
        )
        indexes = (
            models.Index(
                name="token_timeout",
                fields=("timeout_at",),
                condition=Q(status="WAITING", timeout_at__isnull=False),
            ),
            models.Index(name="token_alone", fields=("id",), condition=Q(run__isnull=True)),
            models.Index(
                name="token_of_workspace",
                fields=("workspace", "id"),
                condition=Q(workspace__isnull=False),
            ),
            models.Index(
                name="token_of_key",
                fields=("idempotency_key", "id"),
                condition=Q(idempotency_key__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return self.id


class TokenWaiter(models.Model):
    """A run that waits for a token, so that the token's completion knows whom to wake."""

    pk = models.CompositePrimaryKey("token_id", "run_id")
    token = models.ForeignKey(
        WaitToken, on_delete=models.CASCADE, related_name="waiters", db_index=False
    )
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="+")

    def __str__(self) -> str:
        return f"{self.run_id} waits for {self.token_id}"
