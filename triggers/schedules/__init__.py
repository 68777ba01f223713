"""What is done to schedules: the one door for each change, for code, API, admin and triggers.

How they fire lives in `firing.py`, what workers do of it in `ticks.py`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.db import IntegrityError, connection, transaction

from executions import audit, workspaces
from executions.audit import Actor
from executions.errors import Conflict, Invalid
from executions.registry import Cron
from executions.rules.ids import has_prefix, new_id
from triggers.models import Schedule, ScheduleFire
from triggers.rules import zones
from triggers.rules.times import upcoming
from triggers.schedules import firing, options, specs, store
from triggers.schedules.by_hand import backfill, run_now
from triggers.schedules.notes import record, told
from triggers.schedules.options import Settings
from triggers.schedules.plans import plan_anew, set_next, stop
from triggers.schedules.store import Held

__all__ = [
    "NOT_DECLARED",
    "activate",
    "backfill",
    "create",
    "deactivate",
    "declare",
    "delete",
    "fires",
    "list_schedules",
    "retrieve",
    "run_now",
    "timezones",
    "upcoming_times",
    "update",
    "withdraw",
]

NOT_DECLARED: Final = "Its task declares no cron any more."
"""What disables a schedule that was declared in code."""

# ---- look ---------------------------------------------------------------------------------------


def retrieve(schedule_id: str) -> Schedule:
    """The schedule. Raises NotFound."""
    found = None
    if has_prefix(schedule_id, store.PREFIX):
        found = Schedule.objects.filter(pk=schedule_id).first()
    if found is None:
        raise store.not_found(schedule_id)
    return found


def list_schedules(
    *, task: str | None = None, external_id: str | None = None, workspace: str | None = None,
    after: str | None = None, limit: int = 25,
) -> list[Schedule]:  # fmt: skip
    """Schedules, newest first; `after` is the id of the last one of the page before."""
    if not 1 <= limit <= 1000:
        raise Invalid("limit lies between 1 and 1000.", field="limit")
    found = Schedule.objects.order_by("-id")
    for name, value in (("task", task), ("external_id", external_id), ("workspace", workspace)):
        if value is not None:
            found = found.filter(**{name: value})
    if after is not None:
        found = found.filter(id__lt=after)
    return list(found[:limit])


def fires(schedule_id: str, *, limit: int = 100) -> list[ScheduleFire]:
    """What became of its last times, the latest first."""
    found = ScheduleFire.objects.filter(schedule=retrieve(schedule_id)).order_by("-id")
    return list(found[:limit])


def upcoming_times(
    schedule_id: str, *, after: datetime | None = None, count: int = 5
) -> list[datetime]:
    """Its next nominal times after a moment, or from now on. Raises NotFound, or Invalid."""
    held = store.seen(retrieve(schedule_id).pk)
    if held is None:
        raise store.not_found(schedule_id)
    return upcoming(held.times(), after or held.now, count)


def timezones(*, exclude_utc: bool = False) -> list[str]:
    """The names of all time zones, UTC first."""
    names = sorted(zones.names() - {"UTC"})
    return names if exclude_utc else ["UTC", *names]


# ---- make and change ----------------------------------------------------------------------------


def create(
    task: str, *, deduplication_key: str | None = None, owner: int | None = None,
    workspace: str | None = None, actor: Actor | None = None, reason: str | None = None,
    **given: Any,
) -> Schedule:  # fmt: skip
    """Makes a schedule for a task; with a known `deduplication_key` changes the one it has.

    Exactly one of these says when: cron (five fields; with timezone, UTC by default), every (a
    length), at (a moment), solar ({"event", "latitude", "longitude"}), spec (a row of
    django-celery-beat). Options: payload (an object), external_id, overlap ("SKIP"), catch_up
    ("1h"; ten seconds at least), window ("" or "30m", "30%"), pause_on_failure,
    remaining_actions, starts_at, ends_at, tags, queue, metadata, ttl. The key is one of the
    workspace, else of the owner's own.

    Raises NotFound for an unknown task, Invalid naming the field; then nothing is written.
    """
    options.check_key(deduplication_key)
    workspace = workspaces.place_of(owner, workspace)
    with transaction.atomic():
        known = _of_key(workspace, deduplication_key)
        if known is None:
            wanted = options.read({"task": task, **given})
            schedule = Schedule(
                id=new_id(store.PREFIX),
                workspace_id=workspace,
                owner_id=owner,
                deduplication_key=deduplication_key,
            )
            if _insert(schedule, wanted):
                record(actor, "schedule.create", schedule, reason, after=told(schedule))
                return schedule
            # Somebody made it in between.
            known = _of_key(workspace, deduplication_key)
            assert known is not None
        changes = options.replacing({"task": task, **given})
        return _change(known, changes, actor, reason)


def _of_key(workspace: str | None, key: str | None) -> str | None:
    if key is None:
        return None
    found = Schedule.objects.filter(workspace=workspace, deduplication_key=key)
    return found.values_list("id", flat=True).first()


def _insert(schedule: Schedule, wanted: Settings) -> bool:
    """Writes a new schedule; False when its key was taken meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT flowmaestro_now()")
        now = cursor.fetchone()[0]
    schedule.created_at = schedule.updated_at = now
    held = Held(schedule, now, wanted.chosen.spec, schedule.plan_no)
    wanted.apply(schedule)
    options.check_run(schedule, now)
    plan_anew(held)
    _check_future(schedule)
    try:
        with transaction.atomic():
            schedule.save(force_insert=True)
    except IntegrityError:
        if schedule.deduplication_key is None:
            raise
        return False
    return True


def update(
    schedule_id: str, *, actor: Actor | None = None, reason: str | None = None, **changes: Any
) -> Schedule:
    """Changes what is named of a schedule; options as for `create`, and `task`.

    What has not changed in when it fires goes on as before. One that was disabled is in service
    again; a pause stays. Raises NotFound, Invalid, or Conflict for one that is declared in code.
    """
    with transaction.atomic():
        return _change(schedule_id, changes, actor, reason)


def _change(
    schedule_id: str, changes: dict[str, Any], actor: Actor | None, reason: str | None
) -> Schedule:
    with store.locked(schedule_id) as held:
        _refuse_declared(held.schedule)
        before = told(held.schedule)
        _apply(held, options.read(changes, held))
        record(actor, "schedule.update", held.schedule, reason, before, told(held.schedule))
        return held.schedule


def _apply(held: Held, wanted: Settings) -> None:
    """Brings a schedule in line with its new settings and saves it."""
    schedule = held.schedule
    old = {name: getattr(schedule, name) for name in options.TIMING}
    had_moment, had_window = schedule.clocked_id, schedule.window
    was_out_of_actions = schedule.remaining_actions == 0
    wanted.apply(schedule)
    held.spec = wanted.chosen.spec
    was_disabled = schedule.disabled_at is not None
    schedule.disabled_at, schedule.error = None, ""
    options.check_run(schedule, held.now)
    is_other = any(getattr(schedule, name) != value for name, value in old.items())
    if is_other or was_disabled or was_out_of_actions:
        plan_anew(held)
        if is_other:
            _check_future(schedule)
    elif schedule.next_fire_at is not None and schedule.window != had_window:
        set_next(held, held.times(), schedule.next_fire_at)
    elif schedule.remaining_actions == 0:
        set_next(held, held.times(), None)
    else:
        schedule.plan_no += 1
    schedule.updated_at = held.now
    schedule.save()
    if had_moment != schedule.clocked_id:
        specs.forget_moment(had_moment)


def delete(schedule_id: str, *, actor: Actor | None = None, reason: str | None = None) -> None:
    """Removes a schedule and the record of its times; its runs stay. Raises as `update` does."""
    with store.locked(schedule_id) as held:
        schedule = held.schedule
        _refuse_declared(schedule)
        moment, before = schedule.clocked_id, told(schedule)
        ScheduleFire.objects.filter(schedule=schedule).delete()
        schedule.delete()
        specs.forget_moment(moment)
        audit.record(
            actor, "schedule.delete", schedule_id, reason=audit.check_reason(reason), before=before
        )


def _refuse_declared(schedule: Schedule) -> None:
    if schedule.is_declarative:
        raise Conflict(
            f'Schedule {schedule.pk} is declared in the code of task "{schedule.task}"; change it '
            "there. It can be paused.",
            field="schedule",
        )


def _check_future(schedule: Schedule) -> None:
    if schedule.is_active and schedule.next_fire_at is None and schedule.remaining_actions != 0:
        raise Invalid(
            f"It would never fire: {schedule.expression} has no time to come within its bounds.",
            field="at" if schedule.clocked_id else "ends_at" if schedule.ends_at else "cron",
        )


# ---- pause and go on ----------------------------------------------------------------------------


def deactivate(
    schedule_id: str, *, actor: Actor | None = None, reason: str | None = None
) -> Schedule:
    """Pauses a schedule, with the reason as its note; a paused one stays as it is.

    Times that come meanwhile are let go, and so is what waits for a run to end. Raises NotFound.
    """
    note = audit.check_reason(reason) or ""
    with store.locked(schedule_id) as held:
        if held.schedule.paused_at is None:
            firing.pause(held, note)
            held.schedule.save()
            record(actor, "schedule.pause", held.schedule, reason, {"active": True})
        return held.schedule


def activate(
    schedule_id: str, *, actor: Actor | None = None, reason: str | None = None
) -> Schedule:
    """Lets a paused or disabled schedule go on from now; an active one stays as it is.

    Raises NotFound, Conflict for one whose task declares it no more, or Invalid when what disabled
    it is still wrong.
    """
    with store.locked(schedule_id) as held:
        schedule = held.schedule
        if schedule.is_active:
            return schedule
        if schedule.error == NOT_DECLARED:
            raise Conflict(
                f"Schedule {schedule.pk} is out of service: {schedule.error} Deploy code that "
                "does.",
                field="schedule",
            )
        before: dict[str, Any] = {"active": False, "error": schedule.error}
        schedule.paused_at, schedule.pause_note = None, ""
        schedule.disabled_at, schedule.error = None, ""
        options.check_run(schedule, held.now)
        plan_anew(held)
        schedule.save()
        record(actor, "schedule.unpause", schedule, reason, before)
        return schedule


# ---- declared in code ---------------------------------------------------------------------------


def declare(task: str, cron: Cron, known: Schedule | None) -> None:
    """Makes the schedule of a task that declares it, or brings it in line."""
    given = {"cron": cron.pattern, "timezone": cron.timezone, "window": cron.window}
    if known is None:
        schedule = Schedule(id=new_id(store.PREFIX), is_declarative=True)
        _insert(schedule, options.read({"task": task, **given}))
        return
    with store.locked(known.pk) as held:
        wanted = options.read(given, held)
        schedule = held.schedule
        if schedule.disabled_at is not None or not wanted.is_in(schedule):
            _apply(held, wanted)


def withdraw(schedule_id: str, why: str) -> None:
    """Takes out of service what code declares no more, or wrongly."""
    with store.locked(schedule_id) as held:
        schedule = held.schedule
        stop(held)
        schedule.disabled_at, schedule.error = held.now, why
        schedule.save()
