"""How deep a JSON value is nested: a limit of our own, far below where Python's code gives up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from executions.errors import Invalid

Json = Any

MAX_DEPTH = 200
"""Levels of objects and lists within one another that a request may have."""


def may_be_deep(text: bytes, limit: int = MAX_DEPTH) -> bool:
    """Whether the text has enough brackets to be nested that deep: most bodies do not."""
    return text.count(b"[") + text.count(b"{") > limit


def check(text: bytes, value: Json, *, field: str | None = None) -> None:
    """Raises Invalid for a value, read from this text, that has more levels than the limit."""
    if may_be_deep(text) and is_too_deep(value):
        raise Invalid(f"The JSON is nested more than {MAX_DEPTH} levels deep.", field=field)


def is_too_deep(value: Json, limit: int = MAX_DEPTH) -> bool:
    """Whether a value has more levels than the limit; each level is looked at once."""
    level = [value] if isinstance(value, Mapping | list | tuple) else []
    depth = 0
    while level:
        depth += 1
        if depth > limit:
            return True
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, Mapping) else item)
            if isinstance(child, Mapping | list | tuple)
        ]
    return False
