"""What is done to runs: the one door for each change, for code, API, admin and commands."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.db.backends.utils import CursorWrapper

from executions import audit, moves, requests
from executions.audit import Actor
from executions.engine import sql
from executions.errors import Conflict, Invalid
from executions.forks import replay
from executions.models import Run, RunEvent, Signal, Step
from executions.moves import retrieve
from executions.rules.durations import Duration
from executions.rules.ids import new_id
from executions.rules.statuses import RunStatus
from executions.rules.values import Json, encode, plain_text
from executions.triggering import Handle, ResultTimeout, RunFailed, batch_trigger, trigger

__all__ = [
    "Handle",
    "ResultTimeout",
    "RunFailed",
    "batch_trigger",
    "cancel",
    "events",
    "list_runs",
    "pause",
    "query",
    "release",
    "replay",
    "reschedule",
    "resume",
    "retrieve",
    "signal",
    "step_lines",
    "steps",
    "terminate",
    "trigger",
]

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
        # The index holds runs with tags only, and has to be told so.
        found = found.filter(tags__contains=[tag]).exclude(tags=[])
    if after is not None:
        found = found.filter(id__lt=after)
    return list(found[:limit])


def steps(run_id: str) -> list[Step]:
    """The run's steps in the order in which they began."""
    return list(Step.objects.filter(run_id=retrieve(run_id).id))


def step_lines(run_id: str, *, after: int = 0, limit: int) -> list[Step]:
    """Some of the run's steps, `after` so many, without what they were given and gave."""
    found = Step.objects.filter(run_id=run_id).defer("input", "output", "heartbeat")
    return list(found[after : after + limit])


def events(run_id: str, *, after: int = 0, limit: int = 1000) -> list[RunEvent]:
    """The run's events with a number over `after`, in order."""
    return list(RunEvent.objects.filter(run_id=run_id, seq__gt=after).order_by("seq")[:limit])


def query(run_id: str) -> dict[str, Json]:
    """The run's declared state: status, metadata and what it exposed, with no worker needed."""
    run = retrieve(run_id)
    return {"status": run.status, "metadata": run.data.metadata, "exposed": run.data.exposed or {}}


# ---- change -------------------------------------------------------------------------------------


def cancel(run_id: str, *, reason: str | None = None, actor: Actor | None = None) -> Run:
    """Asks for a run to be cancelled; its code gets to clean up, unless it never began.

    Raises NotFound, or Conflict when the run is final.
    """
    reason = audit.check_reason(reason)
    with moves.locked(run_id) as (run, cursor):
        if run.started_at is None or run.status == RunStatus.NEEDS_ATTENTION:
            error = {"type": "Canceled", "message": reason or "Cancelled."}
            moves.end(cursor, [run.id], RunStatus.CANCELED, error, "run.canceled")
        else:
            _request_cancel(cursor, run, reason)
        # Last, for its lock is one for all: whoever has it must not wait for the row of a run.
        _record(actor, "run.cancel", run, reason)
    return retrieve(run_id)


def _request_cancel(cursor: CursorWrapper, run: Run, reason: str | None) -> None:
    cursor.execute(
        "UPDATE executions_run SET cancel_requested_at = "
        "coalesce(cancel_requested_at, flowmaestro_now()), cancel_reason = "
        "coalesce(cancel_reason, %s) WHERE id = %s",
        [reason, run.id],
    )
    if run.status == RunStatus.PAUSED:
        # It is entered again to clean up.
        _queue(cursor, run)
    else:
        moves.wake(cursor, [run.id])


def terminate(run_id: str, *, reason: str | None = None, actor: Actor | None = None) -> Run:
    """Ends a run at once, without clean-up. Raises NotFound, or Conflict when the run is final."""
    reason = audit.check_reason(reason)
    error = {"type": "Terminated", "message": reason or "Terminated."}
    with moves.locked(run_id) as (run, cursor):
        moves.end(cursor, [run.id], RunStatus.CANCELED, error, "run.canceled")
        _record(actor, "run.terminate", run, reason)
    return retrieve(run_id)


def pause(run_id: str, *, reason: str | None = None, actor: Actor | None = None) -> Run:
    """Holds a run: no new step begins; those under way end and are stored, then it is PAUSED.

    Its timers go on; what they and others bring is there when it is resumed. Raises NotFound, or
    Conflict when the run is final, paused already, or needs attention.
    """
    reason = audit.check_reason(reason)
    with moves.locked(run_id) as (run, cursor):
        if run.status in (RunStatus.PAUSED, RunStatus.NEEDS_ATTENTION):
            raise Conflict(f"Run {run.id} is {run.status}; it cannot be paused.", field="run")
        _record(actor, "run.pause", run, reason)
        if run.status == RunStatus.EXECUTING:
            # It counts as a wake: a run that is just parking looks again, and is held instead.
            cursor.execute(
                "UPDATE executions_run SET pause_requested_at = "
                "coalesce(pause_requested_at, flowmaestro_now()), wakes = wakes + 1 "
                "WHERE id = %s",
                [run.id],
            )
            cursor.execute(sql.NOTIFY, [run.id])
        else:
            changes = "status = 'PAUSED'"
            cursor.execute(sql.MOVE.format(changes=changes), [run.id, "run.paused", "{}"])
    return retrieve(run_id)


def resume(run_id: str, *, reason: str | None = None, actor: Actor | None = None) -> Run:
    """Lets a paused run go on, or takes back a pause that has not come about yet.

    A run whose start lies in the future is DELAYED again. Raises NotFound, or Conflict when the
    run is not paused.
    """
    reason = audit.check_reason(reason)
    with moves.locked(run_id) as (run, cursor):
        if run.status != RunStatus.PAUSED and run.pause_requested_at is None:
            raise Conflict(f"Run {run.id} is {run.status}; it is not paused.", field="run")
        _record(actor, "run.resume", run, reason)
        if run.status == RunStatus.PAUSED:
            _queue(cursor, run)
        else:
            cursor.execute(
                "UPDATE executions_run SET pause_requested_at = NULL, wakes = wakes + 1 "
                "WHERE id = %s",
                [run.id],
            )
            cursor.execute(sql.NOTIFY, [run.id])
    return retrieve(run_id)


# Out of PAUSED or NEEDS_ATTENTION.
_QUEUE = sql.MOVE.format(
    changes="""
    status = CASE WHEN r.started_at IS NULL AND r.wake_at > flowmaestro_now()
      THEN 'DELAYED' ELSE 'QUEUED' END,
    wake_at = CASE WHEN r.started_at IS NULL AND r.wake_at > flowmaestro_now() THEN r.wake_at END,
    due_at = CASE WHEN r.started_at IS NULL THEN r.due_at
      ELSE flowmaestro_now() - make_interval(secs => r.priority) END,
    error = NULL, pause_requested_at = NULL, wakes = r.wakes + 1"""
)


def _queue(cursor: CursorWrapper, run: Run) -> None:
    cursor.execute(_QUEUE, [run.id, "run.queued", "{}"])
    cursor.execute(sql.NOTIFY, [run.id])


def release(run_id: str, *, reason: str | None = None, actor: Actor | None = None) -> Run:
    """Queues a run that needed attention again. Raises Conflict when it does not need any."""
    reason = audit.check_reason(reason)
    with moves.locked(run_id) as (run, cursor):
        if run.status != RunStatus.NEEDS_ATTENTION:
            raise Conflict(f"Run {run.id} is {run.status}; it needs no attention.", field="run")
        _record(actor, "run.release", run, reason)
        _queue(cursor, run)
    return retrieve(run_id)


def reschedule(
    run_id: str, delay: Duration | datetime, *, reason: str | None = None,
    actor: Actor | None = None,
) -> Run:  # fmt: skip
    """Moves the start of a DELAYED run. Raises Conflict when it is not DELAYED any more."""
    start = requests.start_of(delay)
    reason = audit.check_reason(reason)
    with moves.locked(run_id) as (run, cursor):
        if run.status != RunStatus.DELAYED:
            raise Conflict(f"Run {run.id} is {run.status}; only a DELAYED run can be moved.")
        _record(actor, "run.reschedule", run, reason)
        cursor.execute(
            "UPDATE executions_run r SET wake_at = x.at, "
            "due_at = x.at - make_interval(secs => r.priority), "
            "expires_at = r.expires_at + (x.at - r.wake_at), "
            "deadline_at = r.deadline_at + (x.at - r.wake_at) "
            "FROM (SELECT coalesce(%s::timestamptz, "
            "flowmaestro_now() + make_interval(secs => coalesce(%s, 0))) AS at) x WHERE r.id = %s",
            [start.get("start_at"), start.get("delay"), run.id],
        )
        cursor.execute(sql.NOTIFY, [""])
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


def _record(actor: Actor | None, action: str, run: Run, reason: str | None) -> None:
    audit.record(actor, action, run.id, reason=reason, before={"status": run.status})
