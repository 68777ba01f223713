"""How conditional and switch nodes compare: both sides arrive as text and are typed first.

Facts: part D.1 of the format description. JavaScript conversions are spelled out here because
definitions rely on them (`""` equals `0`, text compares without case).
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

Json = Any

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|Infinity)")
_PREFIXED = re.compile(r"0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+")
_MAX_DIGITS = 400
# Nobody means a number by more, and a long text would be stripped for every comparison.
_MAX_NUMERIC = 10_000

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
        return math.nan if len(value) > _MAX_NUMERIC else _text_to_number(value.strip())
    if isinstance(value, list):
        return 0.0 if not value else to_number(to_text(value[0])) if len(value) == 1 else math.nan
    return math.nan


def _text_to_number(text: str) -> float:
    if not text:
        return 0.0
    if len(text) > _MAX_DIGITS:
        return math.nan
    if _PREFIXED.fullmatch(text):
        return to_number(int(text, 0))
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


def _collation(text: str) -> tuple[str, str, str]:
    # Locale order puts accents after letters and case last, lower case before upper.
    folded = text.casefold()
    letters = "".join(
        letter
        for letter in unicodedata.normalize("NFD", folded)
        if not unicodedata.combining(letter)
    )
    return letters, folded, text.swapcase()


def _contains(left: Json, right: Json) -> bool:
    if isinstance(left, str):
        return to_text(right).lower() in left.lower()
    if isinstance(left, list):
        # Read once: for each item anew, a long list and a long text would take minutes.
        wanted = to_text(right).lower() if isinstance(right, str | list | dict) else None
        return any(
            to_text(item).lower() == wanted
            if wanted is not None and isinstance(item, str)
            else _equals(item, right)
            for item in left
        )
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
        return _wildcard_matches(text, case)
    number = to_number(case)
    if not math.isnan(number) and not math.isnan(other := to_number(text)):
        return other == number
    # A letter has at most three lower-case ones: most cases need no look at a long text.
    return len(text) <= 3 * len(case) and text.lower() == case.lower()


def case_work(text: str, case: str) -> int:
    """What `case_matches` may take at worst, in units of about a microsecond."""
    if "*" not in case and "?" not in case:
        return 1 + (len(case) >> 8)
    longest = max((len(part) for part in case.split("*") if "?" in part), default=0)
    return 1 + (len(text) >> 7) + (len(text) * longest >> 7)


def _wildcard_matches(text: str, case: str) -> bool:
    """Whether a whole text matches: `*` is any text, `?` any character.

    Each part between stars is taken where it first occurs: one pattern for all of them would
    try all places of each, which a text can make last for ever.
    """
    text, case = _lower(text), _lower(case)
    first, *rest = re.split(r"\*+", case)
    if not rest:
        return _part(first).fullmatch(text) is not None
    if _part(first).match(text) is None:
        return False
    at = len(first)
    *middle, last = rest
    for part in middle:
        if "?" in part:
            found = _part(part).search(text, at)
            place = -1 if found is None else found.start()
        else:
            place = text.find(part, at)
        if place < 0:
            return False
        at = place + len(part)
    end = len(text) - len(last)
    return end >= at and _part(last).fullmatch(text, end) is not None


def _lower(text: str) -> str:
    # The one letter that is longer in lower case would move all others.
    return text.replace("İ", "i").lower()


@lru_cache(maxsize=1024)
def _part(part: str) -> re.Pattern[str]:
    body = "".join("." if letter == "?" else re.escape(letter) for letter in part)
    return re.compile(body, re.DOTALL)
