"""A worker that moves only when told: the engine's own executor and ticker, driven by hand."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.backends.utils import CursorWrapper

from executions.engine.connections import connect
from executions.engine.executor import Executor
from executions.engine.flush import Result
from executions.engine.journal import Journal
from executions.engine.live import LiveRun
from executions.engine.rows import Batch
from executions.engine.ticker import Ticker
from executions.rules.statuses import StepStatus
from executions.testing.clock import FrozenClock

# How long code at work goes unwatched: what it waits for outside its context says nothing here.
_WATCH_SECONDS = 0.05
_PASSES = 5


class Restless(Exception):
    """A run was resumed over and over again while the clock stood still."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id


class HandTicker(Ticker):
    """What a ticker does, on the test's own thread and only when told."""

    def __init__(self, executor: Executor, dead: Sequence[str]) -> None:
        super().__init__(executor)
        self.dead = list(dead)

    def start(self) -> None:
        """Nothing: nobody ticks but the test."""

    def stop(self) -> None:
        """Says that this worker is gone."""
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE executions_worker SET dead_at = flowmaestro_now() WHERE id = %s",
                [self.worker_id],
            )

    def wake_at(self, seconds: float) -> None:
        """Nothing: the test looks for the next timer itself."""

    def tick(self) -> None:
        """Does everything that is due now; an error is the test's to see."""
        with connection.cursor() as cursor:
            for part in self.parts():
                part(cursor)

    def beat(self) -> None:
        """The clock has moved: this worker was alive all the while."""
        self._beaten_at = -math.inf
        with connection.cursor() as cursor:
            self._beat(cursor)

    def _patience(self) -> float:
        return self._lease

    def _dead_neighbours(self, cursor: CursorWrapper) -> list[str]:
        return self.dead


class HandWorker(Executor):
    """An executor that claims only inside `settle`, and whose every wait parks at once.

    With a capacity of one, runs go one after the other, in the order in which they fell due.
    """

    linger = 0.0
    # Back-offs without their random part.
    spread = staticmethod(min)

    def __init__(self, now: datetime, *, capacity: int, dead: Sequence[str] = ()) -> None:
        super().__init__()
        self.virtual_clock = FrozenClock(now)
        self.clock = self.virtual_clock
        self.hand_ticker = HandTicker(self, dead)
        self.ticker = self.hand_ticker
        self.capacity = capacity
        self.is_killed = False
        # The key of a step: this worker dies when one of that name is durable.
        self.dies_after: str | None = None
        self._resumed: Counter[str] = Counter()

    async def _open(self) -> None:
        self.journal = Journal(
            lambda: connect("journal", patience_ms=100), on_woken=self._wanted.set
        )
        self.spawn(self.journal.run())
        self.spawn(self._listen())
        # From the moment it listens, no news of a run in hand escapes it.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await self._wanted.wait()

    # ---- driven by the test ---------------------------------------------------------------------

    async def settle(self, limit: int) -> None:
        """Claims and advances until no run is due and none is in hand, or the worker is killed.

        Raises Restless for a run that is resumed more than `limit` times.
        """
        self._resumed.clear()
        while not self.is_killed:
            self._wanted.clear()
            free = self.capacity - len(self.hand)
            taken = await self._claim(free) if free > 0 else 0
            restless = next((run for run, n in self._resumed.items() if n > limit), None)
            if restless is not None:
                raise Restless(restless)
            if not taken and not self.hand:
                break
            if taken < free or free <= 0:
                await self._news()
        await self._let_code_end()

    async def _news(self) -> None:
        try:
            async with asyncio.timeout(_WATCH_SECONDS):
                await self._wanted.wait()
        except TimeoutError:
            for live in self.hand.values():
                if not live.is_leaving:
                    live.moments.poke()

    async def _let_code_end(self) -> None:
        """Code that was dropped with a parked run gets its CancelledError in the next passes."""
        for _ in range(_PASSES):
            await asyncio.sleep(0)

    def _begin(self, live: LiveRun) -> None:
        if self.is_killed:
            return
        self._resumed[live.id] += 1
        if self.dies_after is not None:
            self._watch(live, self.dies_after)
        super()._begin(live)

    def _watch(self, live: LiveRun, key: str) -> None:
        go_on = live.on_flushed

        def on_flushed(batch: Batch, result: Result) -> None:
            row = batch.steps.get(key)
            if row is not None and row.status == StepStatus.COMPLETED:
                self.die()
            else:
                go_on(batch, result)

        live.on_flushed = on_flushed  # type: ignore[method-assign]

    def _count_abandoned(self, job: concurrent.futures.Future[Any]) -> None:
        """A test's process is not to be replaced, however many threads hang."""

    # ---- a killed worker ------------------------------------------------------------------------

    def die(self) -> None:
        """What a kill does: nothing of what is in hand is written any more. On the loop only."""
        self.is_killed = True
        self.stopping = True
        for live in list(self.hand.values()):
            self.let_go(live)
        self._wanted.set()

    def kill(self) -> None:
        """Ends this worker as a kill would: no run is released, no farewell is written."""
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._die(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.pool.shutdown(wait=False, cancel_futures=True)

    async def _die(self) -> None:
        self.die()
        await self._let_code_end()
