"""What an operation does to a run's metadata: plain values in, plain values out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from executions.errors import Invalid

Json = Any
# (operation, key, value); `replace` has no key and takes the whole object.
Operation = tuple[str, str, Json]


def _append(current: Json, value: Json) -> Json:
    if current is None:
        return [value]
    return [*current, value] if isinstance(current, list) else [current, value]


def _remove(current: Json, value: Json) -> Json:
    return [item for item in current if item != value] if isinstance(current, list) else current


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
    elif name == "increment" and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise Invalid(f"metadata.{key} is incremented by a number.", field=f"metadata.{key}")


def apply(metadata: dict[str, Json], operations: Sequence[Operation]) -> dict[str, Json]:
    """The metadata after the operations, in order; the argument is left as it is."""
    result = dict(metadata)
    for name, key, value in operations:
        if name == "replace":
            result = dict(value)
        elif name == "delete":
            result.pop(key, None)
        else:
            result[key] = _CHANGES[name](result.get(key), value)
    return result
