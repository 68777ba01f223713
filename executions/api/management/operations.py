"""Reading changes of metadata as the SDK of Trigger.dev writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from executions.errors import Invalid
from executions.rules.metadata import Operation

Json = Any
# `update` replaces all of it.
_KEYED = ("set", "delete", "append", "remove", "increment")


def replacement(body: Mapping[str, Json]) -> list[Operation]:
    """What the field `metadata` asks for: that all of it is replaced."""
    given = body.get("metadata")
    if given is None:
        return []
    if not isinstance(given, Mapping):
        raise Invalid("metadata is an object with text keys.", field="metadata")
    return [("replace", "", dict(given))]


def read(body: Mapping[str, Json], name: str) -> list[Operation]:
    """The operations in a field. Raises Invalid naming the one that is wrong."""
    given = body.get(name)
    if given is None:
        return []
    if not isinstance(given, list):
        raise Invalid(f"{name} is a list of operations.", field=name)
    return [_read(item, f"{name}.{index}") for index, item in enumerate(given)]


def _read(item: Json, field: str) -> Operation:
    if not isinstance(item, Mapping):
        raise Invalid(f"{field} is an object with a type.", field=field)
    kind, key = item.get("type"), item.get("key")
    if kind == "update":
        if not isinstance(item.get("value"), Mapping):
            raise Invalid(f"{field}.value is an object with text keys.", field=f"{field}.value")
        return "replace", "", dict(item["value"])
    if kind not in _KEYED:
        known = ", ".join((*_KEYED, "update"))
        raise Invalid(f"{field}.type is one of {known}, not {kind!r}.", field=f"{field}.type")
    if not isinstance(key, str) or not key:
        raise Invalid(f"{field}.key is text of at least one character.", field=f"{field}.key")
    if kind != "delete" and "value" not in item:
        raise Invalid(f"{field} has no value.", field=f"{field}.value")
    return kind, key, item.get("value")
