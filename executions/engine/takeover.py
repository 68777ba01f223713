"""Whatever is due: timers, expired runs and tokens, dead workers.

Every worker ticks; SKIP LOCKED shares the work out, and there is no leader.
"""

from __future__ import annotations

import logging

from django.db import transaction
from django.db.backends.utils import CursorWrapper

from executions import moves, tokens
from executions.engine import failpoints, sql
from executions.engine.flush import notify_payload
from executions.rules.statuses import RunStatus

logger = logging.getLogger(__name__)

_LIMIT = 1000

_TIMERS = f"""
WITH ids AS MATERIALIZED (
  SELECT id FROM executions_run
  WHERE status IN ('DELAYED', 'WAITING') AND wake_at <= flowmaestro_now()
  ORDER BY wake_at LIMIT {_LIMIT} FOR UPDATE SKIP LOCKED)
UPDATE executions_run r SET status = 'QUEUED', wakes = r.wakes + 1, wake_at = NULL,
  due_at = CASE WHEN r.status = 'DELAYED' THEN r.due_at
    ELSE flowmaestro_now() - make_interval(secs => r.priority) END
FROM ids WHERE r.id = ids.id RETURNING r.id
"""
_EXPIRED = f"""
SELECT id FROM executions_run
WHERE status IN ('QUEUED', 'DELAYED') AND expires_at <= flowmaestro_now() AND started_at IS NULL
LIMIT {_LIMIT} FOR UPDATE SKIP LOCKED
"""
_STILL_EXPIRED = """
SELECT id FROM executions_run
WHERE id = ANY(%s) AND status IN ('QUEUED', 'DELAYED') AND started_at IS NULL
"""
# A run out of time that has begun is entered again to clean up; one that has not just ends, and so
# does one that somebody holds, by itself or with its queue.
_OVERDUE = f"""
SELECT id, status = 'WAITING' AND started_at IS NOT NULL FROM executions_run
WHERE finished_at IS NULL AND deadline_at <= flowmaestro_now()
  AND (started_at IS NULL OR status IN ('WAITING', 'PAUSED', 'NEEDS_ATTENTION')
    OR status = 'QUEUED' AND queue = ANY (
      ARRAY(SELECT name FROM executions_queue WHERE paused_at IS NOT NULL)))
LIMIT {_LIMIT} FOR UPDATE SKIP LOCKED
"""
_TOKENS = f"""
SELECT id, run_id FROM executions_waittoken
WHERE status = 'WAITING' AND timeout_at <= flowmaestro_now() ORDER BY timeout_at LIMIT {_LIMIT}
"""
_TIME_OUT_TOKENS = """
UPDATE executions_waittoken SET status = 'TIMED_OUT'
WHERE id = ANY(%s) AND status = 'WAITING' AND timeout_at <= flowmaestro_now() RETURNING id
"""
_LOCK_RUNS = "SELECT id FROM executions_run WHERE id = ANY(%s) ORDER BY id FOR UPDATE SKIP LOCKED"


def tick(cursor: CursorWrapper) -> None:
    """Does everything that is due now."""
    failpoints.hit("tick.before_timers")
    cursor.execute(_TIMERS)
    due = [row[0] for row in cursor.fetchall()]
    if due:
        failpoints.hit("tick.after_timers")
        cursor.execute(sql.NOTIFY, [""])
    _expire(cursor)
    _time_out_tokens(cursor)
    tokens.wake_late_waiters()


def _expire(cursor: CursorWrapper) -> None:
    cursor.execute(_EXPIRED)
    expired = [row[0] for row in cursor.fetchall()]
    if expired:
        error = {"type": "Expired", "message": "It did not start within its ttl."}
        with transaction.atomic():
            moves.lock(cursor, expired)
            # One may have begun meanwhile, and be queued again.
            cursor.execute(_STILL_EXPIRED, [expired])
            expired = [row[0] for row in cursor.fetchall()]
            moves.end(cursor, expired, RunStatus.EXPIRED, error, "run.expired")
            failpoints.hit("tick.before_expiry_commit")
        failpoints.hit("tick.after_expiry_commit")
    cursor.execute(_OVERDUE)
    found = cursor.fetchall()
    begun = [run for run, has_begun in found if has_begun]
    if begun:
        with transaction.atomic():
            moves.wake(cursor, begun)
            failpoints.hit("tick.before_overdue_commit")
    overdue = [run for run, has_begun in found if not has_begun]
    if overdue:
        error = {
            "type": "TimedOut",
            "code": "RUN_TIMEOUT",
            "message": "The run exceeded its run_timeout.",
        }
        with transaction.atomic():
            moves.end(
                cursor,
                overdue,
                RunStatus.TIMED_OUT,
                error,
                "run.timed_out",
                only=("DELAYED", "QUEUED", "PAUSED", "NEEDS_ATTENTION"),
            )
            failpoints.hit("tick.before_timed_out_commit")


def _time_out_tokens(cursor: CursorWrapper) -> None:
    cursor.execute(_TOKENS)
    expired = cursor.fetchall()
    if not expired:
        return
    with transaction.atomic():
        ids = [row[0] for row in expired]
        cursor.execute(
            "SELECT token_id, run_id FROM executions_tokenwaiter WHERE token_id = ANY(%s)", [ids]
        )
        concerns = [row for row in (*expired, *cursor.fetchall()) if row[1] is not None]
        wanted = sorted({run for _, run in concerns})
        cursor.execute(_LOCK_RUNS, [wanted])
        free = {row[0] for row in cursor.fetchall()}
        # A token whose run is locked by somebody times out with the next tick.
        held = {token for token, run in concerns if run not in free}
        cursor.execute(_TIME_OUT_TOKENS, [[token for token in ids if token not in held]])
        timed_out = {row[0] for row in cursor.fetchall()}
        woken = sorted({run for token, run in concerns if token in timed_out})
        if woken:
            cursor.execute(sql.WAKE, [woken])
            cursor.execute(sql.NOTIFY, [notify_payload(woken)])
        failpoints.hit("tick.before_tokens_commit")
    failpoints.hit("tick.after_tokens_commit")


# ---- workers ------------------------------------------------------------------------------------

_STALE = """
SELECT id FROM executions_worker WHERE dead_at IS NULL AND id <> %s
  AND (seen_at < flowmaestro_now() - make_interval(secs => %s) OR id = ANY(%s))
ORDER BY seen_at LIMIT 1 FOR UPDATE SKIP LOCKED
"""
_HELD = """
SELECT id, stalls FROM executions_run WHERE worker = %s AND status = 'EXECUTING' ORDER BY id
FOR UPDATE
"""
# A run that is to be convicted tells its parent, which is locked in one order with the rest.
_LOCK_HELD = """
SELECT id FROM executions_run WHERE id IN (
  SELECT id FROM executions_run WHERE worker = %s AND status = 'EXECUTING'
  UNION ALL SELECT parent_id FROM executions_run
  WHERE worker = %s AND status = 'EXECUTING' AND stalls + 1 >= %s)
ORDER BY id FOR UPDATE
"""
_REQUEUE = """
UPDATE executions_run SET status = 'QUEUED', claim = NULL, worker = NULL, wakes = wakes + 1,
  stalls = stalls + 1,
  due_at = flowmaestro_now() - make_interval(secs => priority)
WHERE id = ANY(%s)
"""

# Claimed by a worker that was declared dead, or had signed off, while the claim was under way.
_RELEASE_OF_THE_DEAD = """
UPDATE executions_run SET status = 'QUEUED', claim = NULL, worker = NULL, wakes = wakes + 1,
  due_at = flowmaestro_now() - make_interval(secs => priority)
WHERE id IN (
  SELECT r.id FROM executions_run r JOIN executions_worker w ON w.id = r.worker
  WHERE r.status = 'EXECUTING' AND w.dead_at IS NOT NULL FOR UPDATE OF r SKIP LOCKED)
RETURNING id
"""


def take_over(
    cursor: CursorWrapper, me: str, lease: float, limit: int, known_dead: list[str]
) -> bool:
    """Requeues the runs of one dead worker; whether there was one.

    Its row is locked and re-checked here, so that a heartbeat and a takeover cannot both win. All
    that it held become suspects; but when it held one already, only that one can be convicted.
    Without the former, a poison run that nobody suspects would convict one suspect after another.
    """
    failpoints.hit("takeover.before")
    with transaction.atomic():
        cursor.execute(_STALE, [me, lease, known_dead])
        row = cursor.fetchone()
        if row is None:
            return False
        worker = row[0]
        cursor.execute(
            "UPDATE executions_worker SET dead_at = flowmaestro_now() WHERE id = %s", [worker]
        )
        failpoints.hit("takeover.marked")
        cursor.execute(_LOCK_HELD, [worker, worker, limit])
        cursor.execute(_HELD, [worker])
        held = cursor.fetchall()
        suspects = [run for run, stalls in held if stalls > 0]
        accused = suspects or [run for run, _ in held]
        convicted = [run for run, stalls in held if run in accused and stalls + 1 >= limit]
        if convicted:
            error = {
                "type": "WorkerDied",
                "code": "STALLED",
                "message": f"{limit} workers died while they held this run, without progress.",
            }
            cursor.execute(
                "UPDATE executions_run SET stalls = stalls + 1 WHERE id = ANY(%s)", [convicted]
            )
            moves.end(cursor, convicted, RunStatus.CRASHED, error, "run.crashed")
        innocent = [run for run, _ in held if run not in convicted]
        cursor.execute(_REQUEUE, [innocent])
        cursor.execute(sql.NOTIFY, [""])
        failpoints.hit("takeover.before_commit")
    failpoints.hit("takeover.after_commit")
    logger.warning("Worker %s is dead; %d of its runs go on elsewhere.", worker, len(held))
    return True


def release_runs_of_the_dead(cursor: CursorWrapper) -> None:
    """Requeues runs whose holder's row says dead: nobody else would look for them."""
    cursor.execute(_RELEASE_OF_THE_DEAD)
    if cursor.fetchone() is not None:
        cursor.execute(sql.NOTIFY, [""])
