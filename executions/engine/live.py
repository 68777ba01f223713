"""A run in hand: its journal, its asyncio tasks, what they wait for, and when it may leave memory.

Outcomes reach the code one at a time, each in a quiet moment, in the order of `seq`. Live and
replayed alike, so that code which decides by who came first decides the same way again.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from executions.engine import replay
from executions.engine.flush import Result
from executions.engine.quiet import EngineFuture, Mood, mood
from executions.engine.replay import JournalMismatch, Record, Recorded
from executions.engine.rows import Batch, Move, StepRow
from executions.engine.waits import Findings, Wait, outcome_of
from executions.rules.statuses import RunStatus, StepStatus
from executions.rules.values import encode

if TYPE_CHECKING:
    from executions.engine.executor import Executor
    from executions.engine.threads import TaskThread
    from executions.rules.retry import Retry

logger = logging.getLogger(__name__)

Json = Any
current_live: ContextVar[LiveRun | None] = ContextVar("current_live", default=None)

# Passes of the loop without a change before a moment counts as quiet: a gather inside a gather
# takes two to hand its result on.
_CALM = 3
# Steps whose rows ride along before even a pure one waits for the journal.
_RIDE_ALONG_LIMIT = 500
_CANCEL_GRACE_SECONDS = 30.0


class RunGone(BaseException):
    """The run has left this process: it was parked, lost or stopped. Nothing can be written.

    A BaseException, so that a task's own `except Exception` cannot swallow it.
    """


@dataclass(slots=True)
class Release:
    """An outcome on its way to the code; `batch` is the flush it waits for, if any."""

    future: EngineFuture | None
    value: Json = None
    error: BaseException | None = None
    batch: Batch | None = None


class LiveRun:
    """One claimed run, from its claim until it is parked, finished, lost or released."""

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
        self.host = host
        self.loop = host.loop
        self.recorded = Recorded(records, run_attempt=self.attempt)
        self.replaying = self.recorded.has_any_outcome
        self.has_children = any(record.kind in ("children", "trigger") for record in records)
        self.findings = findings
        self.asked: set[str] = set()
        self.branches: set[str] = set()
        self.metadata: dict[str, Json] = dict(row["first_metadata"])
        self.abandoned: list[Any] = []
        self.is_threaded = False
        self.thread: TaskThread | None = None
        self.task_retry: Retry | None = None
        self.time_error: dict[str, Json] | None = None
        self.reloading = False
        # A poll of the rows that began before this claim does not know it.
        self.claimed_after_poll = True
        self.parked_until: float | None = None
        self.tasks: set[asyncio.Task[Any]] = set()
        self.bodies: set[asyncio.Task[Any]] = set()
        self.user_timers: list[asyncio.TimerHandle] = []
        self.main: asyncio.Task[Any] | None = None
        self.dead = False
        self.cancel_requested: bool = row["cancel_requested"]
        self.cancel_delivered = False
        self.ending: Move | None = None
        # A plain `def` task runs on a thread: whether that thread is in the task's own code.
        self.thread_busy = False
        self._seq = self.recorded.last_seq
        self._ops = 0
        self._ops_written: int = row["op_seq"]
        self._flush_no: int = row["flush_no"]
        self._batch = Batch()
        self._in_flight: Batch | None = None
        self._held: list[EngineFuture] = []
        self._waits: dict[str, Wait] = {}
        self._releases: deque[Release] = deque()
        self._flushed: list[tuple[Batch, EngineFuture]] = []
        self._riding = 0
        self._poked = False
        self._calm = 0
        self._parking = False
        self._timer: asyncio.TimerHandle | None = None
        self._active_since = self.loop.time()
        self._active_before: int = row["active_ms"]
        self._announce(first=row["flush_no"] == 0)

    # ---- what the run wants written -------------------------------------------------------------

    def _announce(self, *, first: bool) -> None:
        """The claim's event rides with the first flush."""
        name = "run.started" if first else "run.resumed"
        self._batch.events.append((name, f'{{"attempt":{self.attempt}}}'))

    def take_batch(self) -> Batch:
        """What the next flush writes for this run: a deferred batch first, unchanged."""
        if self._in_flight is not None:
            return self._in_flight
        batch, self._batch = self._batch, Batch()
        self._flush_no += 1
        batch.no = self._flush_no
        batch.ops = max(self._ops, self._ops_written)
        self._in_flight = batch
        self._riding = 0
        return batch

    def put_back(self, batch: Batch) -> None:
        """The row was locked by somebody: the same batch goes into the next flush."""
        self._in_flight = batch

    def put(self, row: StepRow, event: str, data: str) -> Batch:
        """Adds a step's row and its event; a short step's start and end become one of each."""
        batch = self._batch
        earlier = batch.steps.get(row.key)
        if earlier is not None:
            if row.input is None:
                row.input = earlier.input
            row.heartbeat = row.heartbeat or earlier.heartbeat
            ends = row.status in (StepStatus.COMPLETED, StepStatus.FAILED)
            if ends and batch.events[-1][0] == "step.started":
                batch.events.pop()
        batch.steps[row.key] = row
        batch.events.append((event, data))
        self.host.journal.mark(self)
        return batch

    def next_seq(self) -> int:
        """The place of an outcome in the run's order of completion."""
        self._seq += 1
        return self._seq

    def next_op(self) -> bool:
        """Counts one event or metadata change of the body; False when it is written already."""
        self._ops += 1
        return self._ops > self._ops_written

    def on_loop(self, action: Callable[[], None]) -> None:
        """Does it now on the loop's own thread, or soon when called from another."""
        if threading.get_ident() == self.host.thread_id:
            action()
        else:
            self.loop.call_soon_threadsafe(action, context=self.host.context)

    def append_chunk(self, stream: str, data: str) -> None:
        """Adds a piece to an output stream of the run."""
        if not self.dead:
            self._batch.extra().chunks.append((stream, data))
            self.host.write_soon(self)

    @property
    def batch(self) -> Batch:
        """What collects for the next flush."""
        return self._batch

    def active_ms(self) -> int:
        """Milliseconds of activity so far, waits in memory included."""
        return self._active_before + int((self.loop.time() - self._active_since) * 1000)

    async def written(self) -> None:
        """Returns when everything put so far is durable."""
        batch = self._batch
        if not (batch.steps or batch.events or batch.extras):
            if self._in_flight is None:
                return
            batch = self._in_flight
        future = EngineFuture(loop=self.loop)
        self._flushed.append((batch, future))
        self.host.journal.mark(self)
        self.poke()
        await future

    async def before_effect(self) -> None:
        """No effect rests on a decision that a crash could redo: riding rows become durable."""
        if self._riding or (self._in_flight is not None and self._in_flight.extras):
            await self.written()

    # ---- what the journal tells back ------------------------------------------------------------

    def on_flushed(self, batch: Batch, result: Result) -> None:
        """A batch is durable."""
        self._in_flight = None
        for waiting, future in self._flushed:
            if waiting is batch and not future.done():
                future.set_result(None)
        if self._flushed:
            self._flushed = [entry for entry in self._flushed if entry[0] is not batch]
        for release in self._releases:
            if release.batch is batch:
                release.batch = None
        if batch.move is not None:
            self._on_moved(batch.move, result)
            return
        if self._batch.events or self._batch.steps or self._batch.extras or self._batch.move:
            self.host.journal.mark(self)
        if result.cancel_requested and not self.cancel_requested:
            self.request_cancel()
        if self.dead:
            return
        if len(self.tasks) == 1 and not self.replaying:
            self._release_ready()
        else:
            self.poke()

    def _on_moved(self, move: Move, result: Result) -> None:
        if result.moved:
            self.host.let_go(self)
            return
        if self.ending is not None:
            self._end_again(move, result)
            return
        # Somebody woke the run while it was parking: look at its waits again.
        self._parking = False
        self.parked_until = None
        self.host.reload_soon(self)

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
        self._in_flight = None
        self._batch = Batch()
        error = {"type": "NotStorable", "message": f"PostgreSQL refused a result: {reason}"}
        self.end(
            Move(
                status=RunStatus.SYSTEM_FAILURE, event="run.failed",
                error=encode(error, field="error"),
            )
        )  # fmt: skip

    # ---- outcomes -------------------------------------------------------------------------------

    def settle(
        self, row: StepRow, value: Json, error: BaseException | None, *, durable: bool,
        data: str = "{}",
    ) -> EngineFuture | None:  # fmt: skip
        """Records an outcome; the future releases it, or None when the code may go on at once."""
        row.seq = self.next_seq()
        row.run_attempt = self.attempt
        name = "step.failed" if row.status == StepStatus.FAILED else "step.completed"
        batch = self.put(row, name, data)
        batch.progress = True
        self._riding += not durable
        if not durable and not self._releases and len(self.tasks) <= 1:
            if self._riding < _RIDE_ALONG_LIMIT:
                return None
            durable = True
        future = EngineFuture(loop=self.loop)
        self._releases.append(Release(future, value, error, batch if durable else None))
        if not durable:
            self.poke()
        return future

    def reserve(self, place: Release) -> int:
        """Takes the next place in the order of completion for an outcome still to be committed."""
        self._releases.append(place)
        return self.next_seq()

    def fill(self, place: Release, value: Json) -> None:
        """The reserved outcome is committed: it may be released in its turn."""
        place.value, place.batch = value, None
        self.poke()

    def give_up(self, place: Release) -> None:
        """Nothing came of a reserved place."""
        if place in self._releases:
            self._releases.remove(place)
            self.poke()

    def replayed(self, record: Record) -> EngineFuture:
        """The recorded outcome of a step, released in its turn."""
        future = EngineFuture(loop=self.loop)
        self.recorded.ask(record, future)
        self.poke()
        return future

    async def frontier(self) -> None:
        """Returns when the replay is over: no new body starts before."""
        if self.replaying:
            future = EngineFuture(loop=self.loop)
            self._held.append(future)
            self.poke()
            await future

    def wait(self, wait: Wait) -> EngineFuture:
        """Registers a wait; its future gives the outcome."""
        self._waits[wait.key] = wait
        wait.future.add_done_callback(lambda _: self._waits.pop(wait.key, None))
        self.poke()
        return wait.future

    def found(self, findings: Findings, wakes: int) -> None:
        """Takes what the rows say about the waits, read after `wakes`."""
        self.findings = findings
        self.wakes = max(self.wakes, wakes)
        self._parking = False
        self.poke()

    @property
    def is_leaving(self) -> bool:
        """Whether a move out of EXECUTING is on its way to the database."""
        return self._parking or self.ending is not None or self.dead

    @property
    def waits(self) -> dict[str, Wait]:
        """The open waits by key."""
        return self._waits

    # ---- quiet moments --------------------------------------------------------------------------

    def poke(self) -> None:
        """Something changed: look, in the next pass of the loop, what the run can do."""
        self._calm = 0
        self._look_soon()

    def _look_soon(self) -> None:
        if not self._poked and not self.dead:
            self._poked = True
            self.loop.call_soon(self._look, context=self.host.context)

    def _look(self) -> None:
        self._poked = False
        if self.dead or self._parking or self.ending is not None:
            return
        state = mood(self.tasks, self.bodies, self.tasks)
        if self.thread_busy:
            state = min(state, Mood.FOREIGN)
        if state is Mood.READY:
            self.poke()
        elif self._calm < _CALM and len(self.tasks) > 1:
            self._calm += 1
            self._look_soon()
        else:
            self._act(state)

    def _act(self, state: Mood) -> None:
        """One thing in a quiet moment: release, end the replay, observe a wait, or park."""
        if self._release_ready():
            return
        if self.replaying:
            self._replay_next(state)
            return
        if self.cancel_requested and not self.cancel_delivered:
            self._deliver_cancel()
            return
        if self._observe_one():
            return
        self._park_or_wait(state)

    def _release_ready(self) -> bool:
        """Hands the next outcome to the code if it is durable."""
        if not self._releases or self._releases[0].batch is not None:
            return False
        release = self._releases.popleft()
        if release.future is None:
            self._cancel_main()
        elif not release.future.done():
            if release.error is not None:
                release.future.set_exception(release.error)
            else:
                release.future.set_result(release.value)
        if self._releases or len(self.tasks) > 1:
            self.poke()
        return True

    def _replay_next(self, state: Mood) -> None:
        recorded = self.recorded
        cancel = recorded.by_key.get(replay.CANCEL_KEY)
        if cancel is not None and not self.cancel_delivered:
            first = recorded.first_asked_seq()
            if first is None or (cancel.seq or 0) < first:
                self.cancel_delivered = True
                self._cancel_main()
                self.poke()
                return
        asked = recorded.next_asked()
        if asked is not None:
            record, future = asked
            future.set_result(record)
            self.poke()
        elif state is not Mood.FOREIGN:
            self._end_replay()

    def _end_replay(self) -> None:
        missing = self.recorded.never_asked()
        if missing:
            new = [key for key in self.asked if key not in self.recorded.by_key]
            self.needs_attention(replay.never_asked_message(self.id, missing, new))
            return
        self.replaying = False
        held, self._held = self._held, []
        for future in held:
            if not future.done():
                future.set_result(None)
        self.poke()

    def _observe_one(self) -> bool:
        """Records the first wait that has an outcome, and lets the code see it."""
        now = self.host.clock.now()
        for wait in list(self._waits.values()):
            if wait.future.done():
                continue
            outcome = outcome_of(wait, self.findings, now=now)
            if outcome is None:
                continue
            self._waits.pop(wait.key, None)
            if wait.kind == "retry":
                wait.future.set_result(None)
                self.poke()
                return True
            self._record_outcome(wait, outcome.value, outcome.signal)
            return True
        return False

    def _record_outcome(self, wait: Wait, value: Json, signal: str | None) -> None:
        row = StepRow(
            wait.key, wait.step_kind, StepStatus.COMPLETED, output=encode(value, field=wait.key)
        )
        if signal is not None:
            self._batch.extra().signals.append((signal, wait.key))
        future = self.settle(row, value, None, durable=False, data=event_data(row))
        if future is None:
            wait.future.set_result(value)
        else:
            # The release hands the value to the wait's own future.
            self._releases[-1].future = wait.future

    def _park_or_wait(self, state: Mood) -> None:
        until = min((w.until for w in self._waits.values() if w.until is not None), default=None)
        soon = until is not None and until - self.host.clock.now() < self.host.linger
        idle = (
            state is Mood.BLOCKED
            and self._waits
            and not self.bodies
            and not self._releases
            and not self._flushed
            and not self._has_user_timer()
            and not self.thread_busy
        )
        if not idle or soon:
            if until is not None:
                self._arm(until)
            return
        wait = None if until is None else max(0.0, until - self.host.clock.now())
        self._parking = True
        self.parked_until = until
        self._batch.move = Move(
            status=RunStatus.WAITING, event="run.waiting", seen=self.wakes, wait=wait
        )
        self.host.journal.mark(self)

    def _arm(self, until: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay = max(0.0, until - self.host.clock.now())
        self._timer = self.loop.call_later(delay, self.poke, context=self.host.context)

    def _has_user_timer(self) -> bool:
        now = self.loop.time()
        self.user_timers = [
            timer for timer in self.user_timers if not timer.cancelled() and timer.when() > now
        ]
        return bool(self.user_timers)

    # ---- endings --------------------------------------------------------------------------------

    def request_cancel(self) -> None:
        """Somebody asked for the run to be cancelled."""
        self.cancel_requested = True
        self.poke()

    def _deliver_cancel(self) -> None:
        self.cancel_delivered = True
        row = StepRow(replay.CANCEL_KEY, "cancel", StepStatus.COMPLETED, output="null")
        row.seq = self.next_seq()
        row.run_attempt = self.attempt
        batch = self.put(row, "run.cancel_requested", "{}")
        self._releases.append(Release(None, batch=batch))
        self.loop.call_later(
            _CANCEL_GRACE_SECONDS, self._overdue, RunStatus.CANCELED, context=self.host.context
        )

    def _cancel_main(self) -> None:
        self.host.cancel_code(self)

    def out_of_time(self, limit: str) -> None:
        """A limit of the run has passed: its code is told, and the run ends TIMED_OUT."""
        if self.dead or self.ending is not None or self.time_error is not None:
            return
        code = "MAX_DURATION_EXCEEDED" if limit == "max_duration" else "RUN_TIMEOUT"
        self.time_error = {
            "type": "TimedOut", "code": code, "message": f"The run exceeded its {limit}.",
        }  # fmt: skip
        self._cancel_main()
        self.loop.call_later(
            _CANCEL_GRACE_SECONDS, self._overdue, RunStatus.TIMED_OUT, context=self.host.context
        )

    def _overdue(self, status: RunStatus) -> None:
        """The code did not end within the grace that a cancellation leaves it."""
        error = self.time_error or {
            "type": "Canceled", "message": "The run was cancelled.",
        }  # fmt: skip
        event = "run.timed_out" if status == RunStatus.TIMED_OUT else "run.canceled"
        self.end(Move(status=status, event=event, error=encode(error, field="error")))

    def needs_attention(self, message: str) -> None:
        """The code and the journal disagree: a person must decide."""
        error = {"type": "NeedsAttention", "message": message}
        self.end(
            Move(
                status=RunStatus.NEEDS_ATTENTION, event="run.needs_attention",
                event_data=encode(error, field="error"), error=encode(error, field="error"),
            )
        )  # fmt: skip

    def end(self, move: Move) -> None:
        """Ends the run's stay in this process with `move`; the code is told to go."""
        if self.ending is not None or self.dead:
            return
        self.ending = move
        self._batch.move = move
        if move.status == RunStatus.NEEDS_ATTENTION:
            self._batch.steps.clear()
        self.host.journal.mark(self)

    def kill(self) -> None:
        """Makes the run's context dead; nothing it does from here on is written."""
        self.dead = True
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self.tasks):
            task.cancel()


def event_data(row: StepRow) -> str:
    """The event of a step's row: which step, of what kind, in which attempt, for how long."""
    lasted = "" if row.lasted is None else f',"ms":{row.lasted * 1000:.0f}'
    return f'{{"key":{_quote(row.key)},"kind":"{row.kind}","attempt":{row.attempt}{lasted}}}'


def _quote(text: str) -> str:
    return encode(text, field="key")


__all__ = ["JournalMismatch", "LiveRun", "Release", "RunGone", "current_live", "event_data"]
