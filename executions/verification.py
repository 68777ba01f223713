"""Verifying recorded runs against today's code: does each still decide as it did?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from executions import hooks
from executions.engine.failures import error_value
from executions.engine.live import ContinueAsNew
from executions.engine.replay import Record, record_from
from executions.engine.verify import Outcome, VerifyingHost
from executions.errors import FlowMaestroError, Invalid, NotFound
from executions.registry import get_task
from executions.rules.ids import first_id
from executions.rules.statuses import FINAL, RunStatus
from executions.rules.values import Json, decode, encode

_BATCH = 50
# What a run's code may take to come to rest: outcomes are recorded, so it has nothing to wait for.
PATIENCE_SECONDS = 5.0
# Hooks of the end may act outside of steps: they are not repeated.
_NEVER_VERIFIED: Final = ("run-hooks",)
_JSON_COLUMNS = ("payload", "first_metadata", "output", "error", "input", "heartbeat")


class Verdict(StrEnum):
    """What a verification says of a run."""

    OK = "ok"
    DIVERGED = "diverged"
    UNVERIFIABLE = "unverifiable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of one run; `message` is the first divergence, or why there is none to see."""

    run: str
    task: str
    status: str
    verdict: Verdict
    message: str = ""


def verify(
    *, since: timedelta | None = None, task: str | None = None, status: Sequence[str] = (),
    limit: int | None = None, patience: float = PATIENCE_SECONDS,
    on_report: Callable[[Report], None] = lambda report: None,
) -> list[Report]:  # fmt: skip
    """Replays recorded runs, the newest first, and reports of each; nothing is written.

    `since` bounds the age of runs that have ended; open ones are replayed whatever their age, for
    it is they that a deploy can break. Code outside of steps runs, as in any replay. Raises
    Invalid for an unknown status.
    """
    unknown = [name for name in status if name not in list(RunStatus)]
    if unknown:
        raise Invalid(f"There is no status {unknown[0]!r}.", field="status")
    reports: list[Report] = []
    host = VerifyingHost()
    try:
        for row, records in _recorded(since, task, status, limit):
            outcome = _replay(host, row, records, patience)
            if outcome is None:
                # Its code holds the thread; another one goes on.
                host.close()
                host = VerifyingHost()
            report = _judge(row, outcome, patience)
            reports.append(report)
            on_report(report)
    finally:
        host.close()
    return reports


# ---- what is recorded ---------------------------------------------------------------------------

_RUNS = """
SELECT r.id, r.task, r.status, r.attempt, r.generation, r.parent_id, r.parent_step, r.root_id,
       r.owner_id, r.workspace_id, r.tags, r.definition_id, r.wakes, r.active_ms, r.max_attempts,
       coalesce(r.claim, gen_random_uuid()) AS claim, r.output::text AS output,
       r.error::text AS error, r.finished_at IS NULL AS is_open, d.payload::text AS payload,
       d.first_metadata::text AS first_metadata
FROM executions_run r JOIN executions_rundata d ON d.run_id = r.id
WHERE r.id < %(before)s AND r.started_at IS NOT NULL AND r.task <> ALL (%(never)s)
  AND (%(task)s::text IS NULL OR r.task = %(task)s)
  AND (%(status)s::text[] IS NULL OR r.status = ANY(%(status)s))
  AND (r.finished_at IS NULL OR %(first)s::text IS NULL OR r.id >= %(first)s)
ORDER BY r.id DESC LIMIT %(limit)s
"""
_STEPS = """
SELECT run_id, key, kind, status, seq, pending, attempt, run_attempt, input::text AS input,
       output::text AS output, error::text AS error, heartbeat::text AS heartbeat, wake_at,
       started_at
FROM executions_step WHERE run_id = ANY(%s) ORDER BY run_id, seq
"""


def _recorded(
    since: timedelta | None, task: str | None, status: Sequence[str], limit: int | None
) -> Iterator[tuple[dict[str, Any], list[Record]]]:
    """Runs with their journals, a run and its steps from one moment."""
    before, left = "run_~", limit
    with connection.cursor() as cursor:
        cursor.execute("SELECT flowmaestro_now()")
        now = cursor.fetchone()[0]
    given: dict[str, Any] = {
        "never": list(_NEVER_VERIFIED), "task": task, "status": list(status) or None,
        "first": None if since is None else first_id("run", now - since),
    }  # fmt: skip
    while left is None or left > 0:
        size = _BATCH if left is None else min(_BATCH, left)
        with transaction.atomic(durable=True), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute(_RUNS, {**given, "before": before, "limit": size})
            rows = _dicts(cursor)
            cursor.execute(_STEPS, [[row["id"] for row in rows]])
            steps = _dicts(cursor)
        journals: dict[str, list[Record]] = {row["id"]: [] for row in rows}
        for step in steps:
            journals[step["run_id"]].append(record_from(step))
        for row in rows:
            yield row, journals[row["id"]]
        if len(rows) < size:
            return
        before = rows[-1]["id"]
        left = None if left is None else left - len(rows)


def _dicts(cursor: CursorWrapper) -> list[dict[str, Any]]:
    names = [column.name for column in cursor.description or ()]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    for row in rows:
        for name in _JSON_COLUMNS:
            if row.get(name) is not None:
                row[name] = decode(row[name])
    return rows


# ---- what it comes to ---------------------------------------------------------------------------


def _replay(
    host: VerifyingHost, row: dict[str, Any], records: list[Record], patience: float
) -> Outcome | None:
    try:
        get_task(row["task"])
    except NotFound as error:
        return Outcome(contradiction=error.message, unanswered=[], left_waits=[])
    return host.replay(row, records, seconds=patience)


def _judge(row: dict[str, Any], outcome: Outcome | None, patience: float) -> Report:
    verdict, message = Verdict.UNVERIFIABLE, ""
    if outcome is None:
        message = f"cannot be verified: its code held the event loop for {2 * patience:g} s"
    elif outcome.contradiction is not None:
        verdict, message = Verdict.DIVERGED, outcome.contradiction
    elif outcome.is_foreign:
        message = f"cannot be verified: waits outside its context (for {patience:g} s)"
    else:
        difference = _difference(row, outcome)
        verdict = Verdict.OK if difference is None else Verdict.DIVERGED
        message = difference or ""
    return Report(
        run=row["id"], task=row["task"], status=row["status"], verdict=verdict, message=message
    )


def _difference(row: dict[str, Any], outcome: Outcome) -> str | None:
    """How the end of the code departs from what is recorded; None when it does not."""
    status = row["status"]
    if status in (RunStatus.COMPLETED, RunStatus.FAILED):
        if not outcome.has_ended:
            return (
                f"The run ended {status} after its recorded steps; its code now goes on and asks "
                f"for {_named(outcome.unanswered)}."
            )
        if isinstance(outcome.error, ContinueAsNew):
            return f"The run ended {status}; its code now continues as new."
        end = _end_of(outcome)
        return _not_completed(row, end) if status == RunStatus.COMPLETED else _not_failed(row, end)
    if status not in FINAL and outcome.has_ended and outcome.left_waits:
        error = outcome.error
        how = "completes" if error is None else f"ends with {type(error).__name__}: {error}"
        return f"The run waits at {_named(outcome.left_waits)}; its code now {how} without it."
    # A run that was ended from outside, or that is about to end, has nothing left to ask for.
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """What the engine would store of an end: an output, or an error."""

    output: Json = None
    error: dict[str, Json] | None = None


def _end_of(outcome: Outcome) -> _End:
    if outcome.error is not None:
        return _End(error=error_value(outcome.error))
    try:
        limit = settings.FLOWMAESTRO.OUTPUT_LIMIT
        return _End(output=decode(encode(outcome.value, field="output", limit=limit)))
    except FlowMaestroError as error:
        return _End(error=error_value(error))


def _not_completed(row: dict[str, Any], end: _End) -> str | None:
    if end.error is not None:
        return f"The run completed; its code now fails: {_told(end.error)}."
    if end.output == row["output"]:
        return None
    return f"The run gave {_short(row['output'])}; its code now gives {_short(end.output)}."


def _not_failed(row: dict[str, Any], end: _End) -> str | None:
    recorded = row["error"] or {}
    if end.error is None:
        return f"The run failed with {recorded.get('type')}; its code now completes."
    # `catch_error` may have had another error stored; it is not asked again.
    own = get_task(row["task"]).hooks
    if end.error["type"] == recorded.get("type") or any(hooks.named("catch_error", own)):
        return None
    return f"The run failed with {recorded.get('type')}; its code now fails: {_told(end.error)}."


def _told(error: dict[str, Json]) -> str:
    return f"{error['type']}: {error['message']}"


def _named(keys: Sequence[str]) -> str:
    return ", ".join(f'"{key}"' for key in keys[:5]) or "nothing more"


def _short(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}..."
