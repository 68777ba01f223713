"""Whatever is due: timers, expired runs and tokens, stale workers; and this worker's own lease.

Every worker ticks; SKIP LOCKED shares the work out, and there is no leader.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import Error, InterfaceError, OperationalError, connection, transaction
from django.db.backends.utils import CursorWrapper

from executions import moves, tokens
from executions.engine import failpoints, sql
from executions.engine.flush import notify_payload
from executions.rules.ids import new_id
from executions.rules.statuses import RunStatus

if TYPE_CHECKING:
    from executions.engine.executor import Executor

logger = logging.getLogger(__name__)

_TICK_SECONDS = 1.0
_SOONEST_TICK = 0.005
_LIMIT = 1000
_NEVER = 1e9
# Whoever keeps a row locked must not keep this worker from its heartbeat.
_PATIENCE = "SET lock_timeout = '1s'"

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
_NEXT_TIMER = """
SELECT extract(epoch FROM min(wake_at) - flowmaestro_now())::float8 FROM executions_run
WHERE status IN ('DELAYED', 'WAITING') AND wake_at IS NOT NULL
"""
_EXPIRED = f"""
SELECT id FROM executions_run
WHERE status IN ('QUEUED', 'DELAYED') AND expires_at <= flowmaestro_now() AND started_at IS NULL
LIMIT {_LIMIT} FOR UPDATE SKIP LOCKED
"""
# A run out of time that has begun is entered again to clean up; one that has not just ends.
_OVERDUE = f"""
SELECT id, status = 'WAITING' AND started_at IS NOT NULL FROM executions_run
WHERE finished_at IS NULL AND deadline_at <= flowmaestro_now()
  AND (started_at IS NULL OR status IN ('WAITING', 'PAUSED', 'NEEDS_ATTENTION'))
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


def _is_lock(error: Exception) -> bool:
    return getattr(error.__cause__, "sqlstate", None) == "55P03"


def tick(cursor: CursorWrapper) -> None:
    """Does everything that is due now."""
    cursor.execute(_TIMERS)
    due = [row[0] for row in cursor.fetchall()]
    if due:
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
            moves.end(
                cursor, expired, RunStatus.EXPIRED, error, "run.expired",
                only=(RunStatus.QUEUED, RunStatus.DELAYED),
            )  # fmt: skip
    cursor.execute(_OVERDUE)
    found = cursor.fetchall()
    begun = [run for run, has_begun in found if has_begun]
    if begun:
        with transaction.atomic():
            moves.wake(cursor, begun)
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
_REQUEUE = """
UPDATE executions_run SET status = 'QUEUED', claim = NULL, worker = NULL, wakes = wakes + 1,
  stalls = stalls + CASE WHEN id = ANY(%s) THEN 1 ELSE 0 END,
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

    Its row is locked and re-checked here, so that a heartbeat and a takeover cannot both win. When
    it died holding a suspect, only the suspect is counted; else every run it held.
    """
    with transaction.atomic():
        cursor.execute(_STALE, [me, lease, known_dead])
        row = cursor.fetchone()
        if row is None:
            return False
        worker = row[0]
        cursor.execute(
            "UPDATE executions_worker SET dead_at = flowmaestro_now() WHERE id = %s", [worker]
        )
        cursor.execute(_HELD, [worker])
        held = cursor.fetchall()
        suspects = [run for run, stalls in held if stalls > 0]
        counted = suspects or [run for run, _ in held]
        convicted = [run for run, stalls in held if run in counted and stalls + 1 >= limit]
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
        cursor.execute(_REQUEUE, [counted, innocent])
        cursor.execute(sql.NOTIFY, [""])
        failpoints.hit("takeover.before_commit")
    logger.warning("Worker %s is dead; %d of its runs go on elsewhere.", worker, len(held))
    return True


def host_name() -> str:
    """This machine and process namespace: within it, a process id means the same to everybody."""
    namespace = os.stat("/proc/self/ns/pid").st_ino if Path("/proc/self/ns/pid").exists() else 0
    boot = Path("/proc/sys/kernel/random/boot_id")
    identity = boot.read_text().strip()[:8] if boot.exists() else ""
    return f"{socket.gethostname()}:{identity}:{namespace}"


def process_started(pid: int) -> int:
    """When a process began, in kernel ticks since boot; 0 when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    # The command's name may hold spaces and parentheses; the fields go on behind the last one.
    return int(stat.rpartition(")")[2].split()[19])


class Ticker:
    """The worker's heartbeat and its share of what is due, on a thread of its own."""

    def __init__(self, executor: Executor) -> None:
        options = settings.FLOWMAESTRO
        self.worker_id = new_id("worker")
        self._executor = executor
        self._lease: float = options.LEASE_SECONDS
        self._stall_limit: int = options.STALL_LIMIT
        self._host = host_name()
        self._stopping = False
        self._wanted = threading.Event()
        self._next = 0.0
        self._beaten_at = 0.0
        self._healthy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def register(self) -> None:
        """Writes this worker's row."""
        pid = os.getpid()
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO executions_worker (id, host, pid, process_started) "
                "VALUES (%s, %s, %s, %s)",
                [self.worker_id, self._host, pid, process_started(pid)],
            )
        self._beaten_at = time.monotonic()
        self._healthy_since = self._beaten_at

    def start(self) -> None:
        """Begins to tick."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the ticking and says that this worker is gone."""
        self._stopping = True
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def wake_at(self, seconds: float) -> None:
        """Ticks in so many seconds, if that is earlier than the next tick."""
        moment = time.monotonic() + max(_SOONEST_TICK, seconds)
        if moment < self._next:
            self._next = moment
            self._wanted.set()

    def _run(self) -> None:
        pause = 0.0
        while not self._stopping:
            self._wanted.clear()
            self._next = time.monotonic() + pause
            while not self._stopping and (left := self._next - time.monotonic()) > 0:
                self._wanted.wait(left)
                self._wanted.clear()
            if not self._stopping:
                pause = self._tick_safely()
        self._sign_off()

    def _tick_safely(self) -> float:
        """One tick; seconds until the next. A database that is away is waited for."""
        after = None
        for part in (self._beat, tick, self._take_over, self._poll, self._next_timer):
            try:
                with connection.cursor() as cursor:
                    cursor.execute(_PATIENCE)
                    after = part(cursor)
            except Exception as error:  # One part that fails must not keep the others from work.
                logger.warning("A part of a tick failed and comes again: %s", error)
                if isinstance(error, (OperationalError, InterfaceError)) and not _is_lock(error):
                    self._healthy_since = None
                    connection.close()
                    self._check_lease()
                    return _TICK_SECONDS
        self._executor.look()
        return min(_TICK_SECONDS, max(_SOONEST_TICK, _TICK_SECONDS if after is None else after))

    def _next_timer(self, cursor: CursorWrapper) -> float | None:
        """Seconds until the next timer of any run goes off."""
        cursor.execute(_NEXT_TIMER)
        row = cursor.fetchone()
        return None if row is None or row[0] is None else float(row[0])

    def _beat(self, cursor: CursorWrapper) -> None:
        now = time.monotonic()
        if now - self._beaten_at < min(self._lease / 4, 5.0):
            return
        cursor.execute(
            "UPDATE executions_worker SET seen_at = flowmaestro_now() "
            "WHERE id = %s AND dead_at IS NULL RETURNING id",
            [self.worker_id],
        )
        if cursor.fetchone() is None:
            logger.error("This worker was declared dead; it drops its runs and begins anew.")
            self._begin_anew()
        late = now - self._beaten_at > self._lease / 2
        self._beaten_at = now
        if self._healthy_since is None or late:
            self._healthy_since = now

    def _check_lease(self) -> None:
        """Half a lease without a heartbeat: others may soon take over, so drop everything."""
        if time.monotonic() - self._beaten_at > self._lease / 2 and self._executor.hand:
            logger.error("No heartbeat for half a lease; every run in hand is dropped.")
            self._on_loop(self._executor.on_lease_lost)

    def _begin_anew(self) -> None:
        self._on_loop(self._executor.on_lease_lost)
        self.worker_id = new_id("worker")
        self.register()

    def _take_over(self, cursor: CursorWrapper) -> None:
        dead = self._dead_neighbours(cursor)
        cursor.execute(_RELEASE_OF_THE_DEAD)
        if cursor.fetchone() is not None:
            cursor.execute(sql.NOTIFY, [""])
        while take_over(cursor, self.worker_id, self._patience(), self._stall_limit, dead):
            pass

    def _patience(self) -> float:
        """Seconds after which an unseen worker counts as dead.

        For ever until the database has taken heartbeats for a lease: an outage makes all look
        stale.
        """
        since = self._healthy_since
        now = time.monotonic()
        # Whoever was held up for long has seen nobody's heartbeat meanwhile.
        held_up = now - self._beaten_at > self._lease / 2
        healthy = since is not None and now - since >= self._lease and not held_up
        return self._lease if healthy else _NEVER

    def _dead_neighbours(self, cursor: CursorWrapper) -> list[str]:
        """Workers of this host whose process is gone: no lease needs to run out for them."""
        cursor.execute(
            "SELECT id, pid, process_started FROM executions_worker "
            "WHERE dead_at IS NULL AND host = %s AND id <> %s",
            [self._host, self.worker_id],
        )
        rows = cursor.fetchall()
        dead = [worker for worker, pid, started in rows if process_started(pid) != started]
        self._executor.rank = sum(row[0] < self.worker_id for row in rows) - sum(
            worker < self.worker_id for worker in dead
        )
        return dead

    def _poll(self, cursor: CursorWrapper) -> None:
        cursor.execute(sql.LOAD_WAKES, [self.worker_id])
        rows = cursor.fetchall()
        if rows:
            self._executor.clock.set(rows[0][3].timestamp())
        self._on_loop(self._executor.on_polled, rows)

    def _on_loop(self, callback: Any, *args: Any) -> None:
        self._executor.loop.call_soon_threadsafe(callback, *args, context=self._executor.context)

    def _sign_off(self) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "UPDATE executions_worker SET dead_at = flowmaestro_now() WHERE id = %s",
                    [self.worker_id],
                )
        except Error as error:
            logger.warning("This worker could not sign off: %s", error)
        finally:
            connection.close()
