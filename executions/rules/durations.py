"""Lengths of time as people write them: `"1h30m"`, `90`, `timedelta(minutes=5)`."""

from __future__ import annotations

import math
import re
from datetime import timedelta

from executions.errors import Invalid

Duration = float | int | str | timedelta

_UNITS = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}
_TEXT = re.compile(r"(?:\d+(?:\.\d+)?[wdhms])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([wdhms])")
# A thousand years: beyond it PostgreSQL's and Python's dates run out.
MAX_SECONDS = 1000 * 366 * 86_400


def seconds(value: Duration, *, field: str) -> float:
    """The length of `value` in seconds. Raises Invalid naming `field` when it is none."""
    if isinstance(value, timedelta):
        number = value.total_seconds()
    elif isinstance(value, str) and _TEXT.fullmatch(value):
        number = sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(value))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)
    else:
        raise Invalid(
            f'{field} is not a length of time: {value!r}. Use seconds or text such as "1h30m".',
            field=field,
        )
    if not math.isfinite(number) or number < 0 or number > MAX_SECONDS:
        raise Invalid(f"{field} is {value!r}; it must lie between 0 and 1000 years.", field=field)
    return number
