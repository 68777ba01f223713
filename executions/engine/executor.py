"""One event loop in a thread per worker process: the runs in hand, claimed, advanced, parked."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import logging
import os
import random
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import psycopg
from django.conf import settings

from executions.engine import failpoints, load, sql
from executions.engine.clock import Clock
from executions.engine.connections import Link, connect
from executions.engine.endings import ending_of
from executions.engine.journal import Journal
from executions.engine.live import LiveRun, current_live
from executions.engine.lookups import Lookups
from executions.engine.loop import EngineLoop, make_task
from executions.engine.rows import Move
from executions.engine.step_threads import StepThreads
from executions.engine.ticker import Ticker
from executions.engine.waits import Findings
from executions.rules.retry import Retry
from executions.rules.statuses import RunStatus

logger = logging.getLogger(__name__)

# Streams coalesce: pieces that come within this go into one flush.
_COALESCE_SECONDS = 0.03
_RECONNECT_SECONDS = 0.5
_SECOND_LOOK_SECONDS = 0.02
_STAGGER_SECONDS = 0.002


class Executor(StepThreads):
    """Claims due runs and advances them. `start` returns when it is at work."""

    # A wait this short is sat out in memory, where it ends on time.
    linger = 1.0
    # What randomises back-offs.
    spread: Callable[[float, float], float] = staticmethod(random.uniform)

    def __init__(self) -> None:
        options = settings.FLOWMAESTRO
        super().__init__(options.WORKER_THREADS)
        self.loop = EngineLoop()
        self.loop.set_task_factory(make_task)
        self.context = contextvars.copy_context()
        self.clock = Clock()
        self.capacity: int = options.WORKER_CONCURRENCY
        self.default_retry = Retry(
            max_attempts=options.RETRY_MAX_ATTEMPTS, factor=options.RETRY_FACTOR,
            min_timeout=options.RETRY_MIN_SECONDS, max_timeout=options.RETRY_MAX_SECONDS,
        )  # fmt: skip
        # How many workers of this host look before this one does.
        self.rank = 0
        self.hand: dict[str, LiveRun] = {}
        self.thread_id = 0
        self.ticker = Ticker(self)
        self.journal: Journal
        self.lookups = Lookups(self)
        self._claims = Link("claims", durable=False)
        self._strays: set[tuple[str, str]] = set()
        self._claiming = False
        self._gates_wait = False
        self._second_look: asyncio.TimerHandle | None = None
        self._wanted = asyncio.Event()
        self.stopping = False
        self._jobs: set[asyncio.Task[Any]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, name="executor", daemon=True)

    # ---- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the loop, the ticker and the claiming. Raises what went wrong, if anything."""
        try:
            self.ticker.register()
        except BaseException:
            self.loop.close()
            self.pool.shutdown()
            raise
        self._thread.start()
        if not self._ready.wait(30):
            raise RuntimeError("The executor did not start within 30 s.")
        self.ticker.start()

    def look(self) -> None:
        """Something may be due; from any thread."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._wanted.set)

    def stop(self, grace: float) -> None:
        """Claims no more; what is in hand gets `grace` seconds, what is left then is released."""
        if not self._thread.is_alive():
            return
        future = asyncio.run_coroutine_threadsafe(self._drain(grace), self.loop)
        with contextlib.suppress(concurrent.futures.TimeoutError):
            future.result(grace + 5)
        self.ticker.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(2)
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _main(self) -> None:
        self.thread_id = threading.get_ident()
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._open())
        self._ready.set()
        self.loop.run_forever()
        if not self.stopping:
            # Without its loop this process holds runs and advances none: it must not go on.
            logger.critical("The event loop ended unasked; this worker ends.")
            self.ticker.stop()
            os.kill(os.getpid(), signal.SIGTERM)
        self.loop.run_until_complete(self._close())
        self.loop.close()

    async def _open(self) -> None:
        self.journal = Journal(
            lambda: connect("journal", patience_ms=100), on_woken=self._wanted.set
        )
        for job in (self.journal.run(), self._claim_runs(), self._listen()):
            self.spawn(job, name="essential")
        self._wanted.set()

    async def _close(self) -> None:
        for job in list(self._jobs):
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        await self.journal.close()
        await self._claims.drop()
        await self.lookups.link.drop()

    async def _drain(self, grace: float) -> None:
        self.stopping = True
        self._wanted.set()
        ends = self.loop.time() + grace
        for live in list(self.hand.values()):
            live.moments.poke()
        while self.hand and self.loop.time() < ends:
            await asyncio.sleep(0.02)
        for live in list(self.hand.values()):
            self.let_go(live)
        # The code that was let go gets its CancelledError before the loop ends.
        await asyncio.sleep(0.01)
        failpoints.hit("stop.before_release")
        await self.lookups.query(sql.RELEASE, (self.ticker.worker_id,))
        failpoints.hit("stop.after_release")
        await self.lookups.query(sql.NOTIFY, ("",))
        self.journal.stop()

    def spawn(self, job: Coroutine[Any, Any, Any], name: str = "job") -> None:
        """Runs a job of the engine's own, outside every run."""
        task = self.loop.create_task(job, context=self.context.copy())
        task.set_name(name)
        self._jobs.add(task)
        task.add_done_callback(self._job_done)

    def _job_done(self, task: asyncio.Task[Any]) -> None:
        self._jobs.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("A job of the executor failed.", exc_info=error)
            if task.get_name().startswith("essential") and not self.stopping:
                # A worker that cannot claim or write must not go on holding runs.
                os.kill(os.getpid(), signal.SIGTERM)

    # ---- claiming -------------------------------------------------------------------------------

    async def _claim_runs(self) -> None:
        while not self.stopping:
            await self._wanted.wait()
            self._wanted.clear()
            while not self.stopping and (free := self.capacity - len(self.hand)) > 0:
                try:
                    taken = await self._claim(free)
                except (psycopg.Error, OSError) as error:
                    logger.warning("Claiming failed and is tried again: %s", error)
                    await self._claims.drop()
                    await asyncio.sleep(_RECONNECT_SECONDS)
                    self._wanted.set()
                    break
                if taken < free:
                    break

    async def _claim(self, free: int) -> int:
        self._claiming = True
        try:
            return await self._claim_now(free)
        finally:
            self._claiming = False

    async def _claim_now(self, free: int) -> int:
        taken = 0
        if self._gates_wait:
            # Gated queues first, for half of what is free: neither kind may starve the other.
            taken, _ = await self._take(load.claim_gated, max(1, free // 2))
        if taken >= free:
            self._gates_wait = False
            return taken
        plain, gated_wait = await self._take(load.claim, free - taken)
        taken += plain
        self._gates_wait = gated_wait and taken >= free
        if gated_wait and taken < free:
            gated, was_passed_over = await self._take(load.claim_gated, free - taken)
            taken += gated
            if was_passed_over:
                self._look_again_soon()
        return taken

    async def _take(self, claim: Callable[..., Any], runs: int) -> tuple[int, bool]:
        """Claims and begins runs; how many, and what the claim says of gated queues."""
        suspects = 0 if any(live.row["stalls"] for live in self.hand.values()) else 1
        failpoints.hit("claim.before")
        claimed = await claim(
            await self._claims.get(), self.ticker.worker_id, runs=runs, suspects=suspects
        )
        failpoints.hit("claim.after")
        if claimed.rows:
            self.clock.set(claimed.rows[0]["now"].timestamp())
        for row in claimed.rows:
            run = row["id"]
            records, found = claimed.records.get(run, []), claimed.found.get(run) or Findings()
            self._begin(LiveRun(row, records, found, self))
        failpoints.hit("claim.begun")
        return len(claimed.rows), claimed.more

    def _begin(self, live: LiveRun) -> None:
        from executions.engine.main import run_code

        self.hand[live.id] = live
        live.limit_time()
        context = self.context.copy()
        context.run(current_live.set, live)
        live.main = self.loop.create_task(run_code(live), context=context)
        live.main.add_done_callback(lambda task: self._code_ended(live, task), context=self.context)
        if live.replaying or live.cancel_requested:
            live.moments.poke()

    def _code_ended(self, live: LiveRun, main: asyncio.Task[Any]) -> None:
        if live.dead or live.ending is not None:
            if not main.cancelled():
                main.exception()
            return
        try:
            move = ending_of(live, main)
        except Exception:  # The ending itself must not leave a run hanging.
            logger.exception("The end of run %s could not be written.", live.id)
            move = Move(
                status=RunStatus.SYSTEM_FAILURE, event="run.failed",
                error='{"type":"InternalError","message":"Its end could not be written."}',
            )  # fmt: skip
        if move is not None:
            live.end(move)

    # ---- what runs in hand ask for --------------------------------------------------------------

    def let_go(self, live: LiveRun) -> None:
        """The run leaves this process: parked, ended, lost or released."""
        live.kill()
        self.journal.forget(live)
        if self.hand.get(live.id) is live:
            del self.hand[live.id]
            self._wanted.set()
        if live.moments.parking.until is not None:
            self.ticker.wake_at(live.moments.parking.until - self.clock.now())

    def cancel_code(self, live: LiveRun) -> None:
        """Raises CancelledError in the run's code."""
        if live.thread is not None:
            live.thread.cancel()
        elif live.main is not None:
            live.main.cancel()

    def write_soon(self, live: LiveRun) -> None:
        """Writes what a stream collects, a moment later."""
        self.loop.call_later(_COALESCE_SECONDS, self._write, live, context=self.context)

    def _write(self, live: LiveRun) -> None:
        if not live.dead:
            self.journal.mark(live)

    # ---- what others tell -----------------------------------------------------------------------

    async def _listen(self) -> None:
        while not self.stopping:
            try:
                conn = await connect("listen", durable=False)
                async with conn:
                    await conn.execute(f"LISTEN {sql.CHANNEL}", prepare=False)
                    # What was sent while nobody listened is found by looking.
                    self._wanted.set()
                    async for notification in conn.notifies():
                        self._on_notified(notification.payload)
            except (psycopg.Error, OSError) as error:
                logger.warning("Listening failed and is tried again: %s", error)
                await asyncio.sleep(_RECONNECT_SECONDS)

    def _on_notified(self, payload: str) -> None:
        if self.rank == 0:
            self._wanted.set()
        else:
            # The first worker of a host takes what comes alone; the others do not get in its way.
            self.loop.call_later(
                _STAGGER_SECONDS * min(self.rank, 8), self._wanted.set, context=self.context
            )
        self._look_again_soon()
        ids = self.hand.keys() if payload == "*" else payload.split(",")
        for run in list(ids):
            live = self.hand.get(run)
            if live is not None and not live.is_leaving:
                self.lookups.soon(live)

    def _look_again_soon(self) -> None:
        """A row that somebody still held when the claim came by is free a moment later."""
        if self._second_look is None:
            self._second_look = self.loop.call_later(
                _SECOND_LOOK_SECONDS, self._look_again, context=self.context
            )

    def _look_again(self) -> None:
        self._second_look = None
        self._wanted.set()

    def on_polled(self, rows: list[tuple[str, int, bool, Any, str, bool]]) -> None:
        """Takes the ticker's look at the runs this worker holds; called on the loop."""
        held = {row[0]: row for row in rows}
        # Claimed, but the answer never arrived: twice in a row is no claim under way.
        strays = (
            set()
            if self._claiming
            else {(run, row[4]) for run, row in held.items() if run not in self.hand}
        )
        for stray in strays & self._strays:
            self.spawn(self.lookups.query(sql.RELEASE_ONE, stray))
        self._strays = strays
        for live in list(self.hand.values()):
            row = held.get(live.id)
            if live.is_leaving or live.claimed_after_poll:
                live.claimed_after_poll = False
                continue
            if row is None:
                live.on_lost()
                continue
            if row[1] > live.wakes:
                self.lookups.soon(live)
            live.told(cancel_requested=row[2], pause_requested=row[5])
            # Code that waited outside its context may have come to rest since, unseen.
            live.moments.poke()

    def on_lease_lost(self) -> None:
        """The lease is gone: everything in hand is dropped; others go on with it."""
        for live in list(self.hand.values()):
            self.let_go(live)
