"""Where soak and scale take place: a directory, a PostgreSQL of its own, a cluster if need be.

Nothing here may import models before `made` has prepared the environment that settings read.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import django

from benchmarks import usage
from benchmarks.processes import Background, wait_until
from flowmaestro import embedded

MANAGE = Path(__file__).resolve().parents[1] / "manage.py"
START_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Place:
    """A directory for logs, and a database to which Django is connected already."""

    directory: Path
    url: str

    @contextmanager
    def cluster(self, *, workers: int, tasks: str) -> Iterator[Cluster]:
        """Workers that know the tasks of that module, for the length of a with block."""
        environment = {
            "FLOWMAESTRO_DATABASE_URL": self.url,
            "FLOWMAESTRO_TASK_MODULES": tasks,
            "FLOWMAESTRO_WORKERS": str(workers),
        }
        started = datetime.now(UTC)
        process = Background(
            [sys.executable, MANAGE, "cluster"],
            log=self.directory / "cluster.log",
            env=environment,
        )
        try:
            _await_workers(process, workers, started)
            yield Cluster(process)
        finally:
            process.stop()


class Cluster:
    """A pool of workers and the database server beside it, looked at from outside."""

    def __init__(self, process: Background) -> None:
        self._process = process

    def check(self) -> None:
        """Raises when the pool has ended by itself."""
        self._process.check()

    def engine(self) -> list[int]:
        """Every process of the pool."""
        pid = self._process.process.pid
        return [pid, *usage.descendants(pid)]

    def workers(self) -> list[int]:
        """The worker processes among them."""
        return [pid for pid in self.engine() if usage.command(pid).startswith("fm-worker")]

    def database(self) -> list[int]:
        """The server's processes, but not the one that serves this process."""
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            backend = int(cursor.fetchone()[0])
        server = usage.parent(backend)
        return [server, *(pid for pid in usage.descendants(server) if pid != backend)]


def _await_workers(process: Background, workers: int, started: datetime) -> None:
    from executions.models import Worker

    def are_ready() -> bool:
        process.check()
        return Worker.objects.filter(seen_at__gte=started, dead_at=None).count() >= workers

    wait_until(are_ready, what="the workers", seconds=START_SECONDS)


@contextmanager
def made(tasks: str) -> Iterator[Place]:
    """A place with its database at work, migrated, and Django set up on it.

    The directory stays when something goes wrong there.
    """
    directory = Path(tempfile.mkdtemp(prefix="fm-proof-"))
    try:
        with embedded.running(directory / "database") as server:
            host = quote(str(server.sockets), safe="")
            url = f"postgresql://{embedded.SUPERUSER}@/{embedded.DATABASE}?host={host}&port=5432"
            _set_up(directory, url, tasks)
            yield Place(directory=directory, url=url)
    except BaseException:
        say(f"What is left of it: {directory}")
        raise
    shutil.rmtree(directory, ignore_errors=True)


def _set_up(directory: Path, url: str, tasks: str) -> None:
    for name in [name for name in os.environ if name.startswith("FLOWMAESTRO_")]:
        if name != "FLOWMAESTRO_POSTGRES_VERSION":
            del os.environ[name]
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "flowmaestro.settings",
        "FLOWMAESTRO_DATABASE_URL": url,
        "FLOWMAESTRO_DATA_DIR": str(directory / "data"),
        "FLOWMAESTRO_SECRET_KEY": secrets.token_urlsafe(48),
        "FLOWMAESTRO_TASK_MODULES": tasks,
        # Thousands of ordinary lines would hide the few that matter.
        "FLOWMAESTRO_LOG_LEVEL": "WARNING",
    }
    django.setup()
    from django.core.management import call_command

    from executions.registry import load_tasks

    load_tasks()
    call_command("migrate", verbosity=0)


def say(line: str) -> None:
    """Progress, for people."""
    print(line, file=sys.stderr, flush=True)


def write(path: Path | None, document: dict[str, Any]) -> None:
    """The figures for programs, where they are wanted."""
    if path is not None:
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
