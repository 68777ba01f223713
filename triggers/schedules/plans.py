"""Working out when a schedule fires next, and writing it down."""

from __future__ import annotations

from datetime import datetime

from triggers.rules.times import Times
from triggers.schedules.store import Held


def plan_anew(held: Held) -> None:
    """Finds the next nominal time from now on; what was due is let go."""
    schedule = held.schedule
    schedule.expression = held.spec.expression
    schedule.timezone = held.spec.timezone or schedule.timezone
    times = held.times()
    set_next(held, times, times.after(held.now))


def set_next(held: Held, times: Times, nominal: datetime | None) -> None:
    """Notes the next nominal time; None, or no actions left: it is exhausted."""
    schedule = held.schedule
    schedule.plan_no += 1
    schedule.next_fire_at = schedule.next_effective_at = schedule.due_at = None
    schedule.exhausted_at = None
    if not schedule.is_active:
        return
    if nominal is None or schedule.remaining_actions == 0:
        schedule.exhausted_at = held.now
        return
    schedule.next_fire_at = nominal
    schedule.next_effective_at = held.effective(times, nominal)
    # One that is behind takes its turn after all that are due already.
    schedule.due_at = max(schedule.next_effective_at, held.now)


def stop(held: Held) -> None:
    """Notes that nothing comes next; the caller says why."""
    schedule = held.schedule
    schedule.plan_no += 1
    schedule.next_fire_at = schedule.next_effective_at = schedule.due_at = None
    schedule.exhausted_at = None
