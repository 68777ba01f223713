"""The four ways to say when: a crontab, an interval, a moment, an event of the sun's day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from cron_descriptor import get_description

from executions.errors import Invalid
from executions.rules import durations
from executions.rules.durations import Duration
from triggers.rules import cron, zones
from triggers.rules.scheduled_payload import iso
from triggers.rules.solar import Solar
from triggers.rules.times import SHORTEST, Interval, Once, Times

_PERIODS: Final = {"days": 86_400_000_000, "hours": 3_600_000_000, "minutes": 60_000_000,
                   "seconds": 1_000_000, "microseconds": 1}  # fmt: skip
_MOST_PERIODS: Final = 2**31 - 1


class Spec(Protocol):
    """What a schedule's times are, as somebody wrote it."""

    @property
    def timezone(self) -> str | None:
        """The zone that is part of it, if one is."""

    @property
    def expression(self) -> str:
        """It as text."""

    def times(self, anchor: datetime) -> Times:
        """The moments it means. Raises Invalid when it means none."""


@dataclass(frozen=True, slots=True)
class CronSpec:
    """A cron expression, and the zone by whose clock it goes."""

    expression: str
    timezone: str

    def times(self, anchor: datetime) -> Times:
        """Raises Invalid for what is no cron expression, no zone, or never comes."""
        return cron.parse(self.expression, self.timezone)


@dataclass(frozen=True, slots=True)
class IntervalSpec:
    """So many periods. A day is 24 hours of it, whatever clocks do."""

    every: int
    period: str
    timezone: None = None

    @property
    def expression(self) -> str:
        """As `every 5 minutes`."""
        return (
            f"every {self.every} {self.period}" if self.every != 1 else f"every {self.period[:-1]}"
        )

    @property
    def length(self) -> timedelta:
        """How long it is."""
        if self.period not in _PERIODS:
            raise Invalid(f"There is no period {self.period!r}.", field="every")
        return timedelta(microseconds=self.every * _PERIODS[self.period])

    def times(self, anchor: datetime) -> Times:
        """Raises Invalid for less than a second."""
        return Interval(self.length, anchor)


@dataclass(frozen=True, slots=True)
class ClockedSpec:
    """One moment."""

    at: datetime
    timezone: None = None

    @property
    def expression(self) -> str:
        """As `at 2026-03-08T09:00:00.000Z`."""
        return f"at {iso(self.at)}"

    def times(self, anchor: datetime) -> Times:
        """The moment."""
        return Once(self.at)


@dataclass(frozen=True, slots=True)
class SolarSpec:
    """An event of the sun's day at a place."""

    event: str
    latitude: float
    longitude: float
    timezone: None = None

    @property
    def expression(self) -> str:
        """As `sunrise at 40.7128, -74.006`."""
        return f"{self.event} at {self.latitude:g}, {self.longitude:g}"

    def times(self, anchor: datetime) -> Times:
        """Raises Invalid for an unknown event or place."""
        return Solar(self.event, self.latitude, self.longitude)


def of_row(kind: str, values: Sequence[Any]) -> Spec:
    """The spec of a row of django-celery-beat: its kind and columns, as JSON has them."""
    if kind == "crontab":
        return CronSpec(cron_text(*values[:-1]), values[-1])
    if kind == "interval":
        return IntervalSpec(*values)
    if kind == "clocked":
        return ClockedSpec(datetime.fromisoformat(values[0]))
    return SolarSpec(values[0], float(values[1]), float(values[2]))


def cron_text(*fields: str) -> str:
    """The expression of five fields, each of which may hold spaces."""
    return " ".join(field.replace(" ", "") or "*" for field in fields)


def every(length: Duration) -> IntervalSpec:
    """The interval of a length of time, in the largest period that divides it. Raises Invalid."""
    microseconds = round(durations.seconds(length, field="every") * 1_000_000)
    for period, size in _PERIODS.items():
        if microseconds % size == 0 and 0 < microseconds // size <= _MOST_PERIODS:
            if microseconds < SHORTEST // timedelta(microseconds=1):
                break
            return IntervalSpec(microseconds // size, period)
    raise Invalid(
        f"every is a length of at least a second; over half an hour, whole seconds: {length!r}.",
        field="every",
    )


def describe(spec_text: str) -> str:
    """A cron expression in words; other specs are so already."""
    if spec_text[:1].isalpha():
        return spec_text
    try:
        return str(get_description(spec_text))
    except Exception:  # Of the describing library, which does not know all that cron may say.
        return spec_text


def check_zone(name: str) -> str:
    """A time zone's name. Raises Invalid."""
    return zones.zone(name).key
