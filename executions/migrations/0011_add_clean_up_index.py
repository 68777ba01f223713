"""Cancelled runs of held queues, which are claimed past their queue."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    """Adds the index."""

    dependencies: ClassVar = [("executions", "0010_add_run_files")]

    operations: ClassVar = [
        migrations.AddIndex(
            "run",
            models.Index(
                condition=Q(status="QUEUED", is_gated=True, cancel_requested_at__isnull=False),
                fields=["due_at"],
                name="run_to_clean_up",
            ),
        ),
    ]
