"""Time zones: from a name to a zone, and from what a clock on the wall shows to an instant."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from executions.errors import Invalid

_SECOND = timedelta(seconds=1)


def zone(name: object, *, field: str = "timezone") -> ZoneInfo:
    """The zone of an IANA name. Raises Invalid."""
    if isinstance(name, str) and name in names():
        return ZoneInfo(name)
    raise Invalid(
        f"There is no time zone {name!r}; use an IANA name such as Europe/London.", field=field
    )


@functools.cache
def names() -> frozenset[str]:
    """Every IANA name that this host knows; not those of a file or of this host's own zone."""
    return frozenset(name for name in available_timezones() if _is_usable(name))


def _is_usable(name: str) -> bool:
    if name in ("localtime", "posixrules", "Factory") or name.startswith(("posix/", "right/")):
        return False
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def wall(moment: datetime, tz: ZoneInfo) -> datetime:
    """What a clock on the wall shows at a moment, as a naive datetime."""
    return moment.astimezone(tz).replace(tzinfo=None)


def instant(shown: datetime, tz: ZoneInfo) -> datetime:
    """The first moment, in UTC, at which the clock shows this or, where it skips it, more.

    A time that comes twice gives its first occurrence; one in a gap gives the end of the gap.
    """
    first = shown.replace(tzinfo=tz, fold=0).astimezone(UTC)
    return first if wall(first, tz) == shown else _end_of_gap(shown, tz)


def again(shown: datetime, tz: ZoneInfo) -> datetime | None:
    """The second moment at which the clock shows this, where it goes back; else None."""
    first = shown.replace(tzinfo=tz, fold=0).astimezone(UTC)
    second = shown.replace(tzinfo=tz, fold=1).astimezone(UTC)
    return second if second > first and wall(second, tz) == shown else None


def _end_of_gap(shown: datetime, tz: ZoneInfo) -> datetime:
    """The moment at which the clock is put forward past `shown`."""
    # PEP 495: in a gap, fold 0 counts with the offset before it and fold 1 with that after it.
    after = shown.replace(tzinfo=tz, fold=0).astimezone(UTC)
    before = shown.replace(tzinfo=tz, fold=1).astimezone(UTC)
    while after - before > _SECOND:
        middle = before + (after - before) // 2 // _SECOND * _SECOND
        if wall(middle, tz) > shown:
            after = middle
        else:
            before = middle
    return after
