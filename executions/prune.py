"""Removing runs that ended long ago, with all that hangs on them, in small transactions.

A run is never removed while its parent or a child of it is open, while an idempotency key still
promises it, or while an open run waits for one of its tokens. The audit log stays.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from executions.errors import Invalid
from executions.rules.ids import first_id
from executions.rules.statuses import FINAL, FREES_IDEMPOTENCY_KEY, RunStatus

BATCH = 500
_DAY = timedelta(days=1)


@dataclass(slots=True, kw_only=True)
class Removed:
    """What was removed, or would be."""

    runs: dict[str, int] = field(default_factory=dict)
    keys: int = 0
    tokens: int = 0
    workers: int = 0
    others: dict[str, int] = field(default_factory=dict)
    """What else is kept for a while, by its name."""

    @property
    def total(self) -> int:
        """Runs of all statuses."""
        return sum(self.runs.values())


# A batch goes when all its runs have gone, or never were.
_OLD_BATCHES = """
WITH old AS MATERIALIZED (
  SELECT id FROM executions_batch b
  WHERE b.id < 'batch_' || split_part(%(bound)s, '_', 2) AND b.created_at < %(before)s
    AND NOT EXISTS (SELECT FROM executions_batchitem i JOIN executions_run r ON r.id = i.run_id
                    WHERE i.batch_id = b.id)
  ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED),
items AS (DELETE FROM executions_batchitem WHERE batch_id IN (SELECT id FROM old))
DELETE FROM executions_batch WHERE id IN (SELECT id FROM old)
"""
_OLD_UPLOADS = """
DELETE FROM executions_parcel WHERE id IN (
  SELECT id FROM executions_parcel WHERE created_at < %(day)s
  LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""
_OLD_ANSWERS = """
DELETE FROM executions_answeredrequest WHERE (kind, scope, key) IN (
  SELECT kind, scope, key FROM executions_answeredrequest WHERE expires_at < %(now)s
  ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""
_others: dict[str, str] = {
    "batches": _OLD_BATCHES,
    "uploads": _OLD_UPLOADS,
    "keys of answered requests": _OLD_ANSWERS,
}


def register(name: str, statement: str) -> None:
    """Adds what a higher app keeps for a while, as "records of schedules".

    The statement deletes at most `%(limit)s` rows from before `%(before)s`, which is the retention
    of runs that ended well, or such as are past `%(now)s`.
    """
    _others[name] = statement


def retention() -> dict[str, timedelta]:
    """How long a run of each final status is kept, by the settings."""
    options = settings.FLOWMAESTRO
    return {
        status: timedelta(
            days=options.RETENTION_FAILED_DAYS
            if status in FREES_IDEMPOTENCY_KEY and status != RunStatus.EXPIRED
            else options.RETENTION_DAYS
        )
        for status in sorted(FINAL)
    }


def prune(
    older_than: Mapping[str, timedelta] | None = None, *, dry_run: bool = False,
    on_progress: Callable[[Removed], None] = lambda removed: None,
) -> Removed:  # fmt: skip
    """Removes what is past its retention; `older_than` says otherwise for some statuses.

    Raises Invalid for a status that is not final.
    """
    kept = {**retention(), **(older_than or {})}
    wrong = sorted(kept.keys() - FINAL)
    if wrong:
        known = ", ".join(sorted(FINAL))
        raise Invalid(f"{wrong[0]} is no final status; those are {known}.", field="older_than")
    removed = Removed()
    walk = Walk(kept)
    with connection.cursor() as cursor:
        while not walk.is_done:
            status, count = walk.count(cursor) if dry_run else walk.remove(cursor, BATCH)
            if count:
                removed.runs[status] = removed.runs.get(status, 0) + count
                on_progress(removed)
        given = _given(cursor, BATCH)
        removed.keys = _removed_by(cursor, _EXPIRED_KEYS, given, dry_run=dry_run)
        removed.tokens = _removed_by(cursor, _OLD_TOKENS, given, dry_run=dry_run)
        removed.workers = _removed_by(cursor, _DEAD_WORKERS, given, dry_run=dry_run)
        for name, statement in _others.items():
            removed.others[name] = _removed_by(cursor, statement, given, dry_run=dry_run)
    return removed


# ---- runs ---------------------------------------------------------------------------------------

# No index knows when a run ended, but its id knows that it began before. Runs that cannot go yet
# are looked at and passed over, so that many of them do not make a look longer.
_ENDED = """
SELECT id, task, parent_id FROM executions_run
WHERE status = %(status)s AND id < %(bound)s AND id > %(after)s AND finished_at < %(before)s
  AND (task = 'run-hooks') = %(is_hook)s
"""
# A run that calls hooks goes after the one whose end started it.
_MAY_GO = """
  NOT EXISTS (SELECT FROM executions_run p WHERE p.id = r.parent_id
              AND (p.finished_at IS NULL OR p.hook_run = r.id))
  AND NOT EXISTS (SELECT FROM executions_run c
                  WHERE c.parent_id = r.id AND c.finished_at IS NULL)
  AND (%(frees)s OR NOT EXISTS (SELECT FROM executions_idempotencykey k
                                WHERE k.run_id = r.id AND k.expires_at > flowmaestro_now()))
  AND NOT EXISTS (SELECT FROM executions_waittoken t
                  JOIN executions_tokenwaiter w ON w.token_id = t.id
                  JOIN executions_run o ON o.id = w.run_id
                  WHERE t.run_id = r.id AND o.id <> r.id AND o.finished_at IS NULL)
"""
_PICK = f"""
WITH r AS MATERIALIZED ({_ENDED} ORDER BY id LIMIT %(limit)s)
SELECT r.id, {_MAY_GO} FROM r ORDER BY r.id
"""
_COUNT = f"WITH r AS MATERIALIZED ({_ENDED}) SELECT count(*) FROM r WHERE {_MAY_GO}"
# A trigger that gathers holds its row here and asks for the run's: nobody waits for it.
_REMOVE_DEBOUNCES = """
DELETE FROM executions_debounce WHERE (task, key) IN (
  SELECT task, key FROM executions_debounce WHERE run_id = ANY(%s) FOR UPDATE SKIP LOCKED)
"""
_LOCK = """
SELECT id FROM executions_run r WHERE id = ANY(%s)
  AND NOT EXISTS (SELECT FROM executions_debounce d WHERE d.run_id = r.id)
ORDER BY id FOR UPDATE SKIP LOCKED
"""
_REMOVE_WAITERS = """
DELETE FROM executions_tokenwaiter WHERE run_id = ANY(%(ids)s) OR token_id IN (
  SELECT id FROM executions_waittoken WHERE run_id = ANY(%(ids)s))
"""


@functools.cache
def _removals() -> tuple[str, ...]:
    """A statement per table of this app whose rows belong to a run, and one for the runs."""
    tables = [
        model._meta.db_table
        for model in apps.get_app_config("executions").get_models()
        if any(field.column == "run_id" for field in model._meta.concrete_fields)
    ]
    removals = [f'DELETE FROM "{table}" WHERE run_id = ANY(%(ids)s)' for table in tables]
    return (_REMOVE_WAITERS, *removals, "DELETE FROM executions_run WHERE id = ANY(%(ids)s)")


class Walk:
    """Goes through the runs that are past their retention, so many at a time."""

    def __init__(self, kept: Mapping[str, timedelta]) -> None:
        self._lines = [
            (status, kept[status], is_hook) for is_hook in (False, True) for status in sorted(kept)
        ]
        self._after = ""

    @property
    def is_done(self) -> bool:
        """Whether all have been looked at."""
        return not self._lines

    def remove(self, cursor: CursorWrapper, limit: int) -> tuple[str, int]:
        """Looks at the next runs of a status and removes those that may go: how many."""
        status = self._lines[0][0]
        cursor.execute(_PICK, self._given(cursor, limit))
        rows = cursor.fetchall()
        if len(rows) < limit:
            self._next_line()
        else:
            self._after = rows[-1][0]
        return status, _remove(cursor, [run for run, may_go in rows if may_go])

    def count(self, cursor: CursorWrapper) -> tuple[str, int]:
        """How many runs of the next status may go."""
        status = self._lines[0][0]
        cursor.execute(_COUNT, self._given(cursor, 0))
        self._next_line()
        return status, cursor.fetchone()[0]

    def _next_line(self) -> None:
        del self._lines[0]
        self._after = ""

    def _given(self, cursor: CursorWrapper, limit: int) -> dict[str, Any]:
        status, length, is_hook = self._lines[0]
        before = _now(cursor) - length
        return {
            "status": status, "before": before, "is_hook": is_hook, "after": self._after,
            "bound": first_id("run", before), "frees": status in FREES_IDEMPOTENCY_KEY,
            "limit": limit,
        }  # fmt: skip


def _remove(cursor: CursorWrapper, picked: list[str]) -> int:
    """Removes those of the picked runs that nobody holds."""
    if not picked:
        return 0
    with transaction.atomic():
        cursor.execute(_REMOVE_DEBOUNCES, [picked])
        cursor.execute(_LOCK, [picked])
        ids = [row[0] for row in cursor.fetchall()]
        if ids:
            for statement in _removals():
                cursor.execute(statement, {"ids": ids})
    return len(ids)


def remove_keys_and_workers(cursor: CursorWrapper, limit: int) -> None:
    """Removes expired idempotency keys, workers that died over a day ago, what others keep."""
    for statement in (_EXPIRED_KEYS, _DEAD_WORKERS, *_others.values()):
        cursor.execute(statement, _given(cursor, limit))


# ---- what belongs to no run ---------------------------------------------------------------------

_EXPIRED_KEYS = """
DELETE FROM executions_idempotencykey WHERE (task, scope, key) IN (
  SELECT task, scope, key FROM executions_idempotencykey WHERE expires_at < %(now)s
  ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""
_DEAD_WORKERS = """
DELETE FROM executions_worker w WHERE w.dead_at < %(day)s
  AND NOT EXISTS (SELECT FROM executions_run r WHERE r.worker = w.id AND r.status = 'EXECUTING')
"""
_OLD_TOKENS = """
DELETE FROM executions_waittoken WHERE id IN (
  SELECT id FROM executions_waittoken t
  WHERE t.run_id IS NULL AND t.status <> 'WAITING' AND t.id < %(bound)s
    AND coalesce(t.completed_at, t.timeout_at) < %(before)s
    AND NOT EXISTS (SELECT FROM executions_tokenwaiter w WHERE w.token_id = t.id)
  ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""


def _removed_by(
    cursor: CursorWrapper, statement: str, given: dict[str, Any], *, dry_run: bool
) -> int:
    total = 0
    while True:
        with transaction.atomic():
            cursor.execute(statement, given)
            count = cursor.rowcount
            if dry_run:
                transaction.set_rollback(True)
        total += count
        if dry_run or count < given["limit"]:
            return total


def _given(cursor: CursorWrapper, limit: int) -> dict[str, Any]:
    """What the statements for rows of no run are given."""
    now = _now(cursor)
    before = now - timedelta(days=settings.FLOWMAESTRO.RETENTION_DAYS)
    return {
        "now": now, "day": now - _DAY, "before": before, "bound": first_id("waitpoint", before),
        "limit": limit,
    }  # fmt: skip


def _now(cursor: CursorWrapper) -> datetime:
    cursor.execute("SELECT flowmaestro_now()")
    row: tuple[datetime] = cursor.fetchone()
    return row[0]
