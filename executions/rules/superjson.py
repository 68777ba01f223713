"""Reading superjson: JSON beside notes on what JSON has no word for, as JavaScript clients send it.

What comes out is plain JSON, and the same text gives the same values everywhere:

| JavaScript             | becomes                                                             |
|------------------------|---------------------------------------------------------------------|
| `undefined`            | nothing in an object, null in a list and on its own                 |
| `Date`, `URL`, RegExp  | their text: ISO 8601, the address, `/a+/g`                          |
| `BigInt`               | its digits as text: as a number, half of all readers would round it |
| `NaN`, `±Infinity`     | null, as in `JSON.stringify`; `-0` is 0                             |
| `Set`, typed arrays    | a list; a `Buffer` is a list of its bytes                           |
| `Map`                  | an object when all keys are text or numbers, else a list of pairs   |
| `Error`                | `{"name", "message"}`                                               |
| instances of a class   | their properties                                                    |

An object that stands in several places is written out in each; one that contains itself is refused.
Source: superjson 2.2, github.com/flightcontrolhq/superjson.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from executions.errors import Invalid

Json = Any
Path = tuple[str, ...]

_NOTHING: Final = object()


def parse(text: str, *, field: str) -> Json:
    """The value of a superjson text. Raises Invalid naming `field`."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise Invalid(f"{field} is not superjson: {error}.", field=field) from error
    except RecursionError as error:
        raise _too_deep(field) from error
    return decode(document, field=field)


def decode(document: Json, *, field: str) -> Json:
    """The value of a superjson document, `{"json": …, "meta": …}`. Raises Invalid."""
    if not isinstance(document, dict) or "json" not in document:
        if document == {}:
            # What superjson makes of a bare `undefined`, once JSON has dropped it.
            return None
        raise Invalid(f'{field} is not superjson: it has no "json" at its top.', field=field)
    meta = document.get("meta") or {}
    if not isinstance(meta, dict):
        raise Invalid(f'{field} is not superjson: "meta" is not an object.', field=field)
    try:
        _refuse_cycles(meta.get("referentialEqualities"), field)
        value = document["json"]
        for path, kind in _notes(meta.get("values"), (), field):
            value = _change(value, path, _reader(kind, field))
        return _without_nothing(value)
    except RecursionError as error:
        raise _too_deep(field) from error


def _too_deep(field: str) -> Invalid:
    return Invalid(f"{field} is nested too deeply; flatten it.", field=field)


# ---- notes: which place holds what --------------------------------------------------------------


def _notes(tree: Json, at: Path, field: str) -> Iterator[tuple[Path, Json]]:
    """The places with a note and the kind it names, the inner before the outer."""
    if not tree:
        return
    children = tree
    if isinstance(tree, list):
        children = tree[1] if len(tree) > 1 else {}
    if not isinstance(children, dict):
        raise Invalid(f'{field} is not superjson: "meta.values" is malformed.', field=field)
    for key, child in children.items():
        yield from _notes(child, (*at, *_segments(key)), field)
    if isinstance(tree, list):
        yield at, tree[0]


def _segments(path: str) -> Path:
    """The keys of a path; a dot that belongs to a key has a backslash before it."""
    found, segment, position = [], "", 0
    while position < len(path):
        if path[position] == "\\" and path[position + 1 : position + 2] == ".":
            segment += "."
            position += 1
        elif path[position] == ".":
            found.append(segment)
            segment = ""
        else:
            segment += path[position]
        position += 1
    return (*found, segment)


def _change(value: Json, path: Path, change: Callable[[Json], Json]) -> Json:
    """The value with what is at `path` changed in place.

    A place that is not there is passed over: of a key with a backslash before a dot, superjson
    itself writes a path that leads elsewhere.
    """
    if not path:
        return change(value)
    parent, key = value, _key(value, path[0])
    for segment in path[1:]:
        if key is None:
            return value
        parent = parent[key]
        key = _key(parent, segment)
    if key is not None:
        parent[key] = change(parent[key])
    return value


def _key(parent: Json, segment: str) -> str | int | None:
    """What `parent` is asked for with; None when it has nothing there."""
    if isinstance(parent, dict):
        return segment if segment in parent else None
    # Sets are lists here, maps are lists of pairs: the outer is read after the inner.
    if isinstance(parent, list) and segment.isascii() and segment.isdigit():
        return int(segment) if len(segment) < 10 and int(segment) < len(parent) else None
    return None


def _refuse_cycles(equalities: Json, field: str) -> None:
    """Raises Invalid when an object contains itself; one in several places is written out."""
    root, others = equalities, None
    if isinstance(equalities, dict):
        root, others = None, equalities
    elif isinstance(equalities, list):
        root = equalities[0] if equalities else None
        others = equalities[1] if len(equalities) > 1 else None
    places = [
        place
        for owner, known in (others.items() if isinstance(others, dict) else ())
        for place in _texts(known)
        if _segments(place)[: len(_segments(owner))] == _segments(owner)
    ]
    for place in (*_texts(root), *places):
        raise Invalid(
            f"{field} contains itself at {place!r}; JSON cannot hold that. Send an id instead.",
            field=field,
        )


def _texts(value: Json) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


# ---- kinds --------------------------------------------------------------------------------------


def _reader(kind: Json, field: str) -> Callable[[Json], Json]:
    name = kind[0] if isinstance(kind, list) and kind else kind
    reader = _READERS.get(name) if isinstance(name, str) else None
    if reader is None:
        raise Invalid(f"{field} holds a {name!r} of superjson, which is unknown here.", field=field)
    return reader


def _as_it_is(value: Json) -> Json:
    return value


def _nothing(_value: Json) -> Json:
    return _NOTHING


def _number(value: Json) -> Json:
    return 0 if value == "-0" else None


def _map(value: Json) -> Json:
    if not isinstance(value, list):
        return value
    pairs = [pair for pair in value if isinstance(pair, list) and len(pair) == 2]
    found = {_key_text(key): item for key, item in pairs if _is_key(key)}
    return found if len(found) == len(value) else value


def _is_key(value: Json) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _key_text(key: Json) -> str:
    return key if isinstance(key, str) else json.dumps(key)


_READERS: Final[dict[str, Callable[[Json], Json]]] = {
    "undefined": _nothing,
    "number": _number,
    "map": _map,
    "Date": _as_it_is,
    "Error": _as_it_is,
    "URL": _as_it_is,
    "bigint": _as_it_is,
    "regexp": _as_it_is,
    "set": _as_it_is,
    "class": _as_it_is,
    "custom": _as_it_is,
    "symbol": _as_it_is,
    "typed-array": _as_it_is,
}


def _without_nothing(value: Json) -> Json:
    """Objects without the keys that were undefined; null in the other places."""
    if value is _NOTHING:
        return None
    if isinstance(value, dict):
        return {key: _without_nothing(item) for key, item in value.items() if item is not _NOTHING}
    if isinstance(value, list):
        return [_without_nothing(item) for item in value]
    return value
