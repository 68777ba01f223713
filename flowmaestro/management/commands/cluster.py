"""manage.py cluster: this host's pool of workers, in the foreground, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from executions.engine.cluster import PoolCluster


class Command(BaseCommand):
    """Runs the workers; `manage.py up` starts it and restarts it when it dies."""

    help = "Run the workers of this host until stopped. `up` does this, and more."
    # The database is checked by `up`, and a fork must not inherit a connection.
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        """Last as long as the pool, and fail when it dies."""
        sys.exit(PoolCluster().run())
