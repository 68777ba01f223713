"""What is taken in once: whoever comes again gets the answer of the first time."""

from __future__ import annotations

from typing import Any

from django.db import connection

from executions.rules.values import encode
from triggers.models import Receipt

Json = Any

_CLAIM = """
INSERT INTO triggers_receipt AS r (scope, key, result, expires_at)
VALUES (%s, %s, NULL, flowmaestro_now() + make_interval(secs => %s))
ON CONFLICT (scope, key) DO UPDATE SET result = NULL, expires_at = excluded.expires_at
  WHERE r.expires_at <= flowmaestro_now()
RETURNING key
"""


def claim(scope: str, key: str, *, seconds: float) -> bool:
    """Whether this is the first time, within the transaction that does what is done once.

    Whoever has the same key in an open transaction is waited for: if that one is rolled back, this
    is the first time.
    """
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [scope, key, seconds])
        return cursor.fetchone() is not None


def settle(scope: str, key: str, result: Json) -> None:
    """Keeps what came of a claim, for those who come again."""
    text = encode(result, field="result")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE triggers_receipt SET result = %s::jsonb WHERE scope = %s AND key = %s",
            [text, scope, key],
        )


def result_of(scope: str, key: str) -> Json:
    """What came of the first time, asked in a statement of its own, whose snapshot knows it."""
    return Receipt.objects.values_list("result", flat=True).get(scope=scope, key=key)
