"""The threads of a worker, on which plain functions run."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import logging
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.db import close_old_connections

if TYPE_CHECKING:
    from executions.engine.live import LiveRun

logger = logging.getLogger(__name__)


class StepThreads:
    """A pool of threads for the bodies of steps and for what the engine itself calls."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.pool = concurrent.futures.ThreadPoolExecutor(limit, thread_name_prefix="step")
        self._abandoned: list[concurrent.futures.Future[Any]] = []

    async def on_thread(
        self, live: LiveRun, function: Callable[..., Any], args: tuple[Any, ...]
    ) -> Any:
        """Runs a plain function on a thread; one that is abandoned is remembered."""
        if live.thread is not None:
            return await live.thread.call(function, args)
        job = self._submit(function, args)
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            if not job.cancel():
                live.abandoned.append(job)
                self._count_abandoned(job)
            raise

    async def in_pool(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Runs a plain function that belongs to no step on a thread."""
        return await asyncio.wrap_future(self._submit(function, args))

    def _submit(
        self, function: Callable[..., Any], args: tuple[Any, ...]
    ) -> concurrent.futures.Future[Any]:
        return self.pool.submit(
            contextvars.copy_context().run, self.with_connections, function, args
        )

    def _count_abandoned(self, job: concurrent.futures.Future[Any]) -> None:
        """Threads cannot be ended; a worker that has lost many of them has itself replaced."""
        self._abandoned = [other for other in (*self._abandoned, job) if not other.done()]
        if len(self._abandoned) > self._limit // 2:
            logger.error("Half of the threads hang in functions that overran; this worker ends.")
            self._abandoned.clear()
            os.kill(os.getpid(), signal.SIGTERM)

    def with_connections(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Calls it with this thread's Django connections checked before and after."""
        close_old_connections()
        try:
            return function(*args)
        finally:
            close_old_connections()

    async def threads_ended(self, live: LiveRun) -> None:
        """Returns when the run's abandoned threads have ended: a retry waits for them."""
        jobs, live.abandoned = live.abandoned, []
        if jobs:
            await asyncio.wait([asyncio.wrap_future(job) for job in jobs])
