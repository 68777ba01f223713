"""long-running: work of up to an hour a try, which goes on where its last heartbeat was."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from typing import Any

from executions.engine.context import Context, StepContext, current_step
from executions.errors import Invalid, NotFound
from executions.registry import task
from executions.rules.retry import NO_RETRY, Retry
from executions.rules.values import Json

HEARTBEAT_SECONDS = 30.0
STEP_SECONDS = 60 * 60.0
RETRY = Retry(max_attempts=5, min_timeout=1, max_timeout=60)

Work = Callable[["Progress", Any], Any]
_works: dict[str, Work] = {}


class Progress:
    """How far the work has come. What is reported last is where the next try goes on.

    `last`: what the try before reported, None in the first one. `attempt`: which try this is.
    """

    def __init__(self, step: StepContext) -> None:
        self._step = step
        self._details = self.last = step.last_heartbeat
        self.attempt = step.attempt
        self._ended = threading.Event()

    def report(self, details: Json) -> None:
        """Stores how far the work has come. Raises RunGone when the run was cancelled or lost."""
        self._details = details
        self._step.heartbeat(details)

    def keep_alive(self) -> None:
        """Beats until `end`, so that a long stretch without a report is not taken for a hang."""
        while not self._ended.wait(HEARTBEAT_SECONDS):
            if self._step.is_dead:
                return
            self._step.heartbeat(self._details)

    def end(self) -> None:
        """The work is over."""
        self._ended.set()


def long_work(name: str) -> Callable[[Work], Work]:
    """Registers `function(progress, input)`, a plain function, as work of that name."""

    def register(function: Work) -> Work:
        if inspect.iscoroutinefunction(function):
            raise Invalid("Long work is a plain function; it runs on a thread.", field="work")
        known = _works.get(name)
        if known is not None and known.__qualname__ != function.__qualname__:
            raise Invalid(f'There is long work called "{name}" already.', field="name")
        _works[name] = function
        return function

    return register


@task("long-running", retry=NO_RETRY)
async def long_running(payload: dict[str, Any], ctx: Context) -> Any:
    """The result of the work named `payload["work"]`, given `payload["input"]`."""
    name = payload.get("work")
    work = _works.get(name) if isinstance(name, str) else None
    if work is None:
        known = ", ".join(sorted(_works)) or "none"
        raise NotFound(
            f"There is no long work called {name!r}. Registered: {known}.", field="payload.work"
        )
    return await ctx.step(
        "work", carry_out, work, payload.get("input"), retry=RETRY, timeout=STEP_SECONDS,
        heartbeat_timeout=3 * HEARTBEAT_SECONDS, kind="long-running",
    )  # fmt: skip


def carry_out(work: Work, given: Any) -> Any:
    """Runs the work with a thread beside it that beats."""
    progress = Progress(current_step())
    beats = threading.Thread(target=progress.keep_alive, name="heartbeat", daemon=True)
    beats.start()
    try:
        return work(progress, given)
    finally:
        progress.end()
