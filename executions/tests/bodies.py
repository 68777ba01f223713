"""Bodies of steps that tests can watch, hold and release."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from typing import Any

from executions.engine.context import current_step
from executions.engine.executor import Executor
from executions.models import Run
from executions.rules.retry import Retry
from executions.tests.conftest import eventually, until_status

ONCE = Retry(max_attempts=1)
AT_ONCE = Retry(max_attempts=3, min_timeout=0, randomize=False)

# The steps whose bodies ran, by run, in order; once per attempt.
ran: defaultdict[str, list[str]] = defaultdict(list)


def noted(value: Any = None) -> Any:
    """A body that says it ran and gives its argument back."""
    step = current_step()
    ran[step.run_id].append(step.step)
    return value


async def noted_async(value: Any = None) -> Any:
    """The same on the event loop."""
    return noted(value)


class Gate:
    """A body that waits until the test lets it through."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._open = threading.Event()

    def until_reached(self) -> None:
        """Returns when a body waits here."""
        assert self._reached.wait(10), "No body came to the gate."

    def open(self) -> None:
        """Lets everybody through from now on."""
        self._open.set()

    def on_thread(self, value: Any = None) -> Any:
        """The body of a step on a thread."""
        noted()
        self._reached.set()
        assert self._open.wait(10), "Nobody opened the gate."
        return value

    async def on_loop(self, value: Any = None) -> Any:
        """The body of a step on the event loop."""
        noted()
        self._reached.set()
        while not self._open.is_set():
            await asyncio.sleep(0.005)
        return value


def until_parked(executor: Executor, run_id: str) -> Run:
    """The run once it waits and has left the executor's memory."""
    run = until_status(run_id, "WAITING")
    eventually(lambda: run_id not in executor.hand)
    return run
