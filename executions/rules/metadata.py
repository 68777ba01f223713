"""What an operation does to a run's metadata: plain values in, plain values out."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from executions.errors import Invalid

Json = Any
# (operation, key, value); `replace` has no key and takes the whole object.
Operation = tuple[str, str, Json]
_AS_BEFORE: Final = object()
_MAX_DEPTH = 32
_INDEX = re.compile(r"[0-9]{1,9}")


def _append(current: Json, value: Json) -> Json:
    if current is None:
        return [value]
    return [*current, value] if isinstance(current, list) else [current, value]


def _remove(current: Json, value: Json) -> Json:
    if not isinstance(current, list):
        return _AS_BEFORE
    return [item for item in current if item != value]


def _increment(current: Json, value: Json) -> Json:
    number = current if isinstance(current, (int, float)) and not isinstance(current, bool) else 0
    return number + value


_CHANGES: dict[str, Callable[[Json, Json], Json]] = {
    "set": lambda _current, value: value,
    "append": _append,
    "remove": _remove,
    "increment": _increment,
}


def check(operation: Operation) -> None:
    """Raises Invalid when the operation could never apply."""
    name, key, value = operation
    if name == "replace":
        if not isinstance(value, dict):
            raise Invalid("Metadata is an object; replace it with one.", field="metadata")
    elif name != "delete" and name not in _CHANGES:
        raise Invalid(f"{name} is no metadata operation.", field="metadata")
    elif not isinstance(key, str) or not key:
        raise Invalid("A metadata key is text of at least one character.", field="metadata")
    elif _is_path(key) and key.count(".") > _MAX_DEPTH:
        raise Invalid(f"A metadata key leads at most {_MAX_DEPTH} deep.", field="metadata")
    elif name == "increment" and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise Invalid(f"metadata.{key} is incremented by a number.", field=f"metadata.{key}")


def apply(metadata: dict[str, Json], operations: Sequence[Operation]) -> dict[str, Json]:
    """The metadata after the operations, in order; the argument is left as it is.

    A key such as `$.progress.done` is a path: what is missing on the way to it becomes objects.
    """
    result = dict(metadata)
    for name, key, value in operations:
        if name == "replace":
            result = dict(value)
        elif name == "delete":
            result.pop(key, None)
        else:
            change = functools.partial(_changed, name, value)
            path = key[2:].split(".") if _is_path(key) else [key]
            after = _at(result, path, change)
            result = result if after is _AS_BEFORE else after
    return result


def _is_path(key: str) -> bool:
    return key.startswith("$.") and all(key[2:].split("."))


def _changed(name: str, value: Json, current: Json) -> Json:
    return _CHANGES[name](current, value)


def _at(container: Json, path: Sequence[str], change: Callable[[Json], Json]) -> Json:
    """A copy of the container with what is at the path changed, or that nothing changes."""
    first, *rest = path
    is_list = isinstance(container, list)
    if is_list and not (_INDEX.fullmatch(first) and int(first) <= len(container)):
        return _AS_BEFORE
    copy: Json = container if isinstance(container, list | dict) else {}
    copy = copy.copy()
    known = copy[int(first) :][:1] or [None] if is_list else [copy.get(first)]
    after = _at(known[0], rest, change) if rest else change(known[0])
    if after is _AS_BEFORE:
        return _AS_BEFORE
    if is_list:
        copy[int(first) : int(first) + 1] = [after]
    else:
        copy[first] = after
    return copy
