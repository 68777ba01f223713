"""How conditional and switch nodes compare: both sides arrive as text and are typed first.

Facts: part D.1 of the format description. JavaScript conversions are spelled out here because
definitions rely on them (`""` equals `0`, text compares without case).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

Json = Any

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|Infinity)")
_PREFIXED = re.compile(r"0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+")
_MAX_DIGITS = 400

SYNONYMS: Mapping[str, str] = {
    "===": "==",
    "=": "==",
    "eq": "==",
    "equals": "==",
    "equal": "==",
    "!==": "!=",
    "ne": "!=",
    "neq": "!=",
    "notEquals": "!=",
    "not_equals": "!=",
    "gt": ">",
    "greaterThan": ">",
    "greater_than": ">",
    "lt": "<",
    "lessThan": "<",
    "less_than": "<",
    "gte": ">=",
    "lte": "<=",
    "not_contains": "notContains",
    "starts_with": "startsWith",
    "ends_with": "endsWith",
    "is_empty": "isEmpty",
    "is_not_empty": "isNotEmpty",
    "is_null": "isNull",
    "is_not_null": "isNotNull",
}


def to_number(value: Json) -> float:
    """JavaScript's Number(value): NaN when it is not numeric, 0 for blank text and null."""
    if value is None:
        return 0.0
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if isinstance(value, str):
        return _text_to_number(value.strip())
    if isinstance(value, list):
        return 0.0 if not value else to_number(to_text(value[0])) if len(value) == 1 else math.nan
    return math.nan


def _text_to_number(text: str) -> float:
    if not text:
        return 0.0
    if len(text) > _MAX_DIGITS:
        return math.nan
    if _PREFIXED.fullmatch(text):
        return float(int(text, 0))
    if _NUMBER.fullmatch(text):
        return float(text.replace("Infinity", "inf"))
    return math.nan


def to_text(value: Json) -> str:
    """A value as text: JSON for objects and arrays, `null`, `true`, 3 rather than 3.0."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if value.is_integer() and abs(value) < 1e21:
            return str(int(value))
        return repr(value).replace("inf", "Infinity")
    if isinstance(value, int):
        return str(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def typed(text: Json) -> Json:
    """The value that interpolated text stands for: number, boolean, null, JSON or the text."""
    if not isinstance(text, str):
        return text
    trimmed = text.strip()
    if not trimmed:
        return text
    number = _text_to_number(trimmed)
    if not math.isnan(number):
        return number
    word = trimmed.lower()
    if word in ("true", "false"):
        return word == "true"
    if word in ("null", "undefined"):
        return None
    if (trimmed[0], trimmed[-1]) in (("{", "}"), ("[", "]")):
        try:
            return json.loads(trimmed)
        except (ValueError, RecursionError):
            return text
    return text


def is_truthy(value: Json) -> bool:
    """Truth as expressions see it: null, false, 0, NaN and empty text are not."""
    if value is None or value is False or value == "":
        return False
    if isinstance(value, int | float):
        return value != 0 and value == value
    return True


def compare(left: Json, operator: str, right: Json) -> bool:
    """Whether `left operator right` holds; an unknown operator means `==`."""
    operator = SYNONYMS.get(operator, operator)
    return _OPERATORS.get(operator, _equals)(typed(left), typed(right))


def is_known_operator(operator: str) -> bool:
    """Whether the operator has a meaning of its own."""
    return SYNONYMS.get(operator, operator) in _OPERATORS


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equals(left: Json, right: Json) -> bool:
    if left is None:
        return right is None
    if _is_number(left) or _is_number(right):
        return to_number(left) == to_number(right)
    if isinstance(left, str) or isinstance(right, str):
        return to_text(left).lower() == to_text(right).lower()
    if isinstance(left, bool) and isinstance(right, bool):
        return left == right
    return to_text(left) == to_text(right)


def _ordered(left: Json, right: Json) -> int:
    """Negative, 0 or positive; numbers when both sides convert, else text order."""
    a, b = to_number(left), to_number(right)
    if not math.isnan(a) and not math.isnan(b):
        return (a > b) - (a < b)
    x, y = _collation(to_text(left)), _collation(to_text(right))
    return (x > y) - (x < y)


def _collation(text: str) -> tuple[str, str]:
    # Locale order puts case last, and lower case before upper.
    return text.casefold(), text.swapcase()


def _contains(left: Json, right: Json) -> bool:
    if isinstance(left, str):
        return to_text(right).lower() in left.lower()
    if isinstance(left, list):
        return any(_equals(item, right) for item in left)
    return False


def _is_empty(left: Json, right: Json) -> bool:
    return left is None or left in ("", [], {}) or (isinstance(left, str) and not left.strip())


_OPERATORS: Mapping[str, Callable[[Json, Json], bool]] = {
    "==": _equals,
    "!=": lambda left, right: not _equals(left, right),
    ">": lambda left, right: _ordered(left, right) > 0,
    "<": lambda left, right: _ordered(left, right) < 0,
    ">=": lambda left, right: _ordered(left, right) >= 0,
    "<=": lambda left, right: _ordered(left, right) <= 0,
    "contains": _contains,
    "notContains": lambda left, right: not _contains(left, right),
    "startsWith": lambda left, right: to_text(left).lower().startswith(to_text(right).lower()),
    "endsWith": lambda left, right: to_text(left).lower().endswith(to_text(right).lower()),
    "isEmpty": _is_empty,
    "isNotEmpty": lambda left, right: not _is_empty(left, right),
    "isNull": lambda left, right: left is None,
    "isNotNull": lambda left, right: left is not None,
}


def case_matches(text: str, case: str) -> bool:
    """Whether a switch case matches: wildcard, else number, else text without case."""
    if "*" in case or "?" in case:
        return _wildcard(case).fullmatch(text) is not None
    a, b = to_number(text), to_number(case)
    if not math.isnan(a) and not math.isnan(b):
        return a == b
    return text.lower() == case.lower()


@lru_cache(maxsize=256)
def _wildcard(case: str) -> re.Pattern[str]:
    # Runs of stars are one star: "****…" would otherwise backtrack without end.
    parts = re.split(r"(\*+|\?)", case)
    body = "".join(
        ".*" if part.startswith("*") else "." if part == "?" else re.escape(part) for part in parts
    )
    return re.compile(body, re.IGNORECASE | re.DOTALL)
