"""What lies about for a while: firings are added up, old deliveries and receipts are removed."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Final

from django.db import transaction
from django.db.backends.utils import CursorWrapper

from executions import prune
from executions.duties import Duty

_LIMIT: Final = 2000
_REMOVE_EVERY_SECONDS: Final = 60.0
# One worker at a time, so that no two wait for the rows of the same triggers; the number only has
# to be nobody else's.
_LOCK: Final = "SELECT pg_try_advisory_xact_lock(7305144)"
_ANY_FIRINGS: Final = "SELECT EXISTS (SELECT FROM triggers_firing)"

ADD_UP: Final = """
WITH taken AS (
  DELETE FROM triggers_firing WHERE id IN (
    SELECT id FROM triggers_firing ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
  RETURNING trigger_id, run, error, at
), sums AS (
  SELECT trigger_id, count(run) AS fired, max(at) FILTER (WHERE run IS NOT NULL) AS fired_at,
         max(at) FILTER (WHERE run IS NULL) AS failed_at,
         (array_agg(error ORDER BY at DESC) FILTER (WHERE run IS NULL))[1] AS error
  FROM taken GROUP BY trigger_id
), added AS (
  UPDATE triggers_trigger t SET
    trigger_count = t.trigger_count + s.fired,
    last_triggered_at = greatest(t.last_triggered_at, s.fired_at),
    last_error = coalesce(s.error, t.last_error),
    last_error_at = greatest(t.last_error_at, s.failed_at)
  FROM sums s WHERE t.id = s.trigger_id
)
SELECT FROM taken
"""
_EXPIRED: Final = {
    "deliveries to webhooks": """
DELETE FROM triggers_delivery WHERE id IN (
  SELECT id FROM triggers_delivery WHERE expires_at <= %(now)s
  ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
""",
    "receipts of deliveries and events": """
DELETE FROM triggers_receipt WHERE (scope, key) IN (
  SELECT scope, key FROM triggers_receipt WHERE expires_at <= %(now)s
  ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
""",
}


class Tidying:
    """The workers' share of it: a bounded piece with each tick."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _REMOVE_EVERY_SECONDS

    def tick(self, cursor: CursorWrapper) -> bool:
        """Does a piece; whether there is more."""
        cursor.execute(_ANY_FIRINGS)
        is_due = time.monotonic() >= self._next
        if not is_due and cursor.fetchone() == (False,):
            return False
        with transaction.atomic():
            cursor.execute(_LOCK)
            if cursor.fetchone() != (True,):
                return False
            cursor.execute(ADD_UP, {"limit": _LIMIT})
            most = cursor.rowcount
            if is_due:
                most = max(most, self._remove(cursor))
        return most == _LIMIT

    def _remove(self, cursor: CursorWrapper) -> int:
        cursor.execute("SELECT flowmaestro_now()")
        given = {"now": cursor.fetchone()[0], "limit": _LIMIT}
        most = 0
        for statement in _EXPIRED.values():
            cursor.execute(statement, given)
            most = max(most, cursor.rowcount)
        if most < _LIMIT:
            self._next = time.monotonic() + _REMOVE_EVERY_SECONDS
        return most


def _no_moment(cursor: CursorWrapper) -> datetime | None:
    """None of this waits for a moment: it is as good later."""
    return None


def duty() -> Duty:
    """What every worker does of it."""
    return Duty(name="triggers.tidying", tick=Tidying().tick, next_moment=_no_moment)


def register_with_prune() -> None:
    """Has `manage.py prune` remove what is past its time."""
    for name, statement in _EXPIRED.items():
        prune.register(name, statement)
