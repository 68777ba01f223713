"""The nominal times of a schedule: what all kinds have in common, and the simple kinds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, Protocol

from executions.errors import Invalid

SHORTEST: Final = timedelta(seconds=1)
_MICROSECOND: Final = timedelta(microseconds=1)


class Times(Protocol):
    """An ordered set of moments."""

    def after(self, moment: datetime) -> datetime | None:
        """The first one after a moment, in UTC; None when there is none."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Moments at the same distance. They count from the anchor, so that lateness never adds up."""

    every: timedelta
    anchor: datetime

    def __post_init__(self) -> None:
        if self.every < SHORTEST:
            raise Invalid(
                f"An interval is at least a second, not {self.every.total_seconds():g} s.",
                field="every",
            )

    def after(self, moment: datetime) -> datetime | None:
        """The first one after a moment; the anchor is one of them, and so are those before it."""
        count = (moment - self.anchor) // self.every + 1
        try:
            return self.anchor + count * self.every
        except OverflowError:
            return None


@dataclass(frozen=True, slots=True)
class Once:
    """A single moment."""

    at: datetime

    def after(self, moment: datetime) -> datetime | None:
        """The moment, as long as it is to come."""
        return self.at if self.at > moment else None


@dataclass(frozen=True, slots=True)
class Bounded:
    """Those of other times that lie between two moments, both of them included."""

    times: Times
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def after(self, moment: datetime) -> datetime | None:
        """The first one after a moment, if it lies within."""
        if self.starts_at is not None and moment < self.starts_at:
            moment = self.starts_at - _MICROSECOND
        found = self.times.after(moment)
        return None if found is None or (self.ends_at and found > self.ends_at) else found


class _Walk:
    def __init__(self, times: Times, moment: datetime) -> None:
        self._times = times
        self._moment = moment

    def __iter__(self) -> _Walk:
        return self

    def __next__(self) -> datetime:
        found = self._times.after(self._moment)
        if found is None:
            raise StopIteration
        self._moment = found
        return found


def upcoming(times: Times, moment: datetime, count: int) -> list[datetime]:
    """The next so many after a moment, or as many as there are."""
    return list(islice(_Walk(times, moment), count))
