"""What the soak runs: a task for each way in which a run spends its life."""

from __future__ import annotations

from typing import Any

from executions.engine.context import Context
from executions.registry import task

SLEEP_SECONDS = 3.0
"""Longer than what a run sits out in memory, so that it parks."""


async def body(number: int) -> dict[str, Any]:
    """A small step with some output."""
    return {"number": number, "text": "x" * 200}


def plain_body(number: int) -> dict[str, Any]:
    """The same on a thread."""
    return {"number": number, "text": "y" * 200}


@task("soak.steps")
async def steps(payload: dict[str, Any], ctx: Context) -> int:
    """Ten steps, two of them plain functions, and metadata that changes."""
    for number in range(10):
        await ctx.step(f"step {number}", plain_body if number % 5 == 4 else body, number)
        ctx.metadata.set("done", number + 1)
    return 10


@task("soak.token")
async def token(payload: dict[str, Any], ctx: Context) -> bool:
    """A step, a wait for somebody outside, a step."""
    await ctx.step("before", body, 1)
    answer = await ctx.wait_for_token(await ctx.create_token("answer", timeout="10m"))
    await ctx.step("after", body, 2)
    return answer.ok


@task("soak.child")
async def child(payload: dict[str, Any], ctx: Context) -> int:
    """One of the parent's children."""
    await ctx.step("step", body, payload["number"])
    return int(payload["number"])


@task("soak.parent")
async def parent(payload: dict[str, Any], ctx: Context) -> int:
    """Three children at once."""
    numbers = [{"number": number} for number in range(3)]
    results = await ctx.batch_trigger_and_wait(child, numbers)
    return sum(result.unwrap() for result in results)


@task("soak.sleep")
async def sleep(payload: dict[str, Any], ctx: Context) -> int:
    """A step, a nap out of memory, a step."""
    await ctx.step("before", body, 1)
    await ctx.sleep(seconds=SLEEP_SECONDS)
    await ctx.step("after", body, 2)
    return 2


SHAPES = (
    "soak.steps", "soak.token", "soak.steps", "soak.parent", "soak.steps", "soak.sleep",
    "soak.token", "soak.sleep", "soak.steps", "soak.parent",
)  # fmt: skip
