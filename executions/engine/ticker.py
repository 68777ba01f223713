"""A worker's heartbeat, and its share of what is due, on a thread of its own."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import Error, InterfaceError, OperationalError, connection
from django.db.backends.utils import CursorWrapper

from executions import duties
from executions.duties import Duty
from executions.engine import failpoints, sql, takeover
from executions.engine.housekeeping import Housekeeping
from executions.engine.processes import host_name, process_started
from executions.rules.ids import new_id

if TYPE_CHECKING:
    from executions.engine.executor import Executor

logger = logging.getLogger(__name__)

_TICK_SECONDS = 1.0
_SOONEST_TICK = 0.005
_NEVER = 1e9
# Whoever keeps a row locked must not keep this worker from its heartbeat.
_PATIENCE = "SET lock_timeout = '1s'"
_NEXT_TIMER = """
SELECT extract(epoch FROM min(wake_at) - flowmaestro_now())::float8 FROM executions_run
WHERE status IN ('DELAYED', 'WAITING') AND wake_at IS NOT NULL
"""


def _is_lock(error: Exception) -> bool:
    return getattr(error.__cause__, "sqlstate", None) == "55P03"


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
        self._housekeeping = Housekeeping()
        # Seconds until a duty has something to do again, by its name.
        self._duty_in: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def register(self) -> None:
        """Writes this worker's row."""
        pid = os.getpid()
        failpoints.hit("register.before")
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO executions_worker (id, host, pid, process_started) "
                "VALUES (%s, %s, %s, %s)",
                [self.worker_id, self._host, pid, process_started(pid)],
            )
        failpoints.hit("register.after")
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

    def parts(self) -> tuple[Callable[[CursorWrapper], float | None], ...]:
        """What a tick does, in order; the last one gives the seconds until the next timer."""
        return (
            self._beat, takeover.tick, self._take_over, self._poll,
            *(partial(self._do, duty) for duty in duties.all_duties()), self._housekeeping.tick,
            self._next_timer,
        )  # fmt: skip

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
        for part in self.parts():
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
        # Several heartbeats fit into a lease, however short.
        longest = min(_TICK_SECONDS, self._lease / 8)
        return min(longest, max(_SOONEST_TICK, longest if after is None else after))

    def _do(self, duty: Duty, cursor: CursorWrapper) -> None:
        """What a higher app has to do."""
        self._duty_in.pop(duty.name, None)
        is_unfinished = duty.tick(cursor)
        moment = duty.next_moment(cursor)
        if is_unfinished:
            self._duty_in[duty.name] = 0.0
        elif moment is not None and (left := moment.timestamp() - self._executor.clock.now()) > 0:
            # What is due and was left lying is locked by somebody: it comes with the next tick.
            self._duty_in[duty.name] = left

    def _next_timer(self, cursor: CursorWrapper) -> float | None:
        """Seconds until the next timer of any run goes off, or a duty has something to do."""
        cursor.execute(_NEXT_TIMER)
        row = cursor.fetchone()
        timers = [] if row is None or row[0] is None else [float(row[0])]
        return min([*timers, *self._duty_in.values()], default=None)

    def _beat(self, cursor: CursorWrapper) -> None:
        now = time.monotonic()
        if now - self._beaten_at < min(self._lease / 4, 5.0):
            return
        failpoints.hit("beat.before")
        cursor.execute(
            "UPDATE executions_worker SET seen_at = flowmaestro_now() "
            "WHERE id = %s AND dead_at IS NULL RETURNING id",
            [self.worker_id],
        )
        if cursor.fetchone() is None:
            logger.error("This worker was declared dead; it drops its runs and begins anew.")
            self._begin_anew()
        failpoints.hit("beat.after")
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
        takeover.release_runs_of_the_dead(cursor)
        while takeover.take_over(cursor, self.worker_id, self._patience(), self._stall_limit, dead):
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
        failpoints.hit("sign_off.before")
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "UPDATE executions_worker SET dead_at = flowmaestro_now() WHERE id = %s",
                    [self.worker_id],
                )
            failpoints.hit("sign_off.after")
        except Error as error:
            logger.warning("This worker could not sign off: %s", error)
        finally:
            connection.close()
