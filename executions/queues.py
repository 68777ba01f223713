"""What is done to queues: declare them, pause and resume them, limit them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Count, QuerySet

from executions import audit, registry
from executions.audit import Actor
from executions.engine import sql
from executions.errors import Conflict, Invalid, NotFound
from executions.models import Queue, Run
from executions.rules.statuses import RunStatus
from executions.rules.values import Json, plain_text

_MAX_LIMIT = 100_000

# A queue without a row has no limit and is not paused. Gated for good once it ever was: its runs
# need not be marked back, and no trigger under way can leave one behind unmarked.
_ENSURE = "INSERT INTO executions_queue (name, is_overridden, is_gated) VALUES (%s, false, false) "
_MARK_RUNS = """
WITH ids AS MATERIALIZED (
  SELECT id FROM executions_run WHERE queue = %s AND finished_at IS NULL AND NOT is_gated
  ORDER BY id FOR UPDATE)
UPDATE executions_run r SET is_gated = true FROM ids WHERE r.id = ids.id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """A queue with what is in it now."""

    queue: Queue
    queued: int
    executing: int


def retrieve(name: str) -> Queue:
    """The queue. Raises NotFound for one that no code declares and nobody has touched."""
    queue = Queue.objects.filter(pk=name).first()
    if queue is None:
        raise NotFound(f"There is no queue {name!r}.", field="queue")
    return queue


def list_queues() -> list[QueueState]:
    """Every declared or touched queue, by name, with its counts."""
    return _states(Queue.objects.order_by("name"), Run.objects.all())


def states(runs: QuerySet[Run]) -> list[QueueState]:
    """Every queue that has a row or that a task uses, by name; of the given runs those in it."""
    known = {queue.name: queue for queue in Queue.objects.all()}
    used = {entry.queue: Queue(name=entry.queue) for entry in registry.all_tasks()}
    return _states([queue for _, queue in sorted((used | known).items())], runs)


def state_of(name: str, runs: QuerySet[Run]) -> QueueState:
    """The queue with those of the given runs that are in it.

    Raises NotFound for one that no code declares, no task or run uses and nobody has touched.
    """
    (state,) = _states([_known(name, runs)], runs.filter(queue=name))
    return state


def _known(name: str, runs: QuerySet[Run]) -> Queue:
    plain_text(name, field="queue", limit=128)
    queue = Queue.objects.filter(pk=name).first()
    if queue is not None:
        return queue
    if any(entry.queue == name for entry in registry.all_tasks()):
        return Queue(name=name)
    if runs.filter(queue=name).exists():
        return Queue(name=name)
    return retrieve(name)


def _states(queues: Iterable[Queue], runs: QuerySet[Run]) -> list[QueueState]:
    counts: dict[tuple[str, str], int] = {}
    for status in (RunStatus.QUEUED, RunStatus.EXECUTING):
        found = runs.filter(status=status).values("queue").annotate(n=Count("pk"))
        counts |= {(row["queue"], status): row["n"] for row in found.order_by()}
    return [
        QueueState(
            queue=queue,
            queued=counts.get((queue.name, RunStatus.QUEUED), 0),
            executing=counts.get((queue.name, RunStatus.EXECUTING), 0),
        )
        for queue in queues
    ]


def declare() -> None:
    """Makes the queues that the code declares, with their limits; an operator's word stays."""
    for name, limit in registry.declared_queues().items():
        known = Queue.objects.filter(pk=name).first()
        if known is None or known.declared_limit != limit:
            with _locked(name) as (queue, cursor):
                queue.declared_limit = limit
                if not queue.is_overridden:
                    queue.concurrency_limit = limit
                _save(queue, cursor)


def pause(name: str, *, reason: str | None = None, actor: Actor | None = None) -> Queue:
    """Stops claims from the queue; what runs goes on. Raises Conflict when it is paused."""
    with _locked(name) as (queue, cursor):
        if queue.paused_at is not None:
            raise Conflict(f"Queue {name!r} is paused already.", field="queue")
        cursor.execute("SELECT flowmaestro_now()")
        queue.paused_at = cursor.fetchone()[0]
        _save(queue, cursor)
        _record(actor, "queue.pause", name, reason, {"paused": False}, {"paused": True})
    return queue


def resume(name: str, *, reason: str | None = None, actor: Actor | None = None) -> Queue:
    """Lets claims go on. Raises Conflict when it is not paused."""
    with _locked(name) as (queue, cursor):
        if queue.paused_at is None:
            raise Conflict(f"Queue {name!r} is not paused.", field="queue")
        queue.paused_at = None
        _save(queue, cursor)
        _record(actor, "queue.resume", name, reason, {"paused": True}, {"paused": False})
    return queue


def set_paused(
    name: str, is_paused: bool, *, reason: str | None = None, actor: Actor | None = None
) -> Queue:
    """Pauses or resumes the queue, unless it is so already. Raises NotFound for an unknown one."""
    _known(name, Run.objects.all())
    with _locked(name) as (queue, _):
        if (queue.paused_at is not None) == is_paused:
            return queue
        change = pause if is_paused else resume
        return change(name, reason=reason, actor=actor)


def set_limit(
    name: str, limit: int | None, *, reason: str | None = None, actor: Actor | None = None
) -> Queue:
    """How many runs of each concurrency key may execute at once; None: any number.

    It holds instead of what the code declares, until `reset_limit`.
    """
    _check_limit(limit)
    with _locked(name) as (queue, cursor):
        before: dict[str, Json] = {"limit": queue.concurrency_limit}
        queue.concurrency_limit, queue.is_overridden = limit, True
        _save(queue, cursor)
        _record(actor, "queue.limit", name, reason, before, {"limit": limit})
    return queue


def reset_limit(name: str, *, reason: str | None = None, actor: Actor | None = None) -> Queue:
    """Gives the queue the limit that the code declares."""
    with _locked(name) as (queue, cursor):
        before: dict[str, Json] = {"limit": queue.concurrency_limit}
        queue.concurrency_limit, queue.is_overridden = queue.declared_limit, False
        _save(queue, cursor)
        after: dict[str, Json] = {"limit": queue.concurrency_limit}
        _record(actor, "queue.limit", name, reason, before, after)
    return queue


def _check_limit(limit: object) -> None:
    if limit is not None and (
        isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= _MAX_LIMIT
    ):
        raise Invalid(
            f"A limit is a whole number from 1 to {_MAX_LIMIT:,}, or none. To let nothing run, "
            "pause the queue.",
            field="limit",
        )


@contextmanager
def _locked(name: str) -> Iterator[tuple[Queue, CursorWrapper]]:
    plain_text(name, field="queue", limit=128)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"{_ENSURE} ON CONFLICT DO NOTHING", [name])
        yield Queue.objects.select_for_update().get(pk=name), cursor


def _save(queue: Queue, cursor: CursorWrapper) -> None:
    is_held = queue.concurrency_limit is not None or queue.paused_at is not None
    becomes_gated = is_held and not queue.is_gated
    queue.is_gated |= is_held
    queue.save()
    if becomes_gated:
        cursor.execute(_MARK_RUNS, [queue.name])
    cursor.execute(sql.NOTIFY, [""])


def _record(
    actor: Actor | None, action: str, name: str, reason: str | None,
    before: dict[str, Json], after: dict[str, Json],
) -> None:  # fmt: skip
    reason = audit.check_reason(reason)
    audit.record(actor, action, name, reason=reason, before=before, after=after)
