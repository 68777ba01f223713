"""The workers' share of schedules: with each tick they fire what is due, each its own.

A schedule is looked at in one transaction of its own, with the run that it starts; what breaks in
it disables this schedule and no other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.db import InterfaceError, OperationalError, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import QuerySet

from executions.duties import Duty
from executions.engine import db, failpoints
from executions.errors import NotFound, Unavailable
from triggers.clock import database_now
from triggers.models import Schedule
from triggers.schedules import declarations, firing, notes, store
from triggers.schedules.store import Held

logger = logging.getLogger(__name__)

# A tick has more to do than schedules; what is left comes with the next one, at once.
_BUDGET_SECONDS: Final = 0.5
_MOST_LOOKED_AT: Final = 200
# A worker of an older release does not know a new task; one that does may come by.
_PATIENCE: Final = timedelta(seconds=60)
_PAUSE: Final = timedelta(seconds=1)
_ERROR_LIMIT: Final = 4000
# A lock that was not given, a deadlock, a conflict: what another try may do.
_TRANSIENT: Final = ("55P03", "40P01", "40001")

# Schedules whose oldest waiting time may start, since nothing of theirs is open any more; and such
# as are to be paused, since a run of theirs failed.
_WANTED = f"""
SELECT DISTINCT schedule_id FROM (
  SELECT f.schedule_id FROM triggers_schedulefire f
  JOIN triggers_schedule s ON s.id = f.schedule_id
  WHERE f.outcome = 'BUFFERED' AND s.disabled_at IS NULL
    AND (s.paused_at IS NULL OR f.origin <> 'SCHEDULED')
    AND NOT EXISTS (
      SELECT FROM triggers_schedulefire o JOIN executions_run r ON r.id = o.run
      WHERE o.schedule_id = f.schedule_id AND o.is_open AND r.finished_at IS NULL)
  UNION ALL
  SELECT s.id FROM triggers_schedule s
  JOIN triggers_schedulefire f ON f.schedule_id = s.id AND f.is_open
  JOIN executions_run r ON r.id = f.run
  WHERE s.pause_on_failure AND s.paused_at IS NULL AND s.disabled_at IS NULL
    AND r.status IN ({", ".join(f"'{status}'" for status in notes.FAILED)})
) x LIMIT {_MOST_LOOKED_AT}
"""
_NEXT_MOMENT = f"""
SELECT least(
  (SELECT min(due_at) FROM triggers_schedule
   WHERE due_at IS NOT NULL AND paused_at IS NULL AND disabled_at IS NULL),
  (SELECT flowmaestro_now() WHERE EXISTS ({_WANTED})))
"""


def tick(cursor: CursorWrapper) -> bool:
    """Fires what is due, for half a second at most; whether there is more."""
    ends = time.monotonic() + _BUDGET_SECONDS
    while _look(store.next_due):
        if time.monotonic() > ends:
            return True
    wanted = [row[0] for row in db.execute(_WANTED, [])]
    for schedule_id in wanted:
        _look(partial(store.free, schedule_id))
        if time.monotonic() > ends:
            return True
    return len(wanted) == _MOST_LOOKED_AT


def next_moment(cursor: CursorWrapper) -> datetime | None:
    """When the next schedule is due, or something that waited may start."""
    moment: datetime | None = db.execute(_NEXT_MOMENT, [])[0][0]
    return moment


def _look(claim: Callable[[], Held | None]) -> bool:
    """Looks at one schedule, if there is one to look at."""
    held: Held | None = None
    try:
        with transaction.atomic():
            held = claim()
            if held is None:
                return False
            firing.look(held)
            failpoints.hit("fire.before_commit")
        failpoints.hit("fire.after_commit")
    except Exception as error:  # A schedule that breaks must not keep the others from firing.
        if held is None or _is_outage(error):
            raise
        _settle(held, error)
    return True


def _is_outage(error: Exception) -> bool:
    return isinstance(error, (OperationalError, InterfaceError)) and not _may_pass(error)


def _may_pass(error: Exception) -> bool:
    return getattr(error.__cause__, "sqlstate", None) in _TRANSIENT


def _settle(held: Held, error: Exception) -> None:
    """Puts a schedule off when a later look may do better; else disables it."""
    is_unknown = isinstance(error, NotFound) and error.field == "task"
    due_at = held.schedule.due_at or held.now
    if (
        isinstance(error, Unavailable)
        or _may_pass(error)
        or (is_unknown and held.now < (held.schedule.next_effective_at or due_at) + _PATIENCE)
    ):
        logger.warning("Schedule %s is looked at again in a moment: %s", held.schedule.pk, error)
        _unchanged(held).update(due_at=held.now + _PAUSE)
    else:
        disable(held, error)


def disable(held: Held, error: Exception) -> None:
    """Takes a broken schedule out of service, unless somebody has changed it meanwhile."""
    failpoints.hit("fire.before_disable")
    text = str(error).replace("\0", "") or type(error).__name__
    if not hasattr(error, "http_status"):
        text = f"{type(error).__name__}: {text}"
    logger.error(
        "Schedule %s is disabled: %s", held.schedule.pk, text, exc_info=error,
        extra={"schedule_id": held.schedule.pk},
    )  # fmt: skip
    _unchanged(held).update(
        disabled_at=database_now(),
        error=text[:_ERROR_LIMIT],
        next_fire_at=None,
        next_effective_at=None,
        due_at=None,
        exhausted_at=None,
        plan_no=held.seen_plan_no + 1,
    )


def _unchanged(held: Held) -> QuerySet[Schedule]:
    return Schedule.objects.filter(
        pk=held.schedule.pk, plan_no=held.seen_plan_no, disabled_at=None, paused_at=None
    )


DUTY: Final = Duty(name="schedules", tick=tick, next_moment=next_moment, start=declarations.sync)
