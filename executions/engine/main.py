"""The outermost frame of a run's code: find the task, give it its payload, call it."""

from __future__ import annotations

from typing import Any

from executions.engine.context import Context
from executions.engine.failures import contained
from executions.engine.live import LiveRun
from executions.engine.threads import TaskThread
from executions.errors import NotFound
from executions.registry import get_task


async def run_code(live: LiveRun) -> Any:
    """What the task's function returns."""
    try:
        task = get_task(live.row["task"])
    except NotFound as error:
        live.needs_attention(
            f"Run {live.id} is of a task that this worker does not know. {error.message} Deploy "
            "its code, then release the run."
        )
        return None
    live.task_retry = task.retry
    payload = task.parse(live.row["payload"])
    try:
        if task.is_async:
            return await task.function(payload, Context(live))
        live.thread = TaskThread(live, task, payload)
        return await live.thread.run()
    except (SystemExit, KeyboardInterrupt) as error:
        raise contained(error) from error
