"""Lists of one queue's runs, and pruning, without reading the rows of all others."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    """Adds the indexes."""

    dependencies: ClassVar = [("executions", "0007_add_operator_permissions")]

    operations: ClassVar = [
        migrations.AddIndex("run", models.Index(fields=["queue", "id"], name="run_in_queue")),
        migrations.AddIndex(
            "run",
            models.Index(
                condition=Q(forked_from__isnull=False),
                fields=["forked_from", "id"],
                name="run_of_fork",
            ),
        ),
        migrations.AddIndex("signal", models.Index(fields=["run"], name="signal_of_run")),
        migrations.AddIndex(
            "waittoken",
            models.Index(condition=Q(run__isnull=True), fields=["id"], name="token_alone"),
        ),
    ]
