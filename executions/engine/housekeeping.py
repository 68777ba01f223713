"""The workers' share of tidying up: each minute, one of them removes some runs of long ago."""

from __future__ import annotations

import time

from django.db import transaction
from django.db.backends.utils import CursorWrapper

from executions import prune

_EVERY_SECONDS = 60.0
_RUNS = 200
# Looks of one tick that find nothing to remove; a line per status takes at least one.
_LOOKS = 20
# One worker at a time; the number only has to be nobody else's.
_LOCK = "SELECT pg_try_advisory_xact_lock(7305143)"


class Housekeeping:
    """Removes what is past its retention, in batches, one per tick; then rests for a minute."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _EVERY_SECONDS
        self._walk: prune.Walk | None = None

    def tick(self, cursor: CursorWrapper) -> None:
        """Does its share if it is time."""
        if time.monotonic() < self._next:
            return
        # Also when it fails: what cannot be removed must not be tried with every tick.
        self._next = time.monotonic() + _EVERY_SECONDS
        with transaction.atomic():
            cursor.execute(_LOCK)
            if cursor.fetchone() == (True,):
                self._go_on(cursor)

    def _go_on(self, cursor: CursorWrapper) -> None:
        walk, self._walk = self._walk or prune.Walk(prune.retention()), None
        for _ in range(_LOOKS):
            if walk.is_done:
                prune.remove_keys_and_workers(cursor, _RUNS)
                return
            if walk.remove(cursor, _RUNS)[1]:
                break
        # There is more: the next tick goes on here, so that no load outruns this.
        self._walk, self._next = walk, 0.0
