"""A run with what is around it: its relatives, its depth, its idempotency key, what started it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from executions.access import Caller
from executions.engine import db
from executions.errors import NotFound
from executions.inspection import run_sources
from executions.inspection.run_lists import with_updated_at
from executions.models import Run
from executions.planned import Seen
from executions.rules.ids import has_prefix

Json = Any
MAX_CHILDREN = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """A run, how deep it lies under its root, and its relatives; `root` is None for a root."""

    run: Run
    depth: int
    root: Run | None
    parent: Run | None
    children: Sequence[Run]
    """At most a thousand, the oldest first."""
    keys: Mapping[str, str]
    """The idempotency keys of all these runs that have one."""
    source: Mapping[str, Json] | None = field(default=None)
    """What started the run, as far as it is known."""


def find(caller: Caller, run_id: str) -> Run:
    """The run, if the caller sees it, with its data. Raises NotFound."""
    found = _one(caller, run_id) if has_prefix(run_id, "run") else []
    if not found:
        raise NotFound(f"There is no run {run_id!r}.", field="run")
    return found[0]


def details(caller: Caller, run_id: str) -> Details:
    """The run and those of its relatives that the caller sees. Raises NotFound."""
    run = find(caller, run_id)
    wanted = {run.parent_id, run.root_id} - {run.id, None}
    above = {relative.id: relative for one in wanted for relative in _relative(caller, one or "")}
    children = _children(caller, run.id)
    return Details(
        run=run,
        depth=_depth(run),
        root=above.get(run.root_id or ""),
        parent=above.get(run.parent_id or ""),
        children=children,
        keys=idempotency_keys([run, *above.values(), *children]),
        source=run_sources.describe([run.source]).get(run.source or ""),
    )


def idempotency_keys(runs: Iterable[Run]) -> dict[str, str]:
    """The keys that promise these runs, by the run's id."""
    return dict(db.execute(_KEYS, ([run.pk for run in runs],)))


_KEYS = "SELECT run_id, key FROM executions_idempotencykey WHERE run_id = ANY(%s)"


def _relatives(runs: QuerySet[Run]) -> QuerySet[Run]:
    return with_updated_at(runs.select_related("data").defer("output", "error", "data__payload"))


_one = Seen(
    Run, lambda runs, run_id: with_updated_at(runs.select_related("data")).filter(pk=run_id)
)
_relative = Seen(Run, lambda runs, run_id: _relatives(runs).filter(pk=run_id))
_children = Seen(
    Run, lambda runs, run_id: _relatives(runs).filter(parent=run_id).order_by("id")[:MAX_CHILDREN]
)


_DEPTH = """
WITH RECURSIVE up AS (
  SELECT parent_id, 0 AS n FROM executions_run WHERE id = %s
  UNION ALL SELECT r.parent_id, up.n + 1 FROM up JOIN executions_run r ON r.id = up.parent_id
)
SELECT max(n) FROM up
"""


def _depth(run: Run) -> int:
    if run.parent_id is None:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(_DEPTH, [run.id])
        return int(cursor.fetchone()[0])
