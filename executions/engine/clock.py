"""The database's time as a worker knows it between two looks."""

from __future__ import annotations

import time


class Clock:
    """The last time the database told, carried on by this process's monotonic clock."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Epoch seconds by the database's clock."""
        return time.monotonic() + self._offset

    def set(self, epoch_seconds: float) -> None:
        """The database has just told its time."""
        self._offset = epoch_seconds - time.monotonic()
