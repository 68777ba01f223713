"""Schedules as the tick and the services hold them: locked, with their times and the clock's."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from executions.engine import db
from executions.errors import NotFound
from executions.rules.ids import has_prefix
from triggers.models import Schedule
from triggers.rules import specs, window
from triggers.rules.specs import Spec
from triggers.rules.times import Bounded, Times

PREFIX = "sched"
_JSON = ("payload", "metadata")
# What the rows of django-celery-beat say, as text: a zone that is none must break one schedule
# only, when it is read.
_SPEC = """
CASE WHEN s.crontab_id IS NOT NULL THEN json_build_array('crontab', json_build_array(
    c.minute, c.hour, c.day_of_month, c.month_of_year, c.day_of_week, c.timezone))
  WHEN s.interval_id IS NOT NULL THEN json_build_array('interval', json_build_array(
    i.every, i.period))
  WHEN s.clocked_id IS NOT NULL THEN json_build_array('clocked', json_build_array(k.clocked_time))
  ELSE json_build_array('solar', json_build_array(o.event, o.latitude, o.longitude))
END::text
"""
_FROM = """
FROM triggers_schedule s
LEFT JOIN django_celery_beat_crontabschedule c ON c.id = s.crontab_id
LEFT JOIN django_celery_beat_intervalschedule i ON i.id = s.interval_id
LEFT JOIN django_celery_beat_clockedschedule k ON k.id = s.clocked_id
LEFT JOIN django_celery_beat_solarschedule o ON o.id = s.solar_id
"""
_NEXT_DUE = """
WHERE s.due_at <= flowmaestro_now() AND s.paused_at IS NULL AND s.disabled_at IS NULL
ORDER BY s.due_at LIMIT 1 FOR UPDATE OF s SKIP LOCKED
"""


@dataclass(slots=True)
class Held:
    """A schedule whose row this transaction has locked, and the database's time."""

    schedule: Schedule
    now: datetime
    spec: Spec
    seen_plan_no: int
    """The plan's number as the database has it; the schedule's goes ahead of it."""

    def times(self) -> Times:
        """Its nominal times. Raises Invalid when they cannot be told."""
        return Bounded(self.unbounded_times(), self.schedule.starts_at, self.schedule.ends_at)

    def unbounded_times(self) -> Times:
        """Its nominal times as if it had no start and no end."""
        anchor = self.schedule.starts_at or self.schedule.created_at.replace(microsecond=0)
        return self.spec.times(anchor)

    def effective(self, times: Times, nominal: datetime) -> datetime:
        """When it fires for a nominal time: always at the same place of its window."""
        spread = window.parse(self.schedule.window)
        if spread == window.NONE:
            return nominal
        place = window.place(self.schedule.pk)
        return window.effective(nominal, times.after(nominal), spread, place)


def next_due() -> Held | None:
    """The schedule that has waited longest and that nobody holds, locked; None: nothing is due."""
    return _first(_NEXT_DUE, [])


def free(schedule_id: str) -> Held | None:
    """The schedule, locked, unless somebody holds it."""
    return _first("WHERE s.id = %s FOR UPDATE OF s SKIP LOCKED", [schedule_id])


def seen(schedule_id: str) -> Held | None:
    """The schedule as it is, with its times; nothing is locked."""
    return _first("WHERE s.id = %s", [schedule_id])


@contextmanager
def locked(schedule_id: str) -> Iterator[Held]:
    """The schedule with its row locked, in a transaction. Raises NotFound."""
    with transaction.atomic():
        held = None
        if has_prefix(schedule_id, PREFIX):
            held = _first("WHERE s.id = %s FOR UPDATE OF s", [schedule_id])
        if held is None:
            raise not_found(schedule_id)
        yield held


def not_found(schedule_id: object) -> NotFound:
    """That there is none of this id."""
    return NotFound(f"There is no schedule {schedule_id!r}.", field="schedule")


def _first(where: str, given: list[Any]) -> Held | None:
    columns, names, json_places = _columns()
    rows = db.execute(f"SELECT {columns}, {_SPEC}, flowmaestro_now() {_FROM} {where}", given)
    if not rows:
        return None
    *values, spec_text, now = rows[0]
    for place in json_places:
        values[place] = None if values[place] is None else json.loads(values[place])
    schedule = Schedule.from_db(connection.alias, names, values)
    kind, parts = json.loads(spec_text)
    return Held(schedule, now, specs.of_row(kind, parts), schedule.plan_no)


@functools.cache
def _columns() -> tuple[str, list[str], list[int]]:
    """What to select, which fields it fills, and where among them JSON comes as text."""
    fields = Schedule._meta.concrete_fields
    columns = (
        f's."{field.column}"::text' if field.column in _JSON else f's."{field.column}"'
        for field in fields
    )
    names = [field.attname for field in fields]
    return ", ".join(columns), names, [names.index(name) for name in _JSON]
