"""Real clusters for tests: worker processes on the test database that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from executions import runs
from executions.models import Worker
from executions.tests.conftest import eventually


@contextmanager
def running_cluster(database_url: str, **options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A cluster of two worker processes, both at work; `options` are settings by their name."""
    environment = {
        **os.environ,
        "FLOWMAESTRO_DATABASE_URL": database_url,
        "FLOWMAESTRO_WORKERS": "2",
        "FLOWMAESTRO_TASK_MODULES": "executions.tests.cluster_tasks",
        "FLOWMAESTRO_GRACE_SECONDS": "2",
        **{f"FLOWMAESTRO_{name}": value for name, value in options.items()},
    }
    process = subprocess.Popen(
        [sys.executable, "manage.py", "cluster"], cwd=settings.BASE_DIR, env=environment
    )
    try:
        eventually(lambda: len(alive()) == 2, seconds=30)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def alive() -> list[Worker]:
    """The workers that are not known to be dead."""
    return list(Worker.objects.filter(dead_at__isnull=True))


def kill_holder(run_id: str) -> int:
    """Kills the worker process that holds the run; its pid."""
    run = runs.retrieve(run_id)
    pid = Worker.objects.get(pk=run.worker).pid
    os.kill(pid, signal.SIGKILL)
    return pid
