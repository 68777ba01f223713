"""The event loop of a worker process, which knows what belongs to which run."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from contextvars import Context
from typing import Any

from executions.engine.bodies import in_body
from executions.engine.live import LiveRun, current_live
from executions.engine.replay import JournalMismatch


class EngineLoop(asyncio.SelectorEventLoop):
    """Remembers the timers that a run's own code sets: they keep the run in memory."""

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Schedules as usual."""
        handle = super().call_at(when, callback, *args, context=context)
        if context is None:
            live = current_live.get()
            if live is not None and not in_body():
                live.user_timers.append(handle)
        return handle


def make_task(
    loop: asyncio.AbstractEventLoop, coroutine: Any, context: Context | None = None
) -> asyncio.Task[Any]:
    """A task factory: tasks that a run's code makes belong to the run, those of a body do not."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, context=context)
    if context is None:
        live, inside = current_live.get(), in_body()
    else:
        live, inside = context.get(current_live), context.run(in_body)
    if live is not None and not inside:
        live.tasks.add(task)
        task.add_done_callback(functools.partial(_done, live))
    return task


def _done(live: LiveRun, task: asyncio.Task[Any]) -> None:
    live.tasks.discard(task)
    if not task.cancelled():
        error = task.exception()
        if isinstance(error, JournalMismatch):
            live.needs_attention(str(error))
    live.moments.poke()
