"""A run in hand: from its claim until it is parked, finished, lost or released."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from executions.engine import failpoints
from executions.engine.flush import Result
from executions.engine.moments import Moments
from executions.engine.outbox import Outbox
from executions.engine.quiet import EngineFuture
from executions.engine.replay import Record, Recorded
from executions.engine.rows import Batch, Move
from executions.engine.waits import Findings
from executions.rules.statuses import RunStatus
from executions.rules.values import encode

if TYPE_CHECKING:
    from executions.engine.executor import Executor
    from executions.engine.threads import TaskThread
    from executions.hooks import Decision
    from executions.rules.retry import Retry

logger = logging.getLogger(__name__)

Json = Any
current_live: ContextVar[LiveRun | None] = ContextVar("current_live", default=None)

# What a cancelled run, or one out of time, has for its clean-up.
_CLEAN_UP_SECONDS = 30.0
# How often a time limit that has passed looks whether the replay is over.
_REPLAY_PAUSE = 0.05


class RunGone(BaseException):
    """The run has left this process: it was parked, lost or stopped. Nothing can be written.

    A BaseException, so that a task's own `except Exception` cannot swallow it.
    """


class ContinueAsNew(BaseException):
    """The run begins anew with another payload, given as JSON text."""

    def __init__(self, payload: str) -> None:
        super().__init__()
        self.payload = payload


class LiveRun:
    """One claimed run: its facts, its asyncio tasks, its outbox, its quiet moments."""

    def __init__(
        self, row: Mapping[str, Any], records: list[Record], findings: Findings, host: Executor
    ) -> None:
        self.row = row
        self.id: str = row["id"]
        self.claim = str(row["claim"])
        self.parent_id: str | None = row["parent_id"]
        self.parent_step: str | None = row["parent_step"]
        self.attempt: int = row["attempt"]
        self.wakes: int = row["wakes"]
        self.metadata: dict[str, Json] = dict(row["first_metadata"])
        self.host = host
        self.loop = host.loop

        self.recorded = Recorded(records, run_attempt=self.attempt)
        self.has_journal = bool(records)
        self.replaying = self.recorded.has_any_outcome
        # Those of an earlier generation are not in the journal.
        self.has_children = row["generation"] > 0 or any(
            record.kind in ("children", "trigger") for record in records
        )
        self.asked: set[str] = set()
        self.branches: set[str] = set()
        self.patches: dict[str, bool] = {}
        self.outbox = Outbox(
            flush_no=row["flush_no"],
            ops_written=row["op_seq"],
            future=self.future,
            mark=lambda: host.journal.mark(self),
        )
        self.moments = Moments(self, findings)

        self.main: asyncio.Task[Any] | None = None
        self.tasks: set[asyncio.Task[Any]] = set()
        self.bodies: set[asyncio.Task[Any]] = set()
        self.user_timers: list[asyncio.TimerHandle] = []
        # Threads of attempts that overran; a retry waits for them.
        self.abandoned: list[Any] = []
        self.thread: TaskThread | None = None
        # A plain `def` task runs on a thread: whether that thread is in the task's own code.
        self.thread_busy = False
        self.task_retry: Retry | None = None
        # What `catch_error` wants to happen after a failed attempt.
        self.decision: Decision | None = None

        self.dead = False
        self.reloading = False
        self.must_reload = False
        self.timers: list[asyncio.TimerHandle] = []
        # A poll of the rows that began before this claim does not know it.
        self.claimed_after_poll = True
        self.cancel_requested: bool = row["cancel_requested"]
        self.cancel_delivered = False
        self.pause_requested: bool = row["pause_requested"]
        self.time_error: dict[str, Json] | None = None
        self.ending: Move | None = None
        self._active_ms: float = row["active_ms"]
        self._active_since: float | None = self.loop.time()
        event = "run.resumed" if self.was_away else "run.started"
        self.outbox.batch.events.append((event, f'{{"attempt":{self.attempt}}}'))

    # ---- facts ----------------------------------------------------------------------------------

    @property
    def was_away(self) -> bool:
        """Whether the run comes back, after a wait or from a worker that died."""
        begins_anew = self.row["generation"] > 0 and self.attempt == 1 and not self.has_journal
        return bool(self.row["flush_no"]) and not begins_anew

    def future(self) -> EngineFuture:
        """A future that only the engine resolves."""
        return EngineFuture(loop=self.loop)

    def active_ms(self) -> int:
        """Milliseconds of activity so far; waits do not count, parked or in memory."""
        since = self._active_since
        running = 0.0 if since is None else self.loop.time() - since
        return int(self._active_ms + running * 1000)

    def rest(self) -> None:
        """The code only waits: its clock stops."""
        self._active_ms = self.active_ms()
        self._active_since = None

    def go_on(self) -> None:
        """The code may be about to do something: its clock runs."""
        if self._active_since is None:
            self._active_since = self.loop.time()

    def limit_time(self) -> None:
        """Arms `max_duration` (active time, over all attempts) and `run_timeout` (wall clock)."""
        if self.row["max_duration"] is not None:
            self._check_duration()
        if self.row["deadline_at"] is not None:
            left = self.row["deadline_at"].timestamp() - self.host.clock.now()
            self.call_in(left, self.out_of_time, "run_timeout")

    def _check_duration(self) -> None:
        left = self.row["max_duration"] - self.active_ms() / 1000
        if left > 0:
            self.call_in(left, self._check_duration)
        else:
            self.out_of_time("max_duration")

    def active_limit(self, seconds: float) -> EngineFuture:
        """A future that is done once the run has been active for so long, over all attempts.

        Never during a replay: what is recorded was done in time.
        """
        future = self.future()

        def check() -> None:
            left = seconds - self.active_ms() / 1000
            if future.done():
                return
            if left > 0 or self.replaying:
                self.call_in(max(left, _REPLAY_PAUSE), check)
            else:
                self.go_on()
                future.set_result(None)
                self.moments.poke()

        self.call_in(seconds - self.active_ms() / 1000, check)
        return future

    def call_in(self, seconds: float, callback: Callable[..., None], *args: Any) -> None:
        """A timer that ends with the run's stay here: a parked run must leave nothing behind."""
        self.timers.append(
            self.loop.call_later(max(0.0, seconds), callback, *args, context=self.host.context)
        )

    @property
    def is_leaving(self) -> bool:
        """Whether a move out of EXECUTING is on its way to the database, or written."""
        return self.moments.parking.is_under_way or self.ending is not None or self.dead

    @property
    def is_over(self) -> bool:
        """Whether nothing that the code still asks for can be written."""
        return self.dead or self.ending is not None

    @property
    def must_stop(self) -> bool:
        """Whether the code is to be told that its run is cancelled or out of time."""
        return self.cancel_requested or self.time_error is not None

    @property
    def is_pausing(self) -> bool:
        """Whether the code is to be held: nothing reaches it, and no new step begins."""
        return self.pause_requested and not self.must_stop

    def has_user_timer(self) -> bool:
        """Whether the code has set a timer of its own, which only a run in memory can obey."""
        now = self.loop.time()
        self.user_timers = [
            timer for timer in self.user_timers if not timer.cancelled() and timer.when() > now
        ]
        return bool(self.user_timers)

    def on_loop(self, action: Callable[[], None]) -> None:
        """Does it now on the loop's own thread, or soon when called from another."""
        if threading.get_ident() == self.host.thread_id:
            action()
        else:
            self.loop.call_soon_threadsafe(action, context=self.host.context)

    def append_event(self, type: str, data: str) -> None:
        """Adds an event of the code's own to the run's log."""
        if not self.dead:
            self.outbox.batch.events.append((type, data))
            self.outbox.mark()

    def expose(self, name: str, value: Json) -> None:
        """Declares a value for queries."""
        if not self.dead:
            self.outbox.batch.extra().exposed[name] = value
            self.outbox.mark()

    def append_chunk(self, stream: str, data: str) -> None:
        """Adds a piece to an output stream of the run."""
        if not self.dead:
            self.outbox.batch.extra().chunks.append((stream, data))
            self.host.write_soon(self)

    # ---- what the journal tells back ------------------------------------------------------------

    def on_flushed(self, batch: Batch, result: Result) -> None:
        """A batch is durable."""
        self.outbox.flushed(batch)
        if batch.progress and self.row["stalls"]:
            # It has shown that it gets on, so the next suspect may come.
            self.row = {**self.row, "stalls": 0}
            self.host.look()
        if batch.move is not None:
            self._on_moved(batch.move, result)
            return
        self.told(cancel_requested=result.cancel_requested, pause_requested=result.pause_requested)
        if not self.dead:
            self.moments.flushed(batch)

    def _on_moved(self, move: Move, result: Result) -> None:
        if result.moved:
            failpoints.hit("park.after" if self.ending is None else "final.after")
            self.host.let_go(self)
        elif self.ending is None:
            # Somebody woke the run while it was parking: look at its waits again.
            self.moments.parking.take_back()
            self.cancel_requested |= result.cancel_requested
            self.pause_requested = result.pause_requested
            self.host.lookups.soon(self)
        elif self.ending is move:
            self._end_again(move, result)

    def _end_again(self, move: Move, result: Result) -> None:
        """A back-off met a wake: a cancellation wins over it, anything else can wait."""
        self.ending = None
        self.wakes = result.wakes
        if result.cancel_requested:
            self._overdue(RunStatus.CANCELED)
        else:
            move.seen = result.wakes
            self.end(move)

    def on_lost(self) -> None:
        """Another claim holds the run, or it was ended from outside: drop it in silence."""
        logger.info("Run %s went on elsewhere and is dropped here.", self.id)
        self.host.let_go(self)

    def on_refused(self, reason: str) -> None:
        """PostgreSQL does not take what the run wants written; that ends it."""
        self.outbox.clear()
        if self.ending is not None:
            self.host.let_go(self)
            return
        error = {"type": "NotStorable", "message": f"PostgreSQL refused a result: {reason}"}
        text = encode(error, field="error")
        self.end(
            Move(
                status=RunStatus.SYSTEM_FAILURE,
                event="run.failed",
                event_data=f'{{"error":{text}}}',
                error=text,
            )
        )

    # ---- endings --------------------------------------------------------------------------------

    def told(self, *, cancel_requested: bool, pause_requested: bool) -> None:
        """Takes what operators ask of the run, as its row says."""
        if (cancel_requested and not self.cancel_requested) or (
            pause_requested != self.pause_requested
        ):
            self.cancel_requested |= cancel_requested
            self.pause_requested = pause_requested
            self.moments.poke()

    def out_of_time(self, limit: str) -> None:
        """A limit of the run has passed: its code is told, and the run ends TIMED_OUT."""
        if self.is_over or self.time_error is not None:
            return
        code = "MAX_DURATION_EXCEEDED" if limit == "max_duration" else "RUN_TIMEOUT"
        message = f"The run exceeded its {limit}."
        self.time_error = {"type": "TimedOut", "code": code, "message": message}
        self.limit_clean_up(RunStatus.TIMED_OUT)
        self.moments.poke()

    def limit_clean_up(self, status: RunStatus) -> None:
        """Ends the run with `status` if its clean-up takes too long."""
        self.call_in(_CLEAN_UP_SECONDS, self._overdue, status)

    def _overdue(self, status: RunStatus) -> None:
        error = self.time_error or {"type": "Canceled", "message": "The run was cancelled."}
        event = "run.timed_out" if status == RunStatus.TIMED_OUT else "run.canceled"
        text = encode(error, field="error")
        self.end(Move(status=status, event=event, event_data=f'{{"error":{text}}}', error=text))

    def needs_attention(self, message: str) -> None:
        """The code and the journal disagree: a person must decide."""
        if self.is_over:
            return
        text = encode({"type": "NeedsAttention", "message": message}, field="error")
        # What this code put under keys of the old one must not be written.
        self.outbox.batch = Batch()
        self.end(
            Move(
                status=RunStatus.NEEDS_ATTENTION,
                event="run.needs_attention",
                event_data=f'{{"error":{text}}}',
                error=text,
            )
        )

    def end(self, move: Move) -> None:
        """Ends the run's stay in this process with `move`."""
        if self.is_over:
            return
        self.ending = move
        if move.wait is not None:
            self.moments.parking.until = self.host.clock.now() + move.wait
        self.outbox.batch.move = move
        self.outbox.mark()

    def kill(self) -> None:
        """Makes the run's context dead; nothing its code does from here on is written."""
        self.dead = True
        self.moments.stop()
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()
        for task in list(self.tasks):
            task.cancel()
