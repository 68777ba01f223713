"""The database's time as a worker knows it between two looks."""

from __future__ import annotations

import time

# What a processor's clock may run fast, and what only a clock that was set can explain.
_DRIFT = 1e-4
_STEP_SECONDS = 0.5


class Clock:
    """The last time the database told, carried on by this process's monotonic clock."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()
        self._set_at: float | None = None

    def now(self) -> float:
        """Epoch seconds by the database's clock."""
        return time.monotonic() + self._offset

    def set(self, epoch_seconds: float) -> None:
        """The database has just told its time.

        An answer that was long on its way tells a time that has passed. Believed, the clock would
        go back and forth, and a wait begun in between would end early.
        """
        now = time.monotonic()
        told = epoch_seconds - now
        if self._set_at is None or not 0 <= self._offset - told < _STEP_SECONDS:
            self._offset = told
        else:
            self._offset = max(told, self._offset - _DRIFT * (now - self._set_at))
        self._set_at = now
