"""Watches the workers of one cluster by their heartbeats, and ends those that hang."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress

import psutil
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import F, Max
from django.db.models.functions import Now

from executions.engine.processes import host_name
from executions.models import Worker
from flowmaestro.supervisor import Child

logger = logging.getLogger(__name__)

CHECK_SECONDS = 2.0


def silences(pids: list[int]) -> dict[int, float]:
    """For each of these processes that is a worker: seconds since its latest heartbeat.

    By the database's clock. A pid counts only with this host's name.
    """
    rows = (
        Worker.objects.filter(pid__in=pids, host=host_name())
        .values("pid")
        .annotate(last=Max("seen_at"))
        .annotate(silence=Now() - F("last"))
    )
    return {row["pid"]: row["silence"].total_seconds() for row in rows}


class HeartbeatWatch:
    """Kills the cluster when none of its workers beats, or a worker that is silent by itself.

    A database outage silences everybody, so silence counts only while the database answers, and
    only after it has lasted a lease beyond that.
    """

    def __init__(self, cluster: Child, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._next_check = clock() + CHECK_SECONDS
        self._fine_at = clock()
        self._cluster_pid: int | None = None

    def __call__(self) -> None:
        """Look, if it is time to."""
        now = self._clock()
        if now < self._next_check:
            return
        self._next_check = now + CHECK_SECONDS
        process = self._cluster.process
        if process is None or process.pid != self._cluster_pid or process.poll() is not None:
            # A cluster that has just started, or is about to be: it has a lease to appear.
            self._cluster_pid = process.pid if process else None
            self._fine_at = now
            return
        lease = settings.FLOWMAESTRO.LEASE_SECONDS
        try:
            silent = silences([child.pid for child in self._cluster.descendants()])
        except DatabaseError:
            self._fine_at = now
            return
        finally:
            connection.close()
        if any(seconds < lease for seconds in silent.values()):
            self._fine_at = now
            self._end_silent_workers(silent, 2 * lease)
        elif now - self._fine_at > 2 * lease:
            logger.error("No worker of this host's pool beats; the pool is restarted.")
            self._cluster.kill()
            self._fine_at = now

    def _end_silent_workers(self, silent: dict[int, float], limit: float) -> None:
        for child in self._cluster.descendants():
            with suppress(psutil.NoSuchProcess):
                # A young process may have the number of a worker that died: its own row comes.
                age = time.time() - child.create_time()
                if min(age, silent.get(child.pid, 0.0)) > limit:
                    logger.error("Worker process %s does not beat and is killed.", child.pid)
                    child.kill()
