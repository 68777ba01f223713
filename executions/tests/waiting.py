"""For tests with real processes: wait for a condition, tell the living from the dead."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil


def eventually(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    """Whether `condition` becomes true in that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def ends(process: psutil.Process, seconds: float = 15.0) -> bool:
    """Whether a process ends in that time."""
    return eventually(lambda: not is_alive(process), seconds)
