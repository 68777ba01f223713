"""The outermost frame of a run's code: find the task, give it its payload, call it."""

from __future__ import annotations

from typing import Any

from executions.engine import around
from executions.engine.failures import contained
from executions.engine.live import LiveRun
from executions.engine.threads import TaskThread
from executions.errors import NotFound
from executions.registry import Task, get_task


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
        await around.begin(live, task, payload)
        return await _call(live, task, payload)
    except (SystemExit, KeyboardInterrupt) as error:
        raise contained(error) from error
    except Exception as error:
        raised = await around.caught(live, task, payload, error)
        if raised is error:
            raise
        raise raised from error


async def _call(live: LiveRun, task: Task, payload: Any) -> Any:
    if task.is_async:
        return await around.call(live, task, payload)
    live.thread = TaskThread(live, around.plain_program(live, task), payload)
    try:
        return await live.thread.run()
    finally:
        around.note_cancel(live)
