"""What expressions can do with values: equality, order, arithmetic's numbers, and the functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from executions.rules.comparisons import to_number, to_text

Json = Any

MAX_TEXT = 1_000_000
MAX_ITEMS = 100_000


class ExpressionError(Exception):
    """The text is no expression, or it does more than an expression may."""

    non_retryable = True


def weight(value: Json, limit: int) -> int:
    """What it takes to look at all of a value: a unit per item, and per 256 characters of text.

    Nothing beyond `limit` is counted.
    """
    total, left = 0, [value]
    while left and total <= limit:
        item = left.pop()
        total += 1
        if isinstance(item, str):
            total += len(item) >> 8
        elif isinstance(item, list):
            left.extend(item[: limit - total + 1])
        elif isinstance(item, Mapping):
            left.extend(islice(item.keys(), max(0, limit - total + 1)))
            left.extend(islice(item.values(), max(0, limit - total + 1)))
    return total


def _kind(value: Json) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "object"


def strictly_equal(left: Json, right: Json) -> bool:
    """`===`: equal within one type; objects by content."""
    return _kind(left) == _kind(right) and bool(left == right)


def loosely_equal(left: Json, right: Json) -> bool:
    """`==`: within one type, and between number and text by what the text says."""
    a, b = _kind(left), _kind(right)
    if a == b:
        return bool(left == right)
    if (a, b) in (("number", "text"), ("text", "number")):
        text = left if a == "text" else right
        return bool(text.strip()) and to_number(left) == to_number(right)
    return False


def ordinal(value: Json) -> float:
    """A value as ordering sees it: what is not numeric counts as 0."""
    number = to_number(value)
    return 0.0 if math.isnan(number) else number


ORDERS: Mapping[str, Callable[[float, float], bool]] = {
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}


def tidy(number: float) -> Json:
    """A JSON number: whole ones as int; what JSON cannot say is null."""
    if math.isnan(number) or math.isinf(number):
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def operand(value: Json) -> float:
    """A number for arithmetic; a date in ISO form counts as its milliseconds."""
    number = to_number(value)
    if math.isnan(number) and isinstance(value, str) and 10 <= len(value) <= 40:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return number
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000
    return number


def _includes(value: Json, wanted: Json = None) -> bool:
    if isinstance(value, str):
        return to_text(wanted) in value
    if isinstance(wanted, str):
        # Read once, not for each item.
        number = to_number(wanted) if wanted.strip() else math.nan
        return isinstance(value, list) and any(
            item == wanted
            if isinstance(item, str)
            else _kind(item) == "number" and to_number(item) == number
            for item in value
        )
    return isinstance(value, list) and any(loosely_equal(item, wanted) for item in value)


def _slice(value: Json, start: Json = 0, end: Json = None) -> Json:
    if not isinstance(value, str | list):
        return None
    first = int(max(min(ordinal(start), 2**31), -(2**31)))
    last = None if end is None else int(max(min(ordinal(end), 2**31), -(2**31)))
    return value[first:last]


def _split(value: Json, separator: Json = None, limit: Json = None) -> Json:
    if not isinstance(value, str):
        return None
    if separator is None:
        return [value]
    parts = list(value[:MAX_ITEMS]) if separator == "" else value.split(to_text(separator))
    if len(parts) > MAX_ITEMS:
        raise ExpressionError(f"split gives more than {MAX_ITEMS:,} parts.")
    return parts if limit is None else parts[: int(max(0, min(ordinal(limit), MAX_ITEMS)))]


def _join(value: Json, separator: Json = ",") -> Json:
    if not isinstance(value, list):
        return None
    size = sum(len(item) for item in value if isinstance(item, str))
    if size + len(value) * len(to_text(separator)) > MAX_TEXT:
        raise ExpressionError(f"join builds more than {MAX_TEXT:,} characters.")
    return to_text(separator).join("" if item is None else to_text(item) for item in value)


def _keys(value: Json) -> Json:
    if isinstance(value, Mapping):
        return list(value)
    return [str(index) for index in range(len(value))] if isinstance(value, list) else []


def _values(value: Json) -> Json:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list) else []


def _entries(value: Json) -> Json:
    return [[key, item] for key, item in value.items()] if isinstance(value, Mapping) else []


def _on_text(change: Callable[[str], Json]) -> Callable[[Json], Json]:
    return lambda value: None if value is None else change(to_text(value))


PREDICATES = frozenset({"includes", "startsWith", "endsWith"})
METHODS: Mapping[str, Callable[..., Json]] = {
    "includes": _includes,
    "startsWith": lambda value, part="": isinstance(value, str) and value.startswith(to_text(part)),
    "endsWith": lambda value, part="": isinstance(value, str) and value.endswith(to_text(part)),
    "toLowerCase": _on_text(str.lower),
    "toUpperCase": _on_text(str.upper),
    "trim": _on_text(str.strip),
    "toString": _on_text(str),
    "slice": _slice,
    "split": _split,
    "join": _join,
    "keys": _keys,
    "values": _values,
    "entries": _entries,
}
