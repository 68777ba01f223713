"""What is done to runs: trigger, retrieve, list, cancel, terminate, reschedule, signal, release."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection, transaction

from executions import moves, requests
from executions.engine import db, failpoints, sql
from executions.engine.flush import notify_payload
from executions.errors import Conflict, FlowMaestroError, Invalid, NotFound
from executions.models import IdempotencyKey, Run, RunEvent, Signal, Step, WorkflowVersion
from executions.moves import retrieve
from executions.registry import Task, get_task
from executions.rules.durations import Duration
from executions.rules.ids import new_id
from executions.rules.statuses import FREES_IDEMPOTENCY_KEY, RunStatus
from executions.rules.values import Json, encode, plain_text

__all__ = [
    "Handle",
    "ResultTimeout",
    "RunFailed",
    "batch_trigger",
    "cancel",
    "events",
    "list_runs",
    "query",
    "release",
    "replay",
    "reschedule",
    "retrieve",
    "signal",
    "steps",
    "terminate",
    "trigger",
]

# How often `Handle.result` looks, in seconds: at once, then ever less.
_FIRST_LOOK, _LAST_LOOK = 0.002, 0.1


class RunFailed(FlowMaestroError):
    """A run whose result was asked for did not complete."""

    code = "run_failed"
    http_status = 409

    def __init__(self, run: Run) -> None:
        self.run = run
        self.error: dict[str, Json] = run.error or {}
        detail = self.error.get("message", "")
        super().__init__(f"Run {run.id} ended {run.status}{': ' if detail else ''}{detail}")


class ResultTimeout(FlowMaestroError):
    """A run did not end while its result was waited for."""

    code = "result_timeout"
    http_status = 408


@dataclass(frozen=True, slots=True)
class Handle:
    """A triggered run. `is_cached`: the idempotency key named a run that was there already."""

    id: str
    is_cached: bool = False

    def retrieve(self) -> Run:
        """The run as it stands now."""
        return retrieve(self.id)

    def result(self, timeout: float | None = None) -> Json:
        """The run's output, waited for.

        Raises RunFailed when it ends otherwise, ResultTimeout after `timeout` seconds.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_LOOK
        while True:
            run = retrieve(self.id)
            if run.status == RunStatus.COMPLETED:
                return run.output
            if run.is_final:
                raise RunFailed(run)
            if ends is not None and time.monotonic() >= ends:
                raise ResultTimeout(f"Run {self.id} is {run.status} after {timeout:g} s.")
            time.sleep(pause)
            pause = min(_LAST_LOOK, pause * 1.5)


# ---- trigger ------------------------------------------------------------------------------------


def trigger(
    task: Task | str,
    payload: Any = None,
    *,
    idempotency_key: str | None = None,
    idempotency_key_ttl: Duration | None = None,
    **options: Any,
) -> Handle:
    """Starts a run on the caller's connection, in the caller's transaction.

    Options: delay (a length or a moment), ttl, tags, priority, queue, concurrency_key, metadata,
    max_attempts, max_duration, run_timeout, owner. Raises NotFound for an unknown task, Invalid or
    TooLarge naming the field; then nothing is written.
    """
    entry = task if isinstance(task, Task) else get_task(task)
    run_id, document = requests.document(entry, payload, **options)
    _check_references(options)
    if idempotency_key is None:
        _insert([run_id], [document])
        return Handle(run_id)
    key = requests.check_key(idempotency_key)
    lifetime = requests.key_lifetime(idempotency_key_ttl)
    with transaction.atomic():
        known = _claim_key(entry.id, key, run_id, lifetime.total_seconds())
        if known is not None:
            return Handle(known, is_cached=True)
        _insert([run_id], [document])
    return Handle(run_id)


def batch_trigger(task: Task | str, payloads: Sequence[Any], **options: Any) -> list[Handle]:
    """Starts a run per payload, all or none; handles in the order of the payloads."""
    limit = settings.FLOWMAESTRO.BATCH_LIMIT
    if not isinstance(payloads, Sequence) or isinstance(payloads, str):
        raise Invalid("A batch is a list of payloads.", field="payloads")
    if len(payloads) > limit:
        raise Invalid(f"A batch has at most {limit} runs, not {len(payloads)}.", field="payloads")
    _check_references(options)
    made = [requests.document(task, payload, **options) for payload in payloads]
    if made:
        _insert([run_id for run_id, _ in made], [document for _, document in made])
    return [Handle(run_id) for run_id, _ in made]


def _check_references(options: dict[str, Any]) -> None:
    """Raises now what the database would only find at the caller's commit."""
    owner, definition = options.get("owner"), options.get("definition")
    if owner is not None and not get_user_model().objects.filter(pk=owner).exists():
        raise NotFound(f"There is no user {owner!r}.", field="owner")
    if definition is not None and not WorkflowVersion.objects.filter(pk=definition).exists():
        raise NotFound(f"There is no workflow version {definition!r}.", field="definition")


def _insert(ids: list[str], documents: list[str]) -> None:
    failpoints.hit("trigger.before")
    db.execute(sql.INSERT_RUNS, (f"[{','.join(documents)}]", notify_payload(ids)))


_CLAIM_KEY = """
INSERT INTO executions_idempotencykey AS k (task, scope, key, run_id, expires_at)
VALUES (%s, 'global', %s, %s, flowmaestro_now() + make_interval(secs => %s))
ON CONFLICT (task, scope, key) DO UPDATE
  SET run_id = excluded.run_id, expires_at = excluded.expires_at
  WHERE k.expires_at <= flowmaestro_now()
     OR EXISTS (SELECT FROM executions_run r WHERE r.id = k.run_id AND r.status = ANY(%s))
RETURNING run_id
"""


def _claim_key(task: str, key: str, run_id: str, seconds: float) -> str | None:
    """Claims the key for `run_id`; the id of the run that holds it already, if one does.

    A caller with the same key waits for this transaction. When no row comes back, the holder is
    read in a new statement, whose snapshot knows the commit that was waited for.
    """
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM_KEY, [task, key, run_id, seconds, list(FREES_IDEMPOTENCY_KEY)])
        if cursor.fetchone() is not None:
            return None
    return IdempotencyKey.objects.values_list("run_id", flat=True).get(
        task=task, scope="global", key=key
    )


# ---- look ---------------------------------------------------------------------------------------


def list_runs(
    *, status: str | Sequence[str] | None = None, task: str | None = None, tag: str | None = None,
    after: str | None = None, limit: int = 25,
) -> list[Run]:  # fmt: skip
    """Runs, newest first; `after` is the id of the last one of the page before."""
    if not 1 <= limit <= 1000:
        raise Invalid("limit lies between 1 and 1000.", field="limit")
    found = Run.objects.select_related("data").order_by("-id")
    if status is not None:
        wanted = [status] if isinstance(status, str) else list(status)
        unknown = [value for value in wanted if value not in list(RunStatus)]
        if unknown:
            raise Invalid(f"There is no status {unknown[0]!r}.", field="status")
        found = found.filter(status__in=wanted)
    if task is not None:
        found = found.filter(task=task)
    if tag is not None:
        found = found.filter(tags__contains=[tag])
    if after is not None:
        found = found.filter(id__lt=after)
    return list(found[:limit])


def steps(run_id: str) -> list[Step]:
    """The run's steps in the order in which they began."""
    return list(Step.objects.filter(run_id=retrieve(run_id).id))


def events(run_id: str, *, after: int = 0, limit: int = 1000) -> list[RunEvent]:
    """The run's events with a number over `after`, in order."""
    return list(RunEvent.objects.filter(run_id=run_id, seq__gt=after).order_by("seq")[:limit])


def query(run_id: str) -> dict[str, Json]:
    """The run's declared state: status and metadata. Works with no worker, also when finished."""
    run = retrieve(run_id)
    return {"status": run.status, "metadata": run.data.metadata}


# ---- change -------------------------------------------------------------------------------------


def cancel(run_id: str, *, reason: str | None = None) -> Run:
    """Asks for a run to be cancelled; its code gets to clean up, unless it never began.

    Raises NotFound, or Conflict when the run is final.
    """
    error = {"type": "Canceled", "message": _reason(reason) or "Cancelled."}
    with moves.locked(run_id) as (run, cursor):
        if run.started_at is None or run.status in (RunStatus.PAUSED, RunStatus.NEEDS_ATTENTION):
            moves.end(cursor, [run.id], RunStatus.CANCELED, error, "run.canceled")
            return retrieve(run_id)
        cursor.execute(
            "UPDATE executions_run SET cancel_requested_at = "
            "coalesce(cancel_requested_at, flowmaestro_now()), cancel_reason = "
            "coalesce(cancel_reason, %s) WHERE id = %s",
            [reason, run.id],
        )
        moves.wake(cursor, [run.id])
    return retrieve(run_id)


def _reason(reason: str | None) -> str | None:
    return None if reason is None else plain_text(reason, field="reason", limit=2000)


def terminate(run_id: str, *, reason: str | None = None) -> Run:
    """Ends a run at once, without clean-up. Raises NotFound, or Conflict when the run is final."""
    error = {"type": "Terminated", "message": _reason(reason) or "Terminated."}
    with moves.locked(run_id) as (run, cursor):
        moves.end(cursor, [run.id], RunStatus.CANCELED, error, "run.canceled")
    return retrieve(run_id)


def reschedule(run_id: str, delay: Duration | datetime) -> Run:
    """Moves the start of a DELAYED run. Raises Conflict when it is not DELAYED any more."""
    start = requests.start_of(delay)
    with moves.locked(run_id) as (run, cursor):
        if run.status != RunStatus.DELAYED:
            raise Conflict(f"Run {run.id} is {run.status}; only a DELAYED run can be moved.")
        cursor.execute(
            "UPDATE executions_run r SET wake_at = x.at, "
            "due_at = x.at - make_interval(secs => r.priority), "
            "expires_at = r.expires_at + (x.at - r.wake_at), "
            "deadline_at = r.deadline_at + (x.at - r.wake_at) "
            "FROM (SELECT coalesce(%s::timestamptz, "
            "flowmaestro_now() + make_interval(secs => coalesce(%s, 0))) AS at) x WHERE r.id = %s",
            [start.get("start_at"), start.get("delay"), run.id],
        )
    return retrieve(run_id)


def signal(run_id: str, name: str, data: Json = None, *, dedupe_key: str | None = None) -> str:
    """Puts a message into the run's mailbox; its id. A known `dedupe_key` gives the first one's.

    Raises NotFound, Conflict when the run is final, Invalid for data that is not JSON.
    """
    plain_text(name, field="name", limit=128)
    if dedupe_key is not None:
        plain_text(dedupe_key, field="dedupe_key", limit=2048)
    text = encode(data, field="data", limit=settings.FLOWMAESTRO.PAYLOAD_LIMIT)
    signal_id = new_id("signal")
    with moves.locked(run_id) as (run, cursor):
        cursor.execute(
            "INSERT INTO executions_signal (id, run_id, name, data, dedupe_key) "
            "VALUES (%s, %s, %s, %s::json, %s) "
            "ON CONFLICT (run_id, name, dedupe_key) WHERE dedupe_key IS NOT NULL DO NOTHING "
            "RETURNING id",
            [signal_id, run.id, name, text, dedupe_key],
        )
        if cursor.fetchone() is not None:
            moves.wake(cursor, [run.id])
            return signal_id
    return Signal.objects.values_list("id", flat=True).get(
        run_id=run_id, name=name, dedupe_key=dedupe_key
    )


def release(run_id: str) -> Run:
    """Queues a run that needed attention again. Raises Conflict when it does not need any."""
    with moves.locked(run_id) as (run, cursor):
        if run.status != RunStatus.NEEDS_ATTENTION:
            raise Conflict(f"Run {run.id} is {run.status}; it needs no attention.")
        cursor.execute(
            "UPDATE executions_run SET status = 'QUEUED', error = NULL, "
            "due_at = flowmaestro_now(), wakes = wakes + 1 WHERE id = %s",
            [run.id],
        )
        cursor.execute(sql.NOTIFY, [run.id])
    return retrieve(run_id)


def replay(run_id: str) -> Handle:
    """A new run of the same task with the same payload."""
    run = retrieve(run_id)
    return trigger(
        run.task, run.data.payload, queue=run.queue, tags=run.tags, priority=run.priority,
        owner=run.owner_id, definition=run.definition_id, forked_from=run.id,
    )  # fmt: skip
