"""How a run leaves memory: to wait, or because an operator holds it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from typing import TYPE_CHECKING, Any

from django.conf import settings

from executions.engine import failpoints
from executions.engine.quiet import Mood
from executions.engine.rows import Move
from executions.engine.waits import Wait
from executions.rules.statuses import RunStatus

if TYPE_CHECKING:
    from executions.engine.live import LiveRun

logger = logging.getLogger(__name__)


class Parking:
    """Decides whether a run at rest may leave, and has the journal write that it does."""

    def __init__(self, live: LiveRun, poke: Callable[[], None]) -> None:
        self.is_under_way = False
        self.until: float | None = None
        # Called once before the run leaves memory to wait: the task's `on_wait`.
        self.before: Callable[[], Coroutine[Any, Any, None]] | None = None
        self.is_told = False
        self._is_telling = False
        self._live = live
        self._poke = poke
        self._has_warned = False
        self._timer: asyncio.TimerHandle | None = None

    def try_to_park(self, state: Mood, waits: Collection[Wait], *, has_news: bool) -> None:
        """Parks the run, or arms the timer of the wait that ends first; a short one is sat out."""
        live = self._live
        now = live.host.clock.now()
        until = min((wait.until for wait in waits if wait.until is not None), default=None)
        is_free = self._is_at_rest(state) and bool(waits) and not has_news and not self._is_telling
        if not is_free or (until is not None and until - now < live.host.linger):
            if until is not None:
                self._arm(until)
            if state is Mood.BLOCKED and not live.bodies and not has_news:
                live.rest()
            if settings.FLOWMAESTRO.DEBUG_RUNS and not live.bodies:
                self._warn(state)
        elif self.before is not None and not self.is_told:
            self.is_told = True
            live.host.spawn(self._tell(self.before))
        else:
            failpoints.hit("park.before")
            self.until = until
            wait = None if until is None else max(0.0, until - now)
            self._leave(
                Move(status=RunStatus.WAITING, event="run.waiting", seen=live.wakes, wait=wait)
            )

    def pause(self, state: Mood) -> None:
        """Lets the bodies under way end and be stored; then the run leaves memory, held."""
        if self._is_at_rest(state):
            self._leave(Move(status=RunStatus.PAUSED, event="run.paused", seen=self._live.wakes))

    def take_back(self) -> None:
        """Somebody woke the run while it was leaving."""
        self.is_under_way = False
        self.until = None

    def stop(self) -> None:
        """No more timers."""
        if self._timer is not None:
            self._timer.cancel()

    def _leave(self, move: Move) -> None:
        self.is_under_way = True
        self._live.outbox.batch.move = move
        self._live.outbox.mark()

    async def _tell(self, before: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._is_telling = True
        try:
            await before()
        finally:
            self._is_telling = False
            self._poke()

    def _is_at_rest(self, state: Mood) -> bool:
        """Whether nothing of the run's goes on here."""
        live = self._live
        return (
            state is Mood.BLOCKED
            and not live.bodies
            and not live.thread_busy
            and not live.reloading
            and not live.outbox.is_awaited
            and not live.has_user_timer()
            and all(job.done() for job in live.abandoned)
        )

    def _warn(self, state: Mood) -> None:
        live = self._live
        outside = state is Mood.FOREIGN or live.has_user_timer()
        if outside and not live.thread_busy and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "Run %s waits outside its context, which keeps it in memory and is forgotten with "
                "it; wait by ctx.sleep and the like.",
                live.id,
            )

    def _arm(self, until: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        live = self._live
        delay = max(0.0, until - live.host.clock.now())
        self._timer = live.loop.call_later(delay, self._poke, context=live.host.context)
