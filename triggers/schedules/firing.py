"""Starting the runs of a schedule: in the transaction that holds its row."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db import connection
from django.db.models import QuerySet

from executions import moves, requests, runs, triggering
from executions.engine import failpoints
from executions.errors import Conflict, NotFound
from executions.rules.statuses import RunStatus
from triggers.models import Origin, Outcome, Schedule, ScheduleFire
from triggers.rules import catch_up, overlap, scheduled_payload
from triggers.rules.overlap import Close, Fate, Overlap, Verdict
from triggers.rules.times import Times, upcoming
from triggers.schedules import notes
from triggers.schedules.notes import Standing
from triggers.schedules.plans import plan_anew, set_next, stop
from triggers.schedules.store import Held

# Runs that one transaction starts at most, and due times that it passes over.
_MOST_STARTED: Final = 500
_MOST_PASSED: Final = 10_000
# What a busy worker or a pause of the database may cost is no time away.
_LEAST_CATCH_UP: Final = timedelta(seconds=10)

FAIL_POINTS: Final = (
    "fire.claimed", "fire.noted", "fire.started", "fire.before_commit", "fire.after_commit",
    "fire.before_disable", "fire.closed",
)  # fmt: skip
failpoints.register(*FAIL_POINTS)


def look(held: Held) -> None:
    """Does what a schedule has come to: pauses it, starts what waited, fires what is due."""
    schedule = held.schedule
    failpoints.hit("fire.claimed")
    standing = notes.standing_of(schedule)
    if schedule.pause_on_failure and standing.failed and schedule.paused_at is None:
        pause(held, f"Run {standing.failed[0]} failed.")
        notes.save(held)
        return
    if standing.buffered and not standing.open_runs and _release(held):
        standing = notes.standing_of(schedule)
    if schedule.is_active and schedule.due_at is not None and schedule.due_at <= held.now:
        if schedule.next_fire_at is None:
            plan_anew(held)
        else:
            _fire_due(held, schedule.next_fire_at, standing)
    notes.save(held)


def pause(held: Held, note: str) -> None:
    """Pauses it, and lets go what waits for a run to end; the caller saves."""
    schedule = held.schedule
    schedule.paused_at, schedule.pause_note = held.now, note
    stop(held)
    _drop_buffered(schedule, notes.PAUSED)


# ---- due times ----------------------------------------------------------------------------------


def _fire_due(held: Held, first: datetime, standing: Standing) -> None:
    schedule = held.schedule
    times = held.times()
    policy = Overlap(schedule.overlap)
    found = catch_up.due_times(
        times,
        lambda nominal: held.effective(times, nominal),
        first,
        now=held.now,
        catch_up=max(timedelta(seconds=schedule.catch_up_seconds), _LEAST_CATCH_UP),
        limit=_MOST_STARTED if policy is Overlap.ALLOW_ALL else _MOST_PASSED,
    )
    if found.missed is not None:
        notes.note_span(schedule, Outcome.MISSED, found.missed, Origin.SCHEDULED, notes.LATE)
    fire(held, found.due, policy, Origin.SCHEDULED, standing=standing, times=times)
    set_next(held, times, found.following)


def fire(
    held: Held, due: Sequence[datetime | None], policy: Overlap, origin: Origin, *,
    standing: Standing | None = None, times: Times | None = None,
) -> None:  # fmt: skip
    """Decides on nominal times by the policy for overlaps, and does it.

    None among them is a time that is none: now. The caller saves the schedule.
    """
    schedule = held.schedule
    standing = standing or notes.standing_of(schedule)
    times = times or held.times()
    verdict = overlap.decide(
        policy, len(due), open_runs=len(standing.open_runs), buffered=standing.buffered
    )
    if verdict.drops_buffered:
        _drop_buffered(schedule, notes.FULL)
    _close(schedule, verdict, standing.open_runs)
    taken = list(_within_actions(schedule, due, verdict, origin))
    notes.note_skipped(schedule, taken, origin, is_busy=bool(standing.open_runs))
    _start(held, times, [at for at, fate in taken if fate is Fate.START], origin)
    _buffer(held, [at for at, fate in taken if fate is Fate.BUFFER], origin)
    # A run that had not begun is cancelled at once.
    if verdict.close is Close.CANCEL and not notes.standing_of(schedule).open_runs:
        _release(held)


def _within_actions(
    schedule: Schedule, due: Sequence[datetime | None], verdict: Verdict, origin: Origin
) -> Iterator[tuple[datetime | None, Fate]]:
    """The times with their fates, as long as the schedule has actions left; takes those away.

    What somebody asks for counts against no limit.
    """
    is_limited = origin is Origin.SCHEDULED and schedule.remaining_actions is not None
    for at, fate in zip(due, verdict.fates, strict=True):
        if is_limited and schedule.remaining_actions == 0:
            return
        if is_limited and fate is not Fate.SKIP:
            _give(schedule, -1)
        yield at, fate


def _give(schedule: Schedule, actions: int) -> None:
    if schedule.remaining_actions is not None:
        schedule.remaining_actions += actions


# ---- runs ---------------------------------------------------------------------------------------


def _start(held: Held, times: Times, due: Sequence[datetime | None], origin: Origin) -> None:
    """Starts a run for each time that has none yet."""
    made = []
    last = held.schedule.last_fire_at
    for nominal in due:
        made.append((nominal, *_request(held, times, nominal, last)))
        last = last if nominal is None else nominal
    noted = set(
        notes.take(held.schedule, [(at, Outcome.FIRED, run) for at, run, _ in made], origin)
    )
    failpoints.hit("fire.noted")
    wanted = [entry for entry in made if entry[1] in noted]
    if origin is Origin.SCHEDULED:
        _give(held.schedule, len(made) - len(wanted))
    if wanted:
        triggering.insert([run for _, run, _ in wanted], [document for _, _, document in wanted])
        failpoints.hit("fire.started")
        held.schedule.last_run = wanted[-1][1]
        if origin is Origin.SCHEDULED:
            held.schedule.last_fire_at = wanted[-1][0]


def _request(
    held: Held, times: Times, nominal: datetime | None, last: datetime | None
) -> tuple[str, str]:
    """A run's id and document. Raises NotFound or Invalid when the task cannot take it."""
    moment = nominal or held.now
    return request(held.schedule, moment, last, upcoming(times, moment, scheduled_payload.UPCOMING))


def request(
    schedule: Schedule, nominal: datetime, last: datetime | None, following: Sequence[datetime]
) -> tuple[str, str]:
    """The id and document of a schedule's run. Raises what `requests.document` does."""
    payload = scheduled_payload.build(
        schedule.payload,
        schedule_id=schedule.pk,
        is_declarative=schedule.is_declarative,
        timezone=schedule.timezone,
        external_id=schedule.external_id,
        nominal=nominal,
        last=last,
        upcoming=following,
    )
    return requests.document(
        schedule.task,
        payload,
        tags=schedule.tags,
        queue=schedule.queue,
        metadata=schedule.metadata,
        ttl=schedule.ttl_seconds,
        owner=schedule.owner_id,
        workspace=schedule.workspace_id,
        source=schedule.pk,
    )


def _close(schedule: Schedule, verdict: Verdict, open_runs: list[str]) -> None:
    reason = f"Schedule {schedule.pk} has come to its next time."
    if verdict.close is Close.NOTHING:
        return
    with connection.cursor() as cursor:
        moves.lock(cursor, open_runs)
        if verdict.close is Close.TERMINATE:
            error = {"type": "Terminated", "message": reason}
            moves.end(cursor, open_runs, RunStatus.CANCELED, error, "run.canceled")
    if verdict.close is Close.CANCEL:
        for run in open_runs:
            with contextlib.suppress(Conflict, NotFound):
                runs.cancel(run, reason=reason)
    failpoints.hit("fire.closed")


# ---- what waits ---------------------------------------------------------------------------------


def _buffered(schedule: Schedule) -> QuerySet[ScheduleFire]:
    return ScheduleFire.objects.filter(schedule=schedule, outcome=Outcome.BUFFERED)


def _buffer(held: Held, due: Sequence[datetime | None], origin: Origin) -> None:
    noted = notes.take(held.schedule, [(at, Outcome.BUFFERED, None) for at in due], origin)
    if origin is Origin.SCHEDULED:
        _give(held.schedule, len(due) - len(noted))


def _release(held: Held) -> bool:
    """Starts the oldest of what waits; whether there was something."""
    schedule = held.schedule
    waiting = _buffered(schedule)
    if schedule.paused_at is not None:
        waiting = waiting.exclude(origin=Origin.SCHEDULED)
    oldest = waiting.order_by("nominal_at", "id").first()
    if oldest is None:
        return False
    run_id, document = _request(held, held.times(), oldest.nominal_at, schedule.last_fire_at)
    oldest.outcome, oldest.run, oldest.is_open, oldest.at = Outcome.FIRED, run_id, True, held.now
    oldest.save(update_fields=("outcome", "run", "is_open", "at"))
    failpoints.hit("fire.noted")
    triggering.insert([run_id], [document])
    failpoints.hit("fire.started")
    schedule.last_run = run_id
    if oldest.origin == Origin.SCHEDULED:
        schedule.last_fire_at = oldest.nominal_at
    return True


def _drop_buffered(schedule: Schedule, note: str) -> None:
    """Lets go of what the schedule itself keeps; its actions are there again."""
    dropped = _buffered(schedule).filter(origin=Origin.SCHEDULED)
    _give(schedule, dropped.update(outcome=Outcome.SKIPPED, note=note))
