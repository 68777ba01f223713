"""The log of requests to webhooks: written with each, kept for some weeks."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.db import connection

from executions.errors import Invalid
from executions.rules.ids import new_id
from executions.rules.values import encode
from triggers.rules import bodies

if TYPE_CHECKING:
    from triggers.webhooks import Reception

Json = Any

# The beginning of a body is what helps to find out what a sender means.
BODY_LIMIT: Final = 16 * 1024
TEXT_LIMIT: Final = 2000
_HEADERS_LIMIT: Final = 100

_INSERT = """
INSERT INTO triggers_delivery (
  id, trigger_id, received_at, method, path, query, headers, body, body_bytes, ip, user_agent,
  delivery_id, status, error, is_repeated, run, duration_ms, expires_at)
VALUES (%s, %s, %s, %s, %s, %s::jsonb, %s::jsonb, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


def write(
    reception: Reception, status: int, *, error: str = "", run: str | None = None,
    is_repeated: bool = False,
) -> None:  # fmt: skip
    """Writes a request and its answer down, without what is secret in it."""
    request = reception.request
    body, size = _body(reception)
    headers = reception.headers if reception.is_legible else {}
    with connection.cursor() as cursor:
        cursor.execute(
            _INSERT,
            [
                new_id("delivery"), reception.trigger.id, reception.now, request.method[:20],
                _clean(request.path), _query(reception), _headers(headers), body, size,
                request.ip[:100], _clean(headers.get("user-agent", "")),
                _clean(reception.delivery or ""), status, _clean(error), is_repeated, run,
                round((time.monotonic() - request.began) * 1000, 2),
                reception.now + timedelta(days=settings.FLOWMAESTRO.WEBHOOK_LOG_DAYS),
            ],
        )  # fmt: skip


def _body(reception: Reception) -> tuple[str, int]:
    """The beginning of the body, as far as it may be kept, and its length."""
    found = reception.kept_body
    said = reception.request.headers.get("content-length", "")
    size = len(found) or (int(said) if said.isdigit() and len(said) < 10 else 0)
    if found and any(secret.encode() in found for secret in reception.secrets):
        # All of it, since a secret may stand across the cut.
        found = reception.mask.text(found.decode("utf-8", "replace")).encode()
    return _clean(found[:BODY_LIMIT].decode("utf-8", "replace"), BODY_LIMIT), size


def _query(reception: Reception) -> str:
    if not reception.is_legible:
        return "{}"
    try:
        found = bodies.query(reception.request.query[:TEXT_LIMIT])
        return encode(reception.mask.value(found), field="query")
    except Invalid:
        return "{}"


def _headers(headers: dict[str, str]) -> str:
    kept = list(headers.items())[:_HEADERS_LIMIT]
    return encode({_clean(name): _clean(value) for name, value in kept}, field="headers")


def _clean(text: str, limit: int = TEXT_LIMIT) -> str:
    """Text that PostgreSQL takes: no NUL, no half of a surrogate pair."""
    return text[:limit].replace("\0", "\ufffd").encode("utf-8", "replace").decode()
