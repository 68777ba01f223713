"""The five fields of a cron expression: what each may hold, and what it means as sets."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from executions.errors import Invalid

_MONTHS: Final = dict(
    zip(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
        range(1, 13),
        strict=True,
    )
)
_WEEKDAYS: Final = dict(
    zip(("sun", "mon", "tue", "wed", "thu", "fri", "sat"), range(7), strict=True)
)
_MACROS: Final = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0", "@daily": "0 0 * * *", "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}  # fmt: skip
_LONGEST: Final = 500


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    low: int
    high: int
    names: Mapping[str, int]


_KINDS: Final = (
    _Kind("minute", 0, 59, {}),
    _Kind("hour", 0, 23, {}),
    _Kind("day of the month", 1, 31, {}),
    _Kind("month", 1, 12, _MONTHS),
    _Kind("day of the week", 0, 7, _WEEKDAYS),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fields:
    """A cron expression, read. Weekdays count from Sunday, which is 0."""

    expression: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    last_day: bool
    """`L`: the last day of the month, beside `days`."""
    months: frozenset[int]
    weekdays: frozenset[int]
    last_weekdays: frozenset[int]
    """`5L`: the last Friday of the month, beside `weekdays`."""
    both: bool
    """A day fits when its date and its weekday do; else one of the two is enough."""

    @property
    def is_hourly(self) -> bool:
        """Whether it names every hour of the day."""
        return len(self.hours) == 24

    def fits(self, day: int, weekday: int, length: int) -> bool:
        """Whether a day of a month of that length fits."""
        date = day in self.days or (self.last_day and day == length)
        week = weekday in self.weekdays or (day > length - 7 and weekday in self.last_weekdays)
        return date and week if self.both else date or week


@functools.lru_cache(maxsize=4096)
def parse(expression: str) -> Fields:
    """The fields of `minute hour day-of-month month day-of-week`. Raises Invalid saying which.

    A field is `*`, numbers, names, ranges `a-b`, steps `*/n`, `a-b/n` and `a/n`, and lists of
    those; `L` is the month's last day, `5L` its last Friday; `?` is `*` for days. Sunday is 0 and
    7. As in Vixie's cron, a day fits when its date or its weekday does; but when one of the two
    fields begins with `*`, it must fit both.
    """
    if not isinstance(expression, str) or len(expression) > _LONGEST:
        raise Invalid(f"cron is text of at most {_LONGEST} characters.", field="cron")
    text = " ".join(expression.split()).lower()
    parts = _MACROS.get(text, text).split(" ")
    if len(parts) != 5:
        raise Invalid(
            f"cron has five fields (minute, hour, day of the month, month, day of the week), not "
            f"{len(parts) if text else 0}: {expression!r}. Seconds are not supported.",
            field="cron",
        )
    read = [_field(part, kind) for part, kind in zip(parts, _KINDS, strict=True)]
    minutes, hours, days, months, weekdays = (values for values, _ in read)
    # A small l is easily read as a 1, and no name of a weekday has one.
    parts[2], parts[4] = parts[2].upper(), parts[4].replace("l", "L")
    return Fields(
        expression=" ".join(parts),
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=frozenset(days),
        last_day=bool(read[2][1]),
        months=frozenset(months),
        weekdays=frozenset(day % 7 for day in weekdays),
        last_weekdays=frozenset(day % 7 for day in read[4][1]),
        both=parts[2][0] in "*?" or parts[4][0] in "*?",
    )


def _field(text: str, kind: _Kind) -> tuple[set[int], set[int]]:
    """The values of a field, and those that `L` follows."""
    values: set[int] = set()
    last: set[int] = set()
    for item in text.split(","):
        if item.endswith("l") and kind.name == "day of the month" and item == "l":
            last.add(kind.high)
        elif item.endswith("l") and kind.name == "day of the week" and len(item) > 1:
            last.add(_number(item[:-1], kind, item))
        else:
            values |= _item(item, kind)
    return values, last


def _item(item: str, kind: _Kind) -> set[int]:
    span, slash, step_text = item.partition("/")
    step = 1
    if slash:
        if not step_text.isascii() or not step_text.isdigit() or int(step_text[:4]) < 1:
            _refuse(kind, item, "a step is a whole number of at least 1")
        step = int(step_text[:4])
        if step > kind.high:
            _refuse(kind, item, f"a step of {step} never comes twice; use an interval instead")
    if span == "*" or (span == "?" and kind.name.startswith("day")):
        # 7 is Sunday again.
        return set(range(kind.low, min(kind.high, 6 if kind.high == 7 else kind.high) + 1, step))
    low_text, dash, high_text = span.partition("-")
    low = _number(low_text, kind, item)
    if dash:
        high = _number(high_text, kind, item)
        if high == 0 and low > 0 and kind.high == 7:
            high = 7
    else:
        high = (6 if kind.high == 7 else kind.high) if slash else low
    if high < low:
        _refuse(kind, item, "the range runs backwards; write it as two")
    return set(range(low, high + 1, step))


def _number(text: str, kind: _Kind, item: str) -> int:
    if text in kind.names:
        return kind.names[text]
    if not text.isascii() or not text.isdigit():
        _refuse(kind, item, "it is not understood")
    number = int(text[:4])
    if not kind.low <= number <= kind.high:
        _refuse(kind, item, f"it lies between {kind.low} and {kind.high}")
    return number


def _refuse(kind: _Kind, item: str, why: str) -> NoReturn:
    raise Invalid(f"cron: {item!r} as {kind.name}: {why}.", field="cron")
