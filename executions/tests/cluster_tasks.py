"""Tasks that real clusters run in tests; they leave a line in a file for each effect."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from executions.engine.context import Context, current_step
from executions.registry import task


def note(path: str, line: str) -> str:
    """Appends a line, whole even when many processes do so."""
    with Path(path).open("a") as file:
        file.write(line + "\n")
    return line


def slow_note(path: str, line: str, seconds: float) -> str:
    """An effect that takes a while."""
    time.sleep(seconds)
    return note(path, line)


@task("cluster.twenty")
async def twenty(payload: dict[str, Any], ctx: Context) -> list[str]:
    """Twenty steps with an effect each, of 50 ms unless the payload says otherwise."""
    pause = payload.get("seconds", 0.05)
    return [
        await ctx.step(
            f"step {number}", slow_note, payload["path"], f"{ctx.run_id} {number}", pause
        )
        for number in range(20)
    ]


@task("cluster.deadly")
async def deadly(payload: dict[str, Any], ctx: Context) -> str:
    """A poison run: its step kills the worker."""
    return await ctx.step("kill", kill_worker, payload["path"])


def kill_worker(path: str) -> None:
    """Dies like a process that ran out of memory."""
    note(path, f"killed {current_step().run_id}")
    os.kill(os.getpid(), signal.SIGKILL)
