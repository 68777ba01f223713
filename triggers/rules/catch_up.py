"""Which nominal times are due, which are past catching up with, and which comes next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from triggers.rules.times import Times

# Of more missed times than this it is only said that there were so many.
MOST_COUNTED: Final = 10_000
_FIRST_STEP: Final = timedelta(minutes=1)

Effective = Callable[[datetime], datetime]
"""When a schedule fires for a nominal time."""


@dataclass(frozen=True, slots=True)
class Span:
    """Nominal times in a row: the first, the last, and how many there are, or were counted."""

    first: datetime
    last: datetime
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """What a schedule has come to."""

    missed: Span | None
    due: tuple[datetime, ...]
    following: datetime | None
    """The next nominal time; it may be due too where a limit cut the others off."""


def due_times(
    times: Times, effective: Effective, first: datetime, *, now: datetime, catch_up: timedelta,
    limit: int,
) -> Due:  # fmt: skip
    """Parts the nominal times from `first` on: too old to fire, due, to come.

    One is too old when it should have fired more than `catch_up` ago. However long that goes back,
    the work is bounded: old times are counted up to a number and passed over in one leap.
    """
    cutoff = now - catch_up
    start = first
    missed = None
    if effective(first) < cutoff:
        start_found = _first_in_time(times, effective, first, cutoff)
        missed = _span(times, first, start_found, cutoff)
        if start_found is None:
            return Due(missed=missed, due=(), following=None)
        start = start_found
    due: list[datetime] = []
    following: datetime | None = start
    while following is not None and len(due) < limit and effective(following) <= now:
        due.append(following)
        following = times.after(following)
    return Due(missed=missed, due=tuple(due), following=following)


def _first_in_time(
    times: Times, effective: Effective, first: datetime, cutoff: datetime
) -> datetime | None:
    """The first nominal time that fires at `cutoff` or later.

    A time fires before the next nominal one, so only the last one up to the cutoff may still do.
    """
    last = _last_until(times, first, cutoff)
    return last if effective(last) >= cutoff else times.after(last)


def _last_until(times: Times, first: datetime, moment: datetime) -> datetime:
    """The last nominal time up to a moment; `first` is one."""
    step = _FIRST_STEP
    found: datetime | None = None
    while found is None or found > moment:
        since = moment - step
        if since <= first:
            found = first
        else:
            found = times.after(since)
            step *= 4
    while (following := times.after(found)) is not None and following <= moment:
        found = following
    return found


def _span(times: Times, first: datetime, end: datetime | None, cutoff: datetime) -> Span:
    """The nominal times from `first` on that lie before `end`."""
    last, count = first, 1
    while count < MOST_COUNTED:
        following = times.after(last)
        if following is None or (end is not None and following >= end):
            return Span(first, last, count)
        last, count = following, count + 1
    stop = cutoff if end is None else end - timedelta(microseconds=1)
    return Span(first, _last_until(times, last, stop), count)
