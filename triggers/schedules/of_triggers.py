"""The schedule of a trigger: made, changed, paused and deleted along with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from executions.errors import Invalid, NotFound
from triggers import schedules
from triggers.models import Schedule, Trigger
from triggers.rules import cron, zones
from triggers.rules.configs import ScheduleConfig
from triggers.rules.overlap import Overlap

Json = Any

TASK: Final = "scheduled-trigger"
# What was missed by more than that is let go.
_CATCH_UP: Final = "1m"
_FIELDS: Final = {"cron": "config.cronExpression", "timezone": "config.timezone"}


def check(config: ScheduleConfig) -> None:
    """Raises Invalid for times that are none, naming the field of the config."""
    with _named():
        zones.zone(config.timezone)
        cron.parse(config.cron_expression, config.timezone)


def keep(row: Trigger, config: Any) -> None:
    """Sees that a trigger for times has a schedule that fits it, and that no other has one."""
    if not isinstance(config, ScheduleConfig):
        return
    times, zone = config.cron_expression, config.timezone
    schedule = of(row)
    with _named():
        if schedule is None:
            schedule = schedules.create(
                TASK, deduplication_key=row.id, external_id=row.id, owner=row.owner_id,
                workspace=row.workspace_id, cron=times, timezone=zone,
                overlap=Overlap.BUFFER_ONE, catch_up=_CATCH_UP,
            )  # fmt: skip
        elif (schedule.expression, schedule.timezone) != (times, zone):
            # What else somebody has set on it stays.
            schedule = schedules.update(schedule.id, cron=times, timezone=zone)
        if row.enabled and config.enabled:
            schedules.activate(schedule.id)
        else:
            schedules.deactivate(schedule.id, reason=f"Trigger {row.name!r} is disabled.")
    if row.schedule_id != schedule.id:
        row.schedule_id = schedule.id
        Trigger.objects.filter(pk=row.id).update(schedule_id=schedule.id)


def remove(row: Trigger) -> None:
    """Deletes the schedule of a trigger, if somebody has not done so."""
    if row.schedule_id is not None:
        try:
            schedules.delete(row.schedule_id)
        except NotFound:
            pass


def of(row: Trigger) -> Schedule | None:
    """The schedule of a trigger; None for one that has none, or whose schedule was deleted."""
    if row.schedule_id is None:
        return None
    return Schedule.objects.filter(pk=row.schedule_id).first()


def info(row: Trigger) -> dict[str, Json] | None:
    """When the trigger fires, and when it last did."""
    schedule = of(row)
    if schedule is None:
        return None
    return {
        "scheduleId": schedule.id,
        "cron": schedule.expression,
        "timezone": schedule.timezone,
        "active": schedule.is_active,
        "nextScheduledAt": _time(schedule.next_fire_at),
        "lastScheduledAt": _time(schedule.last_fire_at),
        "error": schedule.error or None,
    }


@contextmanager
def _named() -> Iterator[None]:
    """Calls the fields of a schedule by their names in a trigger's config."""
    try:
        yield
    except Invalid as error:
        error.field = _FIELDS.get(error.field or "", error.field)
        raise


def _time(at: Any) -> str | None:
    return None if at is None else at.isoformat()
