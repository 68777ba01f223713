"""Counts, sums and groups over arrays, for the transform node's `aggregate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from executions.rules.comparisons import to_text

Json = Any

_REDUCE: Mapping[str, Callable[[list[Any]], Any]] = {
    "sum": sum,
    "average": lambda numbers: sum(numbers) / len(numbers),
    "avg": lambda numbers: sum(numbers) / len(numbers),
    "min": min,
    "max": max,
}


def aggregate(data: Json, operations: Sequence[Json], config: Json) -> dict[str, Json]:
    """One entry per operation over an array; of objects, per numeric field.

    An operation is a name, or an object with `type` (or `operation`), `field` and `as`.
    """
    items = _rows(data)
    result: dict[str, Json] = {}
    for entry in operations or ("count",):
        options = entry if isinstance(entry, dict) else {"type": entry}
        kind = str(options.get("type", options.get("operation", options.get("op", "count"))))
        field = options.get("field") or getattr(config, "field", None)
        name = str(options.get("as") or options.get("name") or kind)
        if kind == "count":
            result[name] = len(items)
        elif kind in ("groupBy", "group"):
            field = field or getattr(config, "groupBy", None)
            result[name] = _groups(items, field)
        elif kind in _REDUCE:
            result[name] = _reduced(items, kind, field)
    return result


def _rows(data: Json) -> list[Json]:
    """The rows of an array, or of the arrays directly inside what several nodes gave."""
    if isinstance(data, dict):
        data = list(data.values())
    if not isinstance(data, list):
        return [] if data is None else [data]
    if data and all(isinstance(item, list) for item in data):
        return [row for part in data for row in part]
    return data


def _number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _reduced(items: list[Json], kind: str, field: str | None) -> Json:
    reduce = _REDUCE[kind]
    if field is not None:
        numbers = [row[field] for row in items if isinstance(row, dict) and _number(row.get(field))]
        return reduce(numbers) if numbers else None
    plain = [item for item in items if _number(item)]
    if plain:
        return reduce(plain)
    columns: dict[str, list[Json]] = {}
    for row in items:
        if isinstance(row, dict):
            for key, value in row.items():
                if _number(value):
                    columns.setdefault(key, []).append(value)
    return {key: reduce(numbers) for key, numbers in columns.items()}


def _groups(items: list[Json], field: str | None) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in items:
        value = row.get(field) if isinstance(row, dict) and field else row
        key = to_text(value) if not isinstance(value, dict | list) else "other"
        counts[key] = counts.get(key, 0) + 1
    return counts
