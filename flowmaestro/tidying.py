"""What the project keeps for a while only: budgets that are whole again are forgotten."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Final

from django.db.backends.utils import CursorWrapper

from executions import prune
from executions.duties import Duty
from flowmaestro.throttles import REMOVE_WHOLE

_LIMIT: Final = 2000
_EVERY_SECONDS: Final = 60.0


class Tidying:
    """The workers' share: a bounded piece with a tick, once a minute."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _EVERY_SECONDS

    def tick(self, cursor: CursorWrapper) -> bool:
        """Does a piece if it is time; whether there is more."""
        if time.monotonic() < self._next:
            return False
        cursor.execute("SELECT flowmaestro_now()")
        cursor.execute(REMOVE_WHOLE, {"now": cursor.fetchone()[0], "limit": _LIMIT})
        if cursor.rowcount == _LIMIT:
            return True
        self._next = time.monotonic() + _EVERY_SECONDS
        return False


def _no_moment(cursor: CursorWrapper) -> datetime | None:
    """None of this waits for a moment: it is as good later."""
    return None


def duty() -> Duty:
    """What every worker does of it."""
    return Duty(name="flowmaestro.tidying", tick=Tidying().tick, next_moment=_no_moment)


def register_with_prune() -> None:
    """Lets `manage.py prune` do it too."""
    prune.register("budgets of callers", REMOVE_WHOLE)
