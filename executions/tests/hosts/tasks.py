"""Steps that leave a line with the host's name for each effect."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

from executions.engine.context import Context
from executions.registry import task
from executions.tests.cluster_tasks import note

STEPS = 25


def effect(path: str, run_id: str, number: int) -> int:
    """Takes a moment, says when and where, and gives the number back."""
    time.sleep(0.1)
    note(path, f"{run_id} {number} {socket.gethostname()} {time.time()}")
    return number


def gate(path: str) -> None:
    """Waits until the test has everybody where it wants them."""
    while not Path(path + ".open").exists():
        time.sleep(0.05)


@task("hosts.steps")
async def steps(payload: dict[str, Any], ctx: Context) -> list[int]:
    """A few seconds of work in short steps, once the gate is open."""
    await ctx.step("gate", gate, payload["path"])
    return [
        await ctx.step(f"step {number}", effect, payload["path"], ctx.run_id, number)
        for number in range(STEPS)
    ]
