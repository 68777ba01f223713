"""What must hold of schedules and their fires, for `manage.py doctor`; and how long fires stay."""

from __future__ import annotations

from typing import Final

from executions import doctor, prune
from executions.doctor import Rule, Severity

_ACTIVE: Final = "s.paused_at IS NULL AND s.disabled_at IS NULL"
_NO_TIME: Final = f"""
SELECT s.id FROM triggers_schedule s
WHERE {_ACTIVE} AND s.due_at IS NULL AND s.exhausted_at IS NULL
"""
_LATE: Final = f"""
SELECT s.id FROM triggers_schedule s
WHERE {_ACTIVE} AND s.due_at < flowmaestro_now() - make_interval(secs => %(late)s) AND %(alive)s
"""
_BROKEN: Final = "SELECT id FROM triggers_schedule WHERE disabled_at IS NOT NULL"
# A run is removed after its retention, and its fire a little earlier or later.
_NO_RUN: Final = """
SELECT f.run FROM triggers_schedulefire f
WHERE f.run IS NOT NULL AND f.at > flowmaestro_now() - interval '1 day'
  AND NOT EXISTS (SELECT FROM executions_run r WHERE r.id = f.run)
"""
_FOREIGN_RUN: Final = """
SELECT f.run FROM triggers_schedulefire f JOIN executions_run r ON r.id = f.run
WHERE r.source IS DISTINCT FROM f.schedule_id
"""
_STUCK: Final = f"""
SELECT s.id FROM triggers_schedule s
JOIN triggers_schedulefire f ON f.schedule_id = s.id AND f.outcome = 'BUFFERED'
WHERE {_ACTIVE} AND %(alive)s AND NOT EXISTS (
  SELECT FROM triggers_schedulefire o JOIN executions_run r ON r.id = o.run
  WHERE o.schedule_id = s.id AND o.is_open
    AND (r.finished_at IS NULL
      OR r.finished_at > flowmaestro_now() - make_interval(secs => %(grace)s)))
"""
_RULES: Final = (
    Rule("schedule-no-time", Severity.ERROR, _NO_TIME,
         "Active schedules have no next time and are not exhausted: they never fire.",
         "Deactivate and activate them; report it."),
    Rule("schedule-late", Severity.WARNING, _LATE, "Schedules are overdue.",
         "Look at the workers' logs for failing ticks; add workers."),
    Rule("schedule-broken", Severity.WARNING, _BROKEN,
         "Schedules have disabled themselves.",
         "Read their error, put it right, and activate them."),
    Rule("schedule-lost-run", Severity.ERROR, _NO_RUN, "Fires name runs that are not there.",
         "Somebody deleted runs by hand; use `manage.py prune`."),
    Rule("schedule-foreign-run", Severity.ERROR, _FOREIGN_RUN,
         "Fires name runs that their schedule did not start.",
         "This is a bug of the engine: keep the database as it is and report it."),
    Rule("schedule-stuck", Severity.WARNING, _STUCK,
         "Times wait for runs to end, and all of them have.",
         "The next tick starts them; look at the workers' logs for failing ticks."),
)  # fmt: skip
_OLD_FIRES: Final = """
DELETE FROM triggers_schedulefire WHERE id IN (
  SELECT id FROM triggers_schedulefire f
  WHERE at < %(before)s AND outcome <> 'BUFFERED' AND NOT (is_open AND EXISTS (
    SELECT FROM executions_run r WHERE r.id = f.run AND r.finished_at IS NULL))
  ORDER BY at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""


def register() -> None:
    """Adds these to what the engine looks after."""
    doctor.register("triggers", *_RULES)
    prune.register("records of what schedules did", _OLD_FIRES)
