"""A q2 worker process's executor: started after the fork, woken by messages, drained at the end."""

from __future__ import annotations

import logging
import threading

from django.conf import settings
from django.db import connections

from executions import duties, queues
from executions.engine import failpoints
from executions.engine.executor import Executor
from executions.registry import load_tasks

logger = logging.getLogger(__name__)

_executor: Executor | None = None
_lock = threading.Lock()


def start() -> None:
    """Starts this process's executor, once. No connection or thread exists before."""
    global _executor
    with _lock:
        if _executor is not None:
            return
        failpoints.arm_from_environment()
        load_tasks()
        _keep_connections()
        queues.declare()
        duties.start()
        executor = Executor()
        executor.start()
        _executor = executor


def look() -> None:
    """What a wake-up message does: something may be due."""
    if _executor is not None:
        _executor.look()


def stop() -> None:
    """Drains the executor: no more claims, a grace for what is in hand, the rest released."""
    global _executor
    with _lock:
        executor, _executor = _executor, None
    if executor is not None:
        executor.stop(settings.FLOWMAESTRO.GRACE_SECONDS)


def _keep_connections() -> None:
    """Lets this process's threads keep their Django connections, checked before each use.

    A reconnect costs 10 ms, and q2 asks for one around every message.
    """
    for alias in connections:
        connections.settings[alias].update(CONN_MAX_AGE=None, CONN_HEALTH_CHECKS=True)
