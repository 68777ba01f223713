"""Values on their way to PostgreSQL, as text, and back, as JSON."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from psycopg.adapt import AdaptersMap, Buffer, Loader
from psycopg.postgres import adapters

from executions.connectors import CallRefused

Json = Any

_HOURS = re.compile(r"[+-]\d\d$")


class _AsWritten(Loader):
    """The server's own text: it knows dates that Python does not."""

    def load(self, data: Buffer) -> str:
        """The text."""
        return bytes(data).decode()


class _Moment(Loader):
    """A timestamp in ISO 8601."""

    def load(self, data: Buffer) -> str:
        """With a T in the middle and whole hours of the zone."""
        text = bytes(data).decode().replace(" ", "T", 1)
        return f"{text}:00" if _HOURS.search(text[10:]) else text


class _Context:
    """Adapters that a connection starts with."""

    def __init__(self) -> None:
        self.adapters = AdaptersMap(adapters)
        self.connection = None
        for name in ("date", "time", "timetz", "interval"):
            self.adapters.register_loader(name, _AsWritten)
        for name in ("timestamp", "timestamptz"):
            self.adapters.register_loader(name, _Moment)


LOADERS = _Context()


def as_text(value: Json) -> str | None:
    """A parameter as text of no declared type, which the server reads as what stands there.

    A list is an array, or JSON where it holds objects; an object is JSON.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        if "\0" in value:
            raise CallRefused("A parameter holds a NUL character, which PostgreSQL refuses.")
        return value
    if isinstance(value, int | float | Decimal):
        return str(value)
    if isinstance(value, list | tuple) and not any(_holds_object(item) for item in value):
        return _array(value)
    return json.dumps(value, ensure_ascii=False)


def _holds_object(value: Json) -> bool:
    if isinstance(value, list | tuple):
        return any(_holds_object(item) for item in value)
    return isinstance(value, Mapping)


def _array(value: Any) -> str:
    parts = []
    for item in value:
        if isinstance(item, list | tuple):
            parts.append(_array(item))
            continue
        text = as_text(item)
        if text is None:
            parts.append("NULL")
        else:
            escaped = text.replace("\\", "\\\\").replace('"', '\\"')
            parts.append(f'"{escaped}"')
    return "{" + ",".join(parts) + "}"


def from_database(value: Any) -> Json:
    """A value of a row as JSON. Numbers that a JSON number would round are text."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if abs(value) <= 2**53 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, Mapping):
        return {str(key): from_database(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [from_database(item) for item in value]
    return str(value)


def _decimal(value: Decimal) -> Json:
    if not value.is_finite():
        return str(value)
    if value == value.to_integral_value() and abs(value) <= 2**53:
        return int(value)
    number = float(value)
    return number if Decimal(repr(number)) == value else str(value)
