"""What may be stored as JSON, and how a Python value becomes it and comes back."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import unicodedata
import uuid
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any, cast

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from executions.errors import Invalid, TooLarge

Json = Any


def _plain(value: object) -> Json:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (uuid.UUID, Decimal)):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"a {type(value).__name__} is not JSON")


_ENCODE = json.JSONEncoder(
    allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_plain
).encode
_DECODE = json.JSONDecoder().raw_decode
# What orjson would write in its own way takes the slow path, so that there is one form.
_OPTIONS = (
    orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)


def encode(value: object, *, field: str, limit: int | None = None) -> str:
    """The value as JSON text that PostgreSQL takes: no NaN, no NUL, no lone surrogate.

    Raises Invalid naming `field`, or TooLarge when the text is over `limit` bytes.
    """
    try:
        data = orjson.dumps(value, option=_OPTIONS)
    except TypeError:
        data = None
    # orjson writes NaN as null, which is not the same; the slow path tells them apart.
    if data is None or b"null" in data:
        data = _encode_strictly(value, field)
    if b"\\u0000" in data and "\0" in _strings(value):
        raise Invalid(f"{field} holds a NUL character, which PostgreSQL refuses.", field=field)
    if limit is not None and len(data) > limit:
        raise TooLarge(
            f"{field} is {len(data):,} bytes of JSON; at most {limit:,} are allowed.", field=field
        )
    return data.decode()


def _encode_strictly(value: object, field: str) -> bytes:
    try:
        return _ENCODE(value).encode()
    except UnicodeEncodeError as error:
        raise Invalid(f"{field} holds a lone surrogate, which is no text.", field=field) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise Invalid(f"{field} cannot be stored as JSON: {error}.", field=field) from error


def quoted(text: str) -> str:
    """A text as a JSON string."""
    return encode_basestring(text)


def _strings(value: object) -> str:
    """All text of a value in one piece, to look for characters in."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "".join(_strings(key) + _strings(item) for key, item in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return "".join(_strings(item) for item in value)
    if isinstance(value, (int, float, bool)) or value is None:
        return ""
    return _strings(_plain(value))


def plain_text(value: object, *, field: str, limit: int = 256) -> str:
    """A name: 1 to `limit` characters, none of them a control character or a lone surrogate.

    Raises Invalid naming `field`.
    """
    if not isinstance(value, str) or not 1 <= len(value) <= limit:
        raise Invalid(f"{field} is text of 1 to {limit} characters, not {value!r}.", field=field)
    if not value.isprintable() and any(_is_unfit(letter) for letter in value):
        raise Invalid(f"{field} holds a character that is not text: {value!r}.", field=field)
    return value


def _is_unfit(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cs")


def decode(text: str) -> Json:
    """The value of a JSON text."""
    return _DECODE(text)[0]


def is_structured(hint: object) -> bool:
    """Whether a type annotation names a class that JSON must be turned into."""
    return isinstance(hint, type) and (
        issubclass(hint, BaseModel) or dataclasses.is_dataclass(hint)
    )


def typed(value: Json, hint: object, *, field: str) -> Any:
    """The JSON value as the annotated model or dataclass; unchanged for any other annotation.

    Raises Invalid naming the first field that does not fit.
    """
    if not is_structured(hint):
        return value
    adapter: TypeAdapter[Any] = TypeAdapter(cast(type, hint))
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join([field, *(str(part) for part in first["loc"])])
        raise Invalid(f"{path}: {first['msg']}.", field=path) from error
