"""Firing a schedule by hand: once now, or for times gone by."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from executions.audit import Actor
from executions.errors import Invalid
from triggers.models import Origin, Outcome, ScheduleFire
from triggers.rules.overlap import Overlap
from triggers.rules.times import Times
from triggers.schedules import firing, notes, options, store
from triggers.schedules.notes import record
from triggers.schedules.plans import plan_anew
from triggers.schedules.store import Held

MOST_BACKFILLED: Final = 1000


def run_now(
    schedule_id: str, *, overlap: str = Overlap.ALLOW_ALL, actor: Actor | None = None,
    reason: str | None = None,
) -> ScheduleFire:  # fmt: skip
    """Fires once, now, also when it is paused; by default beside whatever runs.

    It counts against no limit of actions. Its fire says what became of it, and its run. Raises
    NotFound, or Invalid when the task does not take it.
    """
    policy = options.check_overlap(overlap)
    with store.locked(schedule_id) as held:
        firing.fire(held, [None], policy, Origin.MANUAL)
        _save_after_fire(held)
        made = ScheduleFire.objects.filter(schedule=held.schedule, origin=Origin.MANUAL)
        fire = made.latest("id")
        after = {"outcome": str(fire.outcome), "run": fire.run}
        record(actor, "schedule.run_now", held.schedule, reason, after=after)
    return fire


def backfill(
    schedule_id: str, start: datetime, end: datetime, *, overlap: str = Overlap.BUFFER_ALL,
    actor: Actor | None = None, reason: str | None = None,
) -> list[ScheduleFire]:  # fmt: skip
    """Fires for the nominal times from `start` to `end` that have no run, the oldest first.

    A time fires once: what ran already is left out. The range may begin before the schedule did.
    Counts against no limit of actions, works while paused. Raises NotFound, or Invalid for a range
    that is not past or holds over 1,000 times.
    """
    policy = options.check_overlap(overlap)
    with store.locked(schedule_id) as held:
        wanted = _times_to_fill(held, start, end)
        last = ScheduleFire.objects.order_by("-id").values_list("id", flat=True).first() or 0
        firing.fire(held, wanted, policy, Origin.BACKFILL)
        _save_after_fire(held)
        made = ScheduleFire.objects.filter(
            schedule=held.schedule, origin=Origin.BACKFILL, id__gt=last
        )
        found = list(made.order_by("id"))
        after = {"start": start.isoformat(), "end": end.isoformat(), "times": len(wanted)}
        record(actor, "schedule.backfill", held.schedule, reason, after=after)
    return found


def _times_to_fill(held: Held, start: datetime, end: datetime) -> list[datetime | None]:
    for name, moment in (("start", start), ("end", end)):
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            raise Invalid(f"{name} is a moment with a time zone.", field=name)
    if not start <= end <= held.now:
        raise Invalid("A backfill goes from a start to an end that has passed.", field="end")
    schedule_id = held.schedule.pk
    taken = set(
        ScheduleFire.objects.filter(
            schedule=schedule_id,
            nominal_at__range=(start, end),
            outcome__in=(Outcome.FIRED, Outcome.BUFFERED),
        ).values_list("nominal_at", flat=True)
    )
    found: list[datetime | None] = []
    for moment in _between(held.unbounded_times(), start, end):
        if moment not in taken:
            found.append(moment)
        if len(found) > MOST_BACKFILLED:
            raise Invalid(
                f"The range holds over {MOST_BACKFILLED:,} times; fill it in parts.", field="end"
            )
    return found


def _between(times: Times, start: datetime, end: datetime) -> Sequence[datetime]:
    found: list[datetime] = []
    moment = times.after(start - datetime.resolution)
    while moment is not None and moment <= end and len(found) <= 2 * MOST_BACKFILLED:
        found.append(moment)
        moment = times.after(moment)
    return found


def _save_after_fire(held: Held) -> None:
    schedule = held.schedule
    if schedule.is_active and schedule.exhausted_at and schedule.remaining_actions:
        # What was let go gave its action back.
        plan_anew(held)
    notes.save(held)
