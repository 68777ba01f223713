"""What nodes make of an HTTP response: its data, its headers, when to come again."""

from __future__ import annotations

import email.utils
import json
import math
from datetime import UTC, datetime
from typing import Any

from executions.outbound import OutboundResponse

Json = Any


def data_of(response: OutboundResponse) -> Json:
    """The body as a value where it is JSON, or looks like it; else as text."""
    text = response.text
    kind = response.header("content-type").lower()
    if "json" not in kind and text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def headers_of(response: OutboundResponse) -> dict[str, str]:
    """The headers by their names in lower case; several of one name with commas between."""
    headers: dict[str, str] = {}
    for key, value in response.headers:
        name = key.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def retry_after(response: OutboundResponse, *, now: datetime | None = None) -> float | None:
    """The seconds that a Retry-After header asks for, given as a number or a date."""
    text = response.header("retry-after").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            at = email.utils.parsedate_to_datetime(text)
        except ValueError:
            return None
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        seconds = (at - (now or datetime.now(UTC))).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _refuse(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")
