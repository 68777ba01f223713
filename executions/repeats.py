"""Requests that are made once however often they come: a client that saw no answer asks again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.db import connection, transaction

from executions.models import AnsweredRequest
from executions.rules.values import plain_text

Make = Callable[[], str]
KEY_LIMIT = 2048
# A client goes on trying for minutes; this is to spare.
LIFETIME = timedelta(days=1)

_CLAIM = """
INSERT INTO executions_answeredrequest AS a (kind, scope, key, result, expires_at)
VALUES (%s, %s, %s, '', flowmaestro_now() + make_interval(secs => %s))
ON CONFLICT (kind, scope, key) DO UPDATE SET result = '', expires_at = excluded.expires_at
  WHERE a.expires_at <= flowmaestro_now()
RETURNING 1
"""


def once(
    kind: str, scope: str, key: str | None, make: Make, *,
    lifetime: timedelta = LIFETIME, field: str = "idempotency_key",
) -> tuple[str, bool]:  # fmt: skip
    """What `make` gives, and False; for a key that is known, what it gave then, and True.

    It runs in one transaction with the note of its key: if it fails, the key is free. Whoever
    comes with the same key meanwhile waits for the outcome. Without a key it just runs.
    """
    if key is None:
        return make(), False
    plain_text(key, field=field, limit=KEY_LIMIT)
    row = {"kind": kind, "scope": scope, "key": key}
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_CLAIM, [kind, scope, key, lifetime.total_seconds()])
            is_new = cursor.fetchone() is not None
        # A new statement, whose snapshot knows the commit that the claim waited for.
        known = AnsweredRequest.objects.filter(**row)
        if not is_new:
            return known.values_list("result", flat=True).get(), True
        result = make()
        known.update(result=result)
    return result, False


def forget(kind: str, scope: str, key: str) -> bool:
    """Frees a key; False when it was free."""
    return AnsweredRequest.objects.filter(kind=kind, scope=scope, key=key).delete()[0] > 0
