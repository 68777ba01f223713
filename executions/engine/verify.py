"""Running a recorded run's code against its journal: nothing is written and no step's body runs.

A stand-in for the executor hosts the run. Its code gets the recorded outcomes as in any replay; at
the frontier, where an executor would let the code go on, the verification ends.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import threading
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from django.conf import settings
from django.db import close_old_connections, connection

from executions.engine import around, replay
from executions.engine.clock import Clock
from executions.engine.executor import Executor
from executions.engine.failures import contained
from executions.engine.live import LiveRun, current_live
from executions.engine.loop import EngineLoop, make_task
from executions.engine.moments import Moments
from executions.engine.quiet import Mood
from executions.engine.replay import CANCEL_KEY, JournalMismatch, Record
from executions.engine.threads import TaskThread
from executions.engine.waits import Findings
from executions.registry import get_task
from executions.rules.retry import Retry
from executions.rules.statuses import StepStatus

Json = Any

# Changes of metadata, events and chunks up to this number count as written.
_ALL_WRITTEN = 1 << 60
# Code of an open run that waits outside its context for so long has come to its frontier.
_FOREIGN_SECONDS = 0.25
# What the threads of a run that was dropped may take to notice.
_THREAD_SECONDS = 1.0
# Passes of the loop in which code that was dropped gets its CancelledError.
_PASSES = 5


class BodyRefused(BaseException):
    """A verification was about to run a step's body. It must not; this is a bug of the engine."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How far the code came.

    `contradiction`: code and journal disagree. `error` or `value`: how the code ended, when
    `has_ended`. Otherwise it reached the frontier or, `is_foreign`, ran out of time before.
    """

    contradiction: str | None = None
    has_ended: bool = False
    value: Any = None
    error: BaseException | None = None
    is_foreign: bool = False
    # What the code asked for without a recorded outcome.
    unanswered: list[str]
    # Waits that are open in the journal and that the code has not come to.
    left_waits: list[str]


class _NoBodies(set[Any]):
    """The set of a run's running bodies, which takes none: every body enters it before it runs."""

    def add(self, element: Any) -> NoReturn:
        raise BodyRefused("A verification runs no step.")


class _Frontier(Moments):
    """Quiet moments that release what is recorded, and end where the record ends."""

    def __init__(self, live: RecordedRun) -> None:
        super().__init__(live, Findings())
        self._run = live
        self._foreign_since: float | None = None

    async def frontier(self) -> None:
        """Never returns: no new step begins here."""
        self.poke()
        await self._run.future()

    def _replay_next(self, state: Mood) -> None:
        live = self._run
        before = (live.cancel_delivered, live.recorded.first_asked_seq())
        super()._replay_next(state)
        if state is not Mood.FOREIGN or before != (live.cancel_delivered, None):
            self._foreign_since = None
        elif self._foreign_since is None:
            self._foreign_since = live.loop.time()
        elif live.is_open and live.loop.time() - self._foreign_since > _FOREIGN_SECONDS:
            # It may move yet; but what is recorded, it has asked for.
            if not live.recorded.never_asked():
                live.at_frontier()

    def _end_replay(self) -> None:
        self._run.at_frontier()


class RecordedRun(LiveRun):
    """A run in hand of a `VerifyingHost`: only its journal answers it."""

    def __init__(self, row: Mapping[str, Any], records: list[Record], host: VerifyingHost) -> None:
        was_cancelled = any(record.key == CANCEL_KEY for record in records)
        changed = {
            "cancel_requested": was_cancelled, "pause_requested": False, "flush_no": 0,
            "op_seq": _ALL_WRITTEN, "stalls": 0,
        }  # fmt: skip
        super().__init__({**row, **changed}, records, Findings(), cast(Executor, host))
        self.is_open: bool = row["is_open"]
        self.moments = _Frontier(self)
        self.bodies = _NoBodies()
        self.replaying = True
        if was_cancelled:
            # `on_cancel` is no part of the journal and may have effects: as in a run out of time,
            # it is not called.
            self.time_error = {"type": "Canceled", "message": "Cancelled."}
        self.outcome: asyncio.Future[Outcome] = host.loop.create_future()

    def at_frontier(self) -> None:
        """The code has come to rest with everything recorded released."""
        missing = self.recorded.never_asked()
        if missing:
            new = [key for key in self.asked if key not in self.recorded.by_key]
            self.needs_attention(replay.never_asked_message(self.id, missing, new))
        else:
            self.settle()

    def ended(self, main: asyncio.Task[Any]) -> None:
        """The code is at its end."""
        error = asyncio.CancelledError() if main.cancelled() else main.exception()
        missing = self.recorded.never_asked()
        if isinstance(error, (JournalMismatch, BodyRefused)):
            self.needs_attention(str(error))
        elif missing:
            message = replay.never_asked_message(self.id, missing, ())
            if error is not None and not isinstance(error, asyncio.CancelledError):
                message = f"Its code now raises {type(error).__name__}: {error} {message}"
            self.needs_attention(message)
        else:
            self.settle(has_ended=True, error=error, value=None if error else main.result())

    def needs_attention(self, message: str) -> None:
        """Code and journal disagree."""
        self.settle(contradiction=message)

    def settle(self, **found: Any) -> None:
        """The first thing found is what counts."""
        if not self.outcome.done() and not self.dead:
            self.outcome.set_result(self.found(**found))

    def found(self, **found: Any) -> Outcome:
        """What there is to say now."""
        known = self.recorded.by_key
        return Outcome(
            unanswered=sorted(
                key for key in self.asked if key not in known or not known[key].has_ended
            ),
            left_waits=[
                record.key
                for record in known.values()
                if record.status == StepStatus.WAITING
                and record.run_attempt == self.attempt
                and record.key not in self.asked
            ],
            **found,
        )


class _Nothing:
    """The journal and the look-ups of a host that writes and reads nothing."""

    def mark(self, live: LiveRun) -> None:
        """Nothing is written."""

    def soon(self, live: LiveRun) -> None:
        """Nothing is looked up: what is not recorded has not happened."""

    async def join_token(self, live: LiveRun, token: str) -> None:
        """The run has joined it already, or does not get that far."""

    async def query(self, statement: str, parameters: tuple[Any, ...]) -> NoReturn:
        """Nobody asks here but the body of a step."""
        raise BodyRefused("A verification asks nothing.")


class _DaemonThreads:
    """A pool whose threads keep no process from ending, whatever hangs in them."""

    def __init__(self) -> None:
        self._jobs: set[concurrent.futures.Future[Any]] = set()

    def submit(self, function: Callable[..., Any], *args: Any) -> concurrent.futures.Future[Any]:
        """Calls it on a new thread."""
        job: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def carry_out() -> None:
            job.set_running_or_notify_cancel()
            try:
                job.set_result(function(*args))
            except BaseException as error:
                job.set_exception(error)

        self._jobs.add(job)
        threading.Thread(target=carry_out, name="verification", daemon=True).start()
        return job

    async def ended(self, seconds: float) -> None:
        """Returns when the threads have ended, or after so many seconds."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        while any(not job.done() for job in self._jobs) and loop.time() < ends:
            await asyncio.sleep(0.002)
        # What they told the loop at their end comes before anything else now.
        await asyncio.sleep(0)
        self._jobs.clear()


class VerifyingHost:
    """Stands where an executor stands for a run in hand; one run at a time."""

    linger = 0.0
    spread = staticmethod(min)

    def __init__(self) -> None:
        options = settings.FLOWMAESTRO
        self.loop = EngineLoop()
        self.loop.set_task_factory(make_task)
        self.context = contextvars.copy_context()
        self.clock = Clock()
        self.default_retry = Retry(
            max_attempts=options.RETRY_MAX_ATTEMPTS, factor=options.RETRY_FACTOR,
            min_timeout=options.RETRY_MIN_SECONDS, max_timeout=options.RETRY_MAX_SECONDS,
        )  # fmt: skip
        self.pool = _DaemonThreads()
        self.journal = self.lookups = _Nothing()
        self.thread_id = 0
        self._thread = threading.Thread(target=self._main, name="verifier", daemon=True)
        self._thread.start()

    def replay(
        self, row: Mapping[str, Any], records: list[Record], *, seconds: float
    ) -> Outcome | None:
        """How far the code comes; None when it holds the event loop, which is lost then."""
        job = asyncio.run_coroutine_threadsafe(self._replay(row, records, seconds), self.loop)
        try:
            return job.result(2 * seconds + 1)
        except TimeoutError:
            return None

    def close(self) -> None:
        """Ends the thread; one that code holds ends when that lets go."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(1)

    def _main(self) -> None:
        self.thread_id = threading.get_ident()
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self.loop.close()

    async def _replay(
        self, row: Mapping[str, Any], records: list[Record], seconds: float
    ) -> Outcome:
        live = RecordedRun(row, records, self)
        context = self.context.copy()
        context.run(current_live.set, live)
        live.main = self.loop.create_task(_code(live), context=context)
        live.main.add_done_callback(live.ended, context=self.context)
        live.moments.poke()
        try:
            return await self._watched(live, seconds)
        finally:
            live.kill()
            # What was held in the run gets its CancelledError before the next one begins.
            for _ in range(_PASSES):
                await asyncio.sleep(0)
            await self.pool.ended(_THREAD_SECONDS)

    async def _watched(self, live: RecordedRun, seconds: float) -> Outcome:
        ends = self.loop.time() + seconds
        while (left := ends - self.loop.time()) > 0:
            # Code that waited outside its context may have come to rest since, unseen.
            live.moments.poke()
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(asyncio.shield(live.outcome), min(0.05, left))
        return live.found(is_foreign=True)

    # ---- what a run in hand asks of its host ----------------------------------------------------

    def look(self) -> None:
        """Nothing is claimed."""

    def let_go(self, live: LiveRun) -> None:
        """Nothing holds it."""

    def write_soon(self, live: LiveRun) -> None:
        """Nothing is written."""

    def spawn(self, job: Coroutine[Any, Any, Any], name: str = "job") -> None:
        """The engine's own jobs are those of runs that park."""
        job.close()

    def cancel_code(self, live: LiveRun) -> None:
        """Raises CancelledError in the run's code, as the journal says it was."""
        if live.thread is not None:
            live.thread.cancel()
        elif live.main is not None:
            live.main.cancel()

    async def on_thread(self, live: LiveRun, function: Any, args: tuple[Any, ...]) -> NoReturn:
        """Only bodies of steps are called so."""
        raise BodyRefused("A verification runs no step.")

    async def threads_ended(self, live: LiveRun) -> None:
        """There are none."""

    async def in_pool(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """What `ctx.read` reads: it may, but it cannot write."""
        return await asyncio.wrap_future(
            self.pool.submit(contextvars.copy_context().run, self.with_connections, function, args)
        )

    def with_connections(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Calls it with a Django connection that refuses to write."""
        close_old_connections()
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")
        try:
            return function(*args)
        finally:
            connection.close()


async def _code(live: RecordedRun) -> Any:
    """The outermost frame of the code, without the hooks that no step stands behind."""
    task = get_task(live.row["task"])
    live.task_retry = task.retry
    payload = task.parse(live.row["payload"])
    try:
        await around.begin(live, task, payload)
        if task.is_async:
            return await around.call(live, task, payload)
        live.thread = TaskThread(live, around.plain_program(live, task), payload)
        return await live.thread.run()
    except (SystemExit, KeyboardInterrupt) as error:
        raise contained(error) from error
