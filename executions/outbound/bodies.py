"""The bodies of HTTP requests: JSON, forms, multipart forms with files."""

from __future__ import annotations

import base64
import binascii
import json
import mimetypes
import secrets
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from executions.errors import Invalid
from executions.rules.comparisons import to_text

Json = Any
Pair = tuple[str, Json]


class BadBody(Invalid):
    """What is to be sent cannot be made into a body of this kind."""

    code = "bad_body"
    non_retryable = True


def pairs_of(value: Json) -> list[Pair]:
    """Names and values from an object, or from a list of {key, value}."""
    if isinstance(value, Mapping):
        return [(str(key), item) for key, item in value.items()]
    if isinstance(value, list):
        return [
            (str(item.get("key", item.get("name"))), item.get("value", item.get("file", "")))
            for item in value
            if isinstance(item, Mapping) and item.get("key", item.get("name")) not in (None, "")
        ]
    return []


def as_json(value: Json) -> bytes:
    """JSON text."""
    return json.dumps(value, ensure_ascii=False).encode()


def as_form(pairs: Iterable[Pair]) -> bytes:
    """A form as browsers send it by default; a list gives its name once per item."""
    sent = [
        (key, to_text(item))
        for key, value in pairs
        for item in (value if isinstance(value, list) else [value])
    ]
    return urlencode(sent).encode()


def as_multipart(pairs: Iterable[Pair]) -> tuple[bytes, str]:
    """A form with files, and its content type.

    A file is {filename, content, contentType?, encoding?: base64 | utf-8}.
    """
    # Random, so that no value can hold it by design.
    boundary = f"----flowmaestro{secrets.token_hex(16)}"
    body = bytearray()
    for key, value in pairs:
        for item in value if isinstance(value, list) else [value]:
            head, content = _part(key, item)
            body += f"--{boundary}\r\n{head}\r\n\r\n".encode() + content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return bytes(body), f"multipart/form-data; boundary={boundary}"


def as_bytes(value: Json, encoding: str = "base64") -> bytes:
    """Raw content from text, which is base64 unless it says otherwise. Raises BadBody."""
    text = to_text(value)
    if encoding.lower() not in ("base64", "utf-8", "utf8", "text"):
        raise BadBody(f"The encoding {encoding!r} is neither base64 nor utf-8.", field="body")
    if encoding.lower() != "base64":
        return text.encode()
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadBody("The content is not base64.", field="body") from error


def _part(key: str, item: Json) -> tuple[str, bytes]:
    head = f'Content-Disposition: form-data; name="{_name(key)}"'
    if not (isinstance(item, Mapping) and ("filename" in item or "fileName" in item)):
        return head, to_text(item).encode()
    filename = to_text(item.get("filename", item.get("fileName")))
    kind = item.get("contentType", item.get("mimeType"))
    kind = to_text(kind or mimetypes.guess_type(filename)[0] or "application/octet-stream")
    if "\r" in kind or "\n" in kind:
        raise BadBody("A content type is one line.", field="body")
    content = item.get("content", item.get("data", ""))
    encoding = to_text(item.get("encoding", "base64" if "data" in item else "utf-8"))
    head += f'; filename="{_name(filename)}"\r\nContent-Type: {kind}'
    return head, as_bytes(content, encoding)


def _name(text: str) -> str:
    # As browsers do; a quote or line break would begin a header of its own.
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
