"""What is written of a schedule that was looked at: its times' outcomes, its row, what is open.

Statements of the tick, which a lasting connection plans once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Final

from executions import audit
from executions.audit import Actor
from executions.engine import db
from executions.rules.statuses import RunStatus
from executions.rules.values import Json
from triggers.models import Origin, Outcome, Schedule
from triggers.rules.catch_up import Span
from triggers.rules.overlap import Fate
from triggers.schedules.store import Held

FAILED: Final = (
    RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.CRASHED, RunStatus.SYSTEM_FAILURE,
)  # fmt: skip
"""The ends of a run that pause a schedule which pauses on failure."""
BUSY: Final = "A run of this schedule was still open."
FULL: Final = "Another time came after it, or too many were kept already."
LATE: Final = "It should have fired longer ago than the catch-up window."
PAUSED: Final = "Pausing let it go."

# ---- what is under way --------------------------------------------------------------------------


@dataclass(slots=True)
class Standing:
    """What of a schedule is under way."""

    open_runs: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """Runs that failed and had not been seen to."""
    buffered: int = 0


# A statement of its own, after the lock: it knows what the last holder committed.
_STANDING = """
WITH seen AS MATERIALIZED (
  SELECT f.id, f.run, r.status, r.id IS NULL OR r.finished_at IS NOT NULL AS has_ended
  FROM triggers_schedulefire f LEFT JOIN executions_run r ON r.id = f.run
  WHERE f.schedule_id = %s AND f.is_open),
ended AS (
  UPDATE triggers_schedulefire f SET is_open = false FROM seen
  WHERE f.id = seen.id AND seen.has_ended)
SELECT run, has_ended, status, 0 FROM (SELECT * FROM seen ORDER BY id) s
UNION ALL SELECT NULL, NULL, NULL, count(*)::int FROM triggers_schedulefire
WHERE schedule_id = %s AND outcome = 'BUFFERED'
"""


def standing_of(schedule: Schedule) -> Standing:
    """The runs that are open, those that failed, and how many times wait."""
    standing = Standing()
    for run, has_ended, status, buffered in db.execute(_STANDING, [schedule.pk, schedule.pk]):
        if run is None:
            standing.buffered = buffered
        elif not has_ended:
            standing.open_runs.append(run)
        elif status in FAILED:
            standing.failed.append(run)
    return standing


# ---- the schedule -------------------------------------------------------------------------------

_COLUMNS: Final = (
    "expression", "timezone", "next_fire_at", "next_effective_at", "due_at", "exhausted_at",
    "plan_no", "last_fire_at", "last_run", "remaining_actions", "paused_at", "pause_note",
)  # fmt: skip
_SAVE = f"UPDATE triggers_schedule SET {', '.join(f'{c} = %s' for c in _COLUMNS)} WHERE id = %s"


def save(held: Held) -> None:
    """Writes down what was decided. A plan of this number is nobody else's to notice."""
    schedule = held.schedule
    if schedule.plan_no == held.seen_plan_no:
        schedule.plan_no += 1
    db.execute(_SAVE, [*(getattr(schedule, name) for name in _COLUMNS), schedule.pk])


# ---- its times ----------------------------------------------------------------------------------

_TAKE = """
INSERT INTO triggers_schedulefire
  (schedule_id, nominal_at, count, outcome, origin, run, is_open, note, at)
SELECT %s, x.nominal_at, 1, x.outcome, %s, x.run, x.run IS NOT NULL, '', flowmaestro_now()
FROM unnest(%s::timestamptz[], %s::text[], %s::text[]) WITH ORDINALITY
  AS x(nominal_at, outcome, run, place) ORDER BY x.place
ON CONFLICT DO NOTHING RETURNING coalesce(run, '')
"""
_NOTE_SPAN = """
INSERT INTO triggers_schedulefire
  (schedule_id, nominal_at, last_nominal_at, count, outcome, origin, is_open, note, at)
VALUES (%s, %s, %s, %s, %s, %s, false, %s, flowmaestro_now())
"""


def take(
    schedule: Schedule, entries: Sequence[tuple[datetime | None, Outcome, str | None]],
    origin: Origin,
) -> list[str]:  # fmt: skip
    """Takes times for their runs; the runs of those that were still free. A time is taken once."""
    if not entries:
        return []
    nominal, outcomes, run_ids = zip(*entries, strict=True)
    given = [schedule.pk, str(origin), list(nominal), [str(o) for o in outcomes], list(run_ids)]
    return [row[0] for row in db.execute(_TAKE, given)]


def note_skipped(
    schedule: Schedule, taken: Sequence[tuple[datetime | None, Fate]], origin: Origin, *,
    is_busy: bool,
) -> None:  # fmt: skip
    """One note for several in a row."""
    for fate, group in groupby(taken, key=lambda entry: entry[1]):
        moments = [at for at, _ in group]
        if fate is Fate.SKIP:
            note = BUSY if is_busy else FULL
            note_span(schedule, Outcome.SKIPPED, _span(moments), origin, note)


def _span(moments: Sequence[datetime | None]) -> Span | None:
    first, last = moments[0], moments[-1]
    return None if first is None or last is None else Span(first, last, len(moments))


def note_span(
    schedule: Schedule, outcome: Outcome, span: Span | None, origin: Origin, note: str
) -> None:
    """One note of times in a row; None for one that is no nominal time."""
    first = span.first if span else None
    last = span.last if span and span.count > 1 else None
    count = span.count if span else 1
    given = [schedule.pk, first, last, count, str(outcome), str(origin), note]
    db.execute(_NOTE_SPAN, given)


# ---- the audit log ------------------------------------------------------------------------------


def told(schedule: Schedule) -> dict[str, Json]:
    """A schedule as the audit log shows it."""
    return {
        "task": schedule.task,
        "expression": schedule.expression,
        "timezone": schedule.timezone,
        "overlap": str(schedule.overlap),
        "window": schedule.window,
        "externalId": schedule.external_id,
    }


def record(
    actor: Actor | None, action: str, schedule: Schedule, reason: str | None,
    before: dict[str, Json] | None = None, after: dict[str, Json] | None = None,
) -> None:  # fmt: skip
    """Writes down who did something to a schedule; last in the transaction."""
    reason = audit.check_reason(reason)
    audit.record(actor, action, schedule.pk, reason=reason, before=before, after=after)
