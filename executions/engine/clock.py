"""The database's time as a worker knows it between two looks."""

from __future__ import annotations

import time

# Seconds per second by which the clock is put right, and what only a clock that was set explains.
_SLEW = 5e-4
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

        An answer that was long on its way tells a time that has passed. Believed at once, the
        clock would go back and forth, and a wait begun in between would end early; so it only runs
        a little faster or slower.
        """
        now = time.monotonic()
        told = epoch_seconds - now
        error = told - self._offset
        if self._set_at is None or abs(error) >= _STEP_SECONDS:
            self._offset = told
        else:
            most = _SLEW * (now - self._set_at)
            self._offset += min(most, max(-most, error))
        self._set_at = now
