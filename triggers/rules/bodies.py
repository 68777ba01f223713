"""What a request's body says: JSON, a form, text, or bytes that go on as Base64."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from email.message import Message
from typing import Any, Final
from urllib.parse import parse_qsl

from executions.errors import Invalid

Json = Any

MAX_DEPTH: Final = 100
MAX_FIELDS: Final = 1000
# Some of Python's other codecs take time by the square of the length.
_CHARSETS: Final = frozenset(
    {"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "windows-1252", "utf-16"}
)


def parse(body: bytes, content_type: str) -> Json:
    """The body as JSON; None for an empty one.

    Bytes that are no text become {"encoding": "base64", "contentType", "data"}. Raises Invalid
    for a body that is not what its type says.
    """
    if not body:
        return None
    kind, charset = media_type(content_type)
    if kind == "application/json" or kind.endswith("+json"):
        return _json(body)
    if kind == "application/x-www-form-urlencoded":
        return _form(body)
    text = _text(body, charset)
    if not kind and text is not None:
        return _guessed(text, body)
    is_text = kind.startswith("text/") or kind == "application/xml" or kind.endswith("+xml")
    if is_text and text is not None:
        return text
    data = base64.b64encode(body).decode()
    return {"encoding": "base64", "contentType": kind or "application/octet-stream", "data": data}


def media_type(content_type: str) -> tuple[str, str]:
    """The type in lower case without its parameters, and the character set."""
    message = Message()
    message["content-type"] = content_type.replace("\r", " ").replace("\n", " ")
    if not content_type.strip():
        return "", "utf-8"
    charset = message.get_param("charset")
    return message.get_content_type(), charset if isinstance(charset, str) else "utf-8"


def many(pairs: Iterable[tuple[str, str]]) -> dict[str, Json]:
    """Names and values as an object; a name that comes again has a list."""
    found: dict[str, Json] = {}
    for name, value in pairs:
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found


def query(text: str) -> dict[str, Json]:
    """The query of an address as an object. Raises Invalid."""
    return _pairs(text, "query")


def check_depth(value: Json, *, field: str) -> None:
    """Raises Invalid where a value is nested deeper than anything that reads it should have to."""
    level, depth = [value], 0
    while level:
        if depth > MAX_DEPTH:
            raise Invalid(f"The JSON is nested deeper than {MAX_DEPTH} levels; flatten it.",
                          field=field)  # fmt: skip
        depth += 1
        level = [
            item
            for each in level
            if isinstance(each, dict | list)
            for item in (each.values() if isinstance(each, dict) else each)
            if isinstance(item, dict | list)
        ]


def _json(body: bytes) -> Json:
    try:
        found = json.loads(body, parse_constant=_refuse)
    except RecursionError as error:
        raise Invalid("The body's JSON is nested too deeply; flatten it.", field="body") from error
    except json.JSONDecodeError as error:
        raise Invalid(f"The body is not JSON: {error}.", field="body") from error
    except UnicodeDecodeError as error:
        raise Invalid("The body's JSON is not UTF-8.", field="body") from error
    except ValueError as error:
        wrong = "The body's JSON holds NaN, Infinity or a number of thousands of digits."
        raise Invalid(wrong, field="body") from error
    check_depth(found, field="body")
    return found


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no value of JSON")


def _guessed(text: str, body: bytes) -> Json:
    """A body that says nothing of itself: JSON where it can be, else text."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            return _json(body)
        except Invalid:
            return text
    return text


def _form(body: bytes) -> Json:
    text = _text(body, "utf-8")
    if text is None:
        raise Invalid("The form is not UTF-8.", field="body")
    return _pairs(text, "body")


def _pairs(text: str, field: str) -> dict[str, Json]:
    try:
        return many(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError as error:
        raise Invalid(f"The {field} has more than {MAX_FIELDS:,} fields.", field=field) from error


def _text(body: bytes, charset: str) -> str | None:
    if charset.lower() not in _CHARSETS:
        return None
    try:
        return body.decode(charset)
    except UnicodeDecodeError:
        return None
