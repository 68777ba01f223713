"""When a cron expression fires next, by the clock on the wall of its time zone.

Two kinds of expressions, two rules for the hours that clocks skip and repeat:

- One that names certain hours is an appointment. A time that the clock skips fires at the first
  moment after the gap, once, however many times of it were skipped; a time that comes twice fires
  at its first occurrence only. `30 2 * * *` fires once a day, every day.
- One that names every hour (`*`, `*/1`, `0-23`) is a rhythm. It fires whenever the clock shows a
  fitting minute: in both of two repeated hours, and in none that is skipped. `*/5 * * * *` fires
  each five minutes of elapsed time, `0 * * * *` each hour.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from executions.errors import Invalid
from triggers.rules import cron_fields, zones
from triggers.rules.cron_fields import Fields

# After so many years the calendar comes again: what does not fit in them never does.
_CYCLE_YEARS: Final = 400
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression in a time zone."""

    fields: Fields
    tz: ZoneInfo

    def after(self, moment: datetime) -> datetime | None:
        """The first time after a moment, in UTC; None when there is none."""
        try:
            if self.fields.is_hourly:
                return self._next_tick(moment)
            return self._next_appointment(moment)
        except OverflowError:
            # Beyond the year 9999.
            return None

    def _next_appointment(self, moment: datetime) -> datetime | None:
        shown = zones.wall(moment, self.tz)
        for day in _days(self.fields, shown.date()):
            is_today = day == shown.date()
            for hour in self.fields.hours:
                if is_today and hour < shown.hour:
                    continue
                for minute in self.fields.minutes:
                    found = zones.instant(
                        datetime(day.year, day.month, day.day, hour, minute), self.tz
                    )
                    # The second of two repeated hours shows times that have been.
                    if found > moment:
                        return found
        return None

    def _next_tick(self, moment: datetime) -> datetime | None:
        at = moment.astimezone(UTC)
        shown = zones.wall(at, self.tz)
        at += _MINUTE - timedelta(seconds=shown.second, microseconds=shown.microsecond)
        while True:
            shown = zones.wall(at, self.tz)
            day = next(_days(self.fields, shown.date()), None)
            if day is None:
                return None
            if day != shown.date():
                at = self._midnight(day, at)
            elif shown.minute in self.fields.minutes:
                return at
            else:
                at = self._skip_to_minute(at, shown)

    def _skip_to_minute(self, at: datetime, shown: datetime) -> datetime:
        """The next fitting minute of this hour or the full hour, unless the clock is put between.

        Then only the next minute.
        """
        wanted = next((m for m in self.fields.minutes if m > shown.minute), 60)
        there = at + (wanted - shown.minute) * _MINUTE
        steady = zones.wall(there, self.tz) - shown == there - at
        return there if steady else at + _MINUTE

    def _midnight(self, day: date, at: datetime) -> datetime:
        """The first moment of a later day, from `at` on."""
        shown = datetime(day.year, day.month, day.day)
        found = zones.instant(shown, self.tz)
        if found < at:
            # The clock was put back over midnight: this day has begun once already.
            found = zones.again(shown, self.tz) or at + _MINUTE
        return max(found, at)


def parse(expression: str, timezone: str) -> Cron:
    """The expression in the zone of that name.

    Raises Invalid naming what is wrong, also for one that never fires, as on 30 February.
    """
    fields = cron_fields.parse(expression)
    tz = zones.zone(timezone)
    if next(_days(fields, date(2000, 1, 1)), None) is None:
        raise Invalid(
            f"cron {fields.expression!r} never fires: there is no such day in any year.",
            field="cron",
        )
    return Cron(fields, tz)


def _days(fields: Fields, start: date) -> Iterator[date]:
    """The days that fit, from `start` on, for as long as the calendar has something new."""
    for year in range(start.year, min(start.year + _CYCLE_YEARS, date.max.year) + 1):
        for month in sorted(fields.months):
            if (year, month) < (start.year, start.month):
                continue
            first_weekday, length = calendar.monthrange(year, month)
            first = start.day if (year, month) == (start.year, start.month) else 1
            for day in range(first, length + 1):
                # Python's weeks begin with Monday, cron's with Sunday.
                if fields.fits(day, (first_weekday + day) % 7, length):
                    yield date(year, month, day)
