"""Changing a run's metadata from outside its code, and that of its parent and root with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.conf import settings
from django.db import connection, transaction

from executions import audit, moves
from executions.audit import Actor
from executions.engine import db, sql
from executions.errors import Conflict
from executions.models import Run
from executions.rules import metadata
from executions.rules.metadata import Operation
from executions.rules.values import Json, encode


def change(
    run_id: str, operations: Sequence[Operation], *, parent: Sequence[Operation] = (),
    root: Sequence[Operation] = (), actor: Actor | None = None,
) -> dict[str, Json]:  # fmt: skip
    """Applies the operations in order; the run's metadata after them.

    Those for a parent or root are for the run itself when it has none; one that ended is left as
    it is. Code that runs goes on from what it knows: it does not see these changes, and what it
    writes itself adds to them. Raises NotFound, Invalid, TooLarge, Conflict when the run is final.
    """
    for operation in (*operations, *parent, *root):
        metadata.check(operation)
    run = moves.retrieve(run_id)
    wanted: dict[str, list[Operation]] = {run.id: list(operations)}
    for target, given in ((run.parent_id, parent), (run.root_id, root)):
        if given:
            wanted.setdefault(target or run.id, []).extend(given)
    with transaction.atomic():
        with connection.cursor() as cursor:
            moves.lock(cursor, list(wanted))
        is_open = set(
            Run.objects.filter(pk__in=wanted, finished_at=None).values_list("pk", flat=True)
        )
        if run.id not in is_open:
            raise Conflict(
                f"Run {run.id} has ended; its metadata does not change any more.", field="run"
            )
        _write({target: given for target, given in wanted.items() if given and target in is_open})
        audit.record(actor, "run.metadata", run.id)
    return moves.retrieve(run_id).data.metadata


def _write(operations: Mapping[str, Sequence[Operation]]) -> None:
    """Applies operations to runs whose rows are locked, each with its event."""
    if not operations:
        return
    counts = [str(len(given)) for given in operations.values()]
    last = dict(db.execute(sql.COUNT_EVENTS, [sql.column(operations), sql.column(counts)]))
    events = [
        (run, str(last[run] + number), "metadata", _event(operation))
        for run, given in operations.items()
        for number, operation in enumerate(given, start=1)
    ]
    db.execute(sql.INSERT_EVENTS, [sql.column(column) for column in zip(*events, strict=True)])
    limit = settings.FLOWMAESTRO.METADATA_LIMIT
    after = [
        (run, encode(metadata.apply(known, operations[run]), field="metadata", limit=limit))
        for run, known in db.execute(sql.LOCK_METADATA, [list(operations)])
    ]
    db.execute(sql.WRITE_METADATA, [sql.column(column) for column in zip(*after, strict=True)])


def _event(operation: Operation) -> str:
    name, key, value = operation
    return encode({"op": name, "key": key, "value": value}, field="metadata")
