"""Which events a trigger hears: a filter is data, matched against an event's payload.

`{"status": "paid", "order.total": {"$gte": 100}, "labels": ["new", "vip"]}`: every entry has to
match. A path goes through objects by name and through lists by number, or by name through all of
a list's items; an entry matches when any value that its path leads to does. There is no pattern
language in here, so that no filter takes longer than a look at each value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, Final

from executions.errors import Invalid

Json = Any

MAX_CONDITIONS: Final = 100
MAX_DEPTH: Final = 8
MAX_LIST: Final = 1000
MAX_TEXT: Final = 2000
# Values that one path leads to, of which the first count; nested lists can hold millions.
MAX_VALUES: Final = 10_000

_NEGATED: Final = {"$ne": "$eq", "$nin": "$in"}
_LOGIC: Final = ("$and", "$or", "$not")


# ---- match --------------------------------------------------------------------------------------


def matches(filters: Mapping[str, Json], payload: Json) -> bool:
    """Whether the payload fits a filter that `check` has let pass."""
    return all(_fits(key, condition, payload) for key, condition in filters.items())


def _fits(key: str, condition: Json, payload: Json) -> bool:
    if key == "$and":
        return all(matches(each, payload) for each in condition)
    if key == "$or":
        return any(matches(each, payload) for each in condition)
    if key == "$not":
        return not matches(condition, payload)
    found = _at(payload, key.split("."))
    if isinstance(condition, list):
        return _compare("$in", found, condition)
    if not isinstance(condition, Mapping):
        return _compare("$eq", found, condition)
    if not _has_operators(condition):
        return any(isinstance(value, Mapping) and matches(condition, value) for value in found)
    return all(_compare(name, found, wanted) for name, wanted in condition.items())


def _compare(name: str, found: list[Json], wanted: Json) -> bool:
    if name == "$exists":
        return bool(found) is wanted
    if name in _NEGATED:
        return not _compare(_NEGATED[name], found, wanted)
    if name == "$in":
        plain = {_plain_key(each) for each in wanted}
        return any(_plain_key(value) in plain for value in _spread(found) if _is_plain(value))
    compare = _OPERATORS[name]
    return any(compare(value, wanted) for value in _spread(found))


def _spread(found: list[Json]) -> Iterable[Json]:
    """The values, and the items of those that are lists."""
    items = chain.from_iterable(value for value in found if isinstance(value, list))
    return islice(chain(found, items), MAX_VALUES)


def _is_plain(value: Json) -> bool:
    return not isinstance(value, list | Mapping)


def _plain_key(value: Json) -> tuple[bool, Json]:
    """Equal for the same JSON; Python takes true for 1, and JSON does not."""
    return isinstance(value, bool), value


def same(left: Json, right: Json) -> bool:
    """Whether two values are the same JSON: true is not 1, but 1 and 1.0 are one number."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left == right
    return type(left) is type(right) and left == right


def _at(payload: Json, path: list[str]) -> list[Json]:
    """The values that a path leads to; none where there is no such place."""
    found = [payload]
    for part in path:
        steps = (_step(value, part) for value in found)
        found = list(islice(chain.from_iterable(steps), MAX_VALUES))
    return found


def _step(value: Json, part: str) -> Iterator[Json]:
    if isinstance(value, Mapping):
        if part in value:
            yield value[part]
    elif isinstance(value, list):
        if part.isascii() and part.isdigit():
            if int(part[:9]) < len(value) and len(part) < 10:
                yield value[int(part)]
        else:
            yield from (item[part] for item in value if isinstance(item, Mapping) and part in item)


def _ordered(compare: Callable[[Json, Json], bool]) -> Callable[[Json, Json], bool]:
    """An order among numbers, or among texts; nothing stands between the two."""

    def within(value: Json, wanted: Json) -> bool:
        numbers = _is_number(value) and _is_number(wanted)
        texts = isinstance(value, str) and isinstance(wanted, str)
        return (numbers or texts) and compare(value, wanted)

    return within


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(look: Callable[[str, str], bool]) -> Callable[[Json, Json], bool]:
    return lambda value, wanted: isinstance(value, str) and look(value, wanted)


_OPERATORS: Final[dict[str, Callable[[Json, Json], bool]]] = {
    "$eq": same,
    "$gt": _ordered(lambda value, wanted: value > wanted),
    "$gte": _ordered(lambda value, wanted: value >= wanted),
    "$lt": _ordered(lambda value, wanted: value < wanted),
    "$lte": _ordered(lambda value, wanted: value <= wanted),
    "$prefix": _text(str.startswith),
    "$suffix": _text(str.endswith),
    "$contains": _text(str.__contains__),
}
_KNOWN: Final = ("$ne", "$in", "$nin", "$exists", *_OPERATORS)


# ---- check --------------------------------------------------------------------------------------


def check(filters: Json, *, field: str = "filters") -> dict[str, Json]:
    """The filter, when it is one. Raises Invalid naming the entry at fault."""
    _check(filters, field, MAX_DEPTH)
    if _count(filters) > MAX_CONDITIONS:
        raise Invalid(f"{field} has more than {MAX_CONDITIONS} conditions.", field=field)
    return dict(filters)


def _check(filters: Json, field: str, depth: int) -> None:
    if not isinstance(filters, Mapping):
        raise Invalid(f"{field} is an object: paths, and what is wanted there.", field=field)
    if depth == 0:
        raise Invalid(f"{field} is nested deeper than {MAX_DEPTH} levels.", field=field)
    for key, condition in filters.items():
        where = f"{field}.{key}"
        if key in _LOGIC:
            _check_logic(key, condition, where, depth)
        elif key.startswith("$") or not all(key.split(".")) or len(key) > MAX_TEXT:
            raise Invalid(
                f"{where} is no path: names divided by single points, or one of "
                f"{', '.join(_LOGIC)}.",
                field=where,
            )
        elif isinstance(condition, Mapping) and not _has_operators(condition):
            _check(condition, where, depth - 1)
        elif isinstance(condition, Mapping):
            for name, wanted in condition.items():
                _check_operator(name, wanted, f"{where}.{name}")
        elif isinstance(condition, list):
            _check_choices(condition, where)
        else:
            _check_value(condition, where)


def _check_logic(key: str, condition: Json, where: str, depth: int) -> None:
    if key == "$not":
        _check(condition, where, depth - 1)
        return
    if not isinstance(condition, list) or not 1 <= len(condition) <= MAX_CONDITIONS:
        raise Invalid(f"{where} is a list of filters.", field=where)
    for number, each in enumerate(condition):
        _check(each, f"{where}.{number}", depth - 1)


def _check_operator(name: str, wanted: Json, where: str) -> None:
    if name not in _KNOWN:
        raise Invalid(f"{where} is unknown; there are {', '.join(_KNOWN)}.", field=where)
    if name == "$exists" and not isinstance(wanted, bool):
        raise Invalid(f"{where} is true or false.", field=where)
    if name in ("$in", "$nin"):
        _check_choices(wanted, where)
    if name in ("$prefix", "$suffix", "$contains") and not isinstance(wanted, str):
        raise Invalid(f"{where} is text.", field=where)
    if name in ("$gt", "$gte", "$lt", "$lte") and not (
        _is_number(wanted) or isinstance(wanted, str)
    ):
        raise Invalid(f"{where} is a number or text.", field=where)
    _check_value(wanted, where)


def _check_choices(wanted: Json, where: str) -> None:
    if not isinstance(wanted, list) or not all(map(_is_plain, wanted)):
        raise Invalid(f"{where} is a list of texts, numbers, true, false or null.", field=where)
    _check_value(wanted, where)


def _check_value(value: Json, where: str, depth: int = MAX_DEPTH) -> None:
    if depth == 0:
        raise Invalid(f"{where} is nested deeper than {MAX_DEPTH} levels.", field=where)
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise Invalid(f"{where} is over {MAX_TEXT:,} characters.", field=where)
    if isinstance(value, list | Mapping):
        if len(value) > MAX_LIST:
            raise Invalid(f"{where} has over {MAX_LIST:,} entries.", field=where)
        for item in value.values() if isinstance(value, Mapping) else value:
            _check_value(item, where, depth - 1)


def _has_operators(condition: Mapping[str, Json]) -> bool:
    return any(key.startswith("$") and key not in _LOGIC for key in condition)


def _count(filters: Json) -> int:
    if isinstance(filters, Mapping):
        return sum(1 + _count(value) for value in filters.values())
    if isinstance(filters, list):
        return sum(_count(item) for item in filters if isinstance(item, Mapping))
    return 0
