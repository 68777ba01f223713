"""The window over which schedules spread: each has a place of its own in it, always the same."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from executions.errors import Invalid

_LENGTH: Final = re.compile(r"(0|[1-9][0-9]*)([mh])")
_PERCENTAGE: Final = re.compile(r"(0|[1-9][0-9]*)%")
_LONGEST: Final = timedelta(hours=24)
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """A length of time, or a part of the time until the next nominal one."""

    length: timedelta | None = None
    percentage: int = 0

    def within(self, interval: timedelta | None) -> timedelta:
        """How long it is for an interval; None: nothing comes after."""
        if self.length is not None:
            return self.length if interval is None else min(self.length, interval)
        return timedelta(0) if interval is None else interval * self.percentage / 100


NONE: Final = Window()


def parse(text: str) -> Window:
    """`""` for none, `"30m"`, `"2h"` up to `"24h"`, or `"30%"`. Raises Invalid."""
    if text == "":
        return NONE
    if isinstance(text, str) and (found := _LENGTH.fullmatch(text[:20])):
        amount = int(found[1])
        minutes = amount * (60 if found[2] == "h" else 1)
        if minutes <= _LONGEST // timedelta(minutes=1):
            return Window(length=timedelta(minutes=minutes))
    elif isinstance(text, str) and (found := _PERCENTAGE.fullmatch(text[:20])):
        if int(found[1]) <= 100:
            return Window(percentage=int(found[1]))
    raise Invalid(
        f'window is whole minutes or hours up to 24 h ("30m", "2h") or a percentage up to "100%", '
        f"not {text!r}.",
        field="window",
    )


def place(key: str) -> float:
    """Where in its window a schedule fires, from 0 to under 1: by its id, so it never changes."""
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:6]) / (1 << 48)


def effective(
    nominal: datetime, following: datetime | None, window: Window, place: float
) -> datetime:
    """When a schedule fires for a nominal time: before the following one, on a whole second."""
    interval = None if following is None else following - nominal
    return nominal + window.within(interval) * place // _SECOND * _SECOND
