"""Wait tokens are made once per idempotency key, and completed by an address with a secret."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    """Where a token's secret comes from, its key, and indexes to list tokens by."""

    dependencies: ClassVar = [("executions", "0013_add_batches")]

    operations: ClassVar = [
        migrations.AddField(
            model_name="waittoken",
            name="secret_key",
            field=models.TextField(
                blank=True, null=True,
                help_text="The id of the master key that its secret comes from.",
            ),
        ),
        migrations.AddField(
            model_name="waittoken",
            name="idempotency_key",
            field=models.TextField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="waittoken",
            name="idempotency_expires_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name="waittoken",
            name="secret_hash",
            field=models.BinaryField(
                blank=True, null=True,
                help_text="SHA-256 of the secret in its callback address.",
            ),
        ),
        migrations.AddConstraint(
            model_name="waittoken",
            constraint=models.CheckConstraint(
                condition=Q(idempotency_key=None) | Q(idempotency_expires_at__isnull=False),
                name="token_key_expires",
            ),
        ),
        migrations.AddIndex(
            model_name="waittoken",
            index=models.Index(
                condition=Q(workspace__isnull=False), fields=["workspace", "id"],
                name="token_of_workspace",
            ),
        ),
        migrations.AddIndex(
            model_name="waittoken",
            index=models.Index(
                condition=Q(idempotency_key__isnull=False), fields=["idempotency_key", "id"],
                name="token_of_key",
            ),
        ),
    ]  # fmt: skip
