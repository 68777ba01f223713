"""Moves of runs made from outside their code, for services and the ticker: lock, wake, end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from executions.engine import failpoints, sql
from executions.engine.flush import notify_payload
from executions.errors import Conflict, NotFound
from executions.models import Run
from executions.rules.ids import has_prefix
from executions.rules.statuses import RunStatus, is_final
from executions.rules.values import Json, encode


def retrieve(run_id: str) -> Run:
    """The run with its payload and metadata. Raises NotFound."""
    if has_prefix(run_id, "run"):
        run = Run.objects.select_related("data").filter(pk=run_id).first()
        if run is not None:
            return run
    raise NotFound(f"There is no run {run_id!r}.", field="run")


@contextmanager
def locked(run_id: str) -> Iterator[tuple[Run, CursorWrapper]]:
    """The run with its row locked, in a transaction.

    Raises NotFound, or Conflict when the run is final.
    """
    retrieve(run_id)
    with transaction.atomic(), connection.cursor() as cursor:
        lock(cursor, [run_id])
        run = Run.objects.get(pk=run_id)
        if run.is_final:
            raise Conflict(
                f"Run {run.id} ended {run.status} at {run.finished_at:%Y-%m-%d %H:%M:%S} UTC; "
                "nothing can change it any more.",
                field="run",
            )
        yield run, cursor
        failpoints.hit("change.before_commit")
    failpoints.hit("change.after_commit")


def lock(cursor: CursorWrapper, ids: Sequence[str]) -> None:
    """Locks the runs, and before them their parents: whoever ends a run also tells its parent."""
    cursor.execute(
        "SELECT DISTINCT parent_id FROM executions_run "
        "WHERE id = ANY(%s) AND parent_id IS NOT NULL",
        [list(ids)],
    )
    parents = [row[0] for row in cursor.fetchall()]
    if parents:
        _lock(cursor, parents)
    _lock(cursor, ids)


def _lock(cursor: CursorWrapper, ids: Sequence[str]) -> None:
    cursor.execute(
        "SELECT id FROM executions_run WHERE id = ANY(%s) ORDER BY id FOR UPDATE", [list(ids)]
    )


def wake(cursor: CursorWrapper, ids: Sequence[str]) -> None:
    """Counts a resolution on each run, and queues those that wait."""
    failpoints.hit("wake.before")
    cursor.execute(sql.WAKE, [list(ids)])
    cursor.execute(sql.NOTIFY, [notify_payload(ids)])


def end(
    cursor: CursorWrapper, ids: Sequence[str], status: RunStatus, error: Json, event: str,
    *, only: Sequence[str] | None = None,
) -> list[str]:  # fmt: skip
    """Ends runs from outside their code, with all that follows for parents and children.

    `only`: the statuses in which they may still be. The ids of those that this ended.
    """
    assert is_final(status)
    lock(cursor, ids)
    ended = _end(cursor, ids, status, error, event, only)
    failpoints.hit("end.before_children")
    open_parents = [run for run, _, _ in ended]
    woken: list[str] = list(open_parents)
    while open_parents:
        cursor.execute(sql.TERMINATED_CHILDREN, [open_parents])
        children = [row[0] for row in cursor.fetchall()]
        cursor.execute(sql.REQUEST_CANCEL_OF_CHILDREN, [open_parents])
        woken += [row[0] for row in cursor.fetchall()]
        closed = {"type": "ParentClosed", "message": "Its parent ended."}
        open_parents = [
            run
            for run, _, _ in _end(
                cursor, children, RunStatus.CANCELED, closed, "run.canceled", None
            )
        ]
        woken += open_parents
    failpoints.hit("end.before_parents")
    waited = [run for run, parent, step in ended if parent and step]
    if waited:
        cursor.execute(sql.CHILDREN_ENDED, [waited])
        woken += [row[0] for row in cursor.fetchall()]
    failpoints.hit("end.before_notify")
    cursor.execute(sql.NOTIFY, [notify_payload(woken)])
    return [run for run, _, _ in ended]


def _end(
    cursor: CursorWrapper, ids: Sequence[str], status: RunStatus, error: Json, event: str,
    only: Sequence[str] | None,
) -> list[tuple[str, str | None, str | None]]:  # fmt: skip
    if not ids:
        return []
    text = encode(error, field="error")
    statuses = None if only is None else list(only)
    cursor.execute(sql.END_RUNS, [list(ids), statuses, statuses, str(status), text, event, text])
    return [(row[0], row[1], row[2]) for row in cursor.fetchall()]
