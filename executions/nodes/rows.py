"""Tables out of whatever data a definition has: rows of named cells, and the columns' names."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from executions.nodes import BadConfig, NodeCall
from executions.nodes.output import parsed

Json = Any

_NESTED = ("rows", "data", "items", "results", "records", "values")


def value_of(call: NodeCall[Any], source: Json) -> Json:
    """The data of a config: rendered, JSON text read, a bare name of the run looked up."""
    if isinstance(source, str):
        value = call.render.structured(source)
        if isinstance(value, str) and value == source and value.strip().isidentifier():
            value = call.scope.get(value.strip(), value)
    else:
        value = call.render.value(source)
    return parsed(value)


def table(data: Json, *, field: str) -> tuple[list[str], list[list[Json]]]:
    """Columns and rows of a list of objects, a list of lists (names first), or an object."""
    data = unnested(data)
    if isinstance(data, dict):
        data = _of_object(data)
    if not isinstance(data, list):
        raise BadConfig(
            f"The data is no table: a list of objects is one, not {_shown(data)}.", field=field
        )
    if data and all(isinstance(row, dict) for row in data):
        columns = list(dict.fromkeys(str(key) for row in data for key in row))
        return columns, [[row.get(column) for column in columns] for row in data]
    if data and all(isinstance(row, list) for row in data):
        first = data[0]
        named = bool(first) and all(isinstance(cell, str) for cell in first) and len(data) > 1
        columns = [str(cell) for cell in first] if named else []
        return columns, [list(row) for row in (data[1:] if named else data)]
    return (["value"] if data else []), [[item] for item in data]


def unnested(data: Json) -> Json:
    """The list inside of an object that only wraps it, such as {rows: […]}."""
    if isinstance(data, dict):
        for key in _NESTED:
            inner = data.get(key)
            if isinstance(inner, list) and "labels" not in data and "datasets" not in data:
                return inner
    return data


def _of_object(data: dict[str, Json]) -> list[Json]:
    columns = list(data)
    if columns and all(isinstance(data[column], list) for column in columns):
        length = max(len(data[column]) for column in columns)
        return [
            {c: data[c][row] if row < len(data[c]) else None for c in columns}
            for row in range(length)
        ]
    if any(isinstance(item, dict | list) for item in data.values()):
        return [data]
    return [{"name": key, "value": item} for key, item in data.items()]


def _shown(data: Json) -> str:
    if isinstance(data, str):
        return f"the text {data[:80]!r}"
    return f"a {type(data).__name__}"


def number(value: Json) -> float | None:
    """The number of a cell, also of text such as `1,234.5`, `12 %` or `$3`; None for none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        text = value.strip().strip("$€£% ").replace("_", "").replace("\u00a0", "")
        if "," in text:
            text = text.replace(",", "")
        if not text or not (text[0].isdigit() or text[0] in "+-."):
            return None
        try:
            value = float(text)
        except ValueError:
            return None
    if not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def numeric_columns(columns: Iterable[str], rows: list[list[Json]]) -> list[str]:
    """The columns that hold numbers, and no other text."""
    found = []
    for place, column in enumerate(columns):
        cells = [row[place] for row in rows if place < len(row) and row[place] not in (None, "")]
        if cells and all(number(cell) is not None for cell in cells):
            found.append(column)
    return found
