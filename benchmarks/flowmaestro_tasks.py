"""FlowMaestro's side of the workloads: tasks with trivial steps, clock values in their outputs."""

import time
from itertools import pairwise
from typing import Any

from executions.engine.context import Context
from executions.registry import task
from executions.rules.retry import Retry

ONCE = Retry(max_attempts=1)


async def body(number: int) -> dict[str, int]:
    """The trivial body of every step."""
    return {"i": number}


async def keep(value: Any) -> Any:
    """Record a value, so that a resumed run returns what its first execution saw."""
    return value


async def read_clock() -> float:
    """The clock as a step: a run that was parked meanwhile still has its first reading."""
    return time.monotonic()


@task("bench-sequence", retry=ONCE)
async def sequence(payload: dict[str, Any], ctx: Context) -> dict[str, float]:
    """W1, W2, W3: first and last line."""
    first_line = time.monotonic()
    for number in range(payload["steps"]):
        await ctx.step(f"step-{number}", body, number)
    return {"first_line": first_line, "last_line": time.monotonic()}


@task("bench-waiter", retry=ONCE)
async def waiter(payload: dict[str, Any], ctx: Context) -> dict[str, float]:
    """W4: the line after the token."""
    await ctx.wait_for_token(await ctx.create_token("token"))
    return {"next_line": time.monotonic()}


@task("bench-child", retry=ONCE)
async def child(payload: dict[str, Any], ctx: Context) -> dict[str, int]:
    """One of W5's children."""
    output: dict[str, int] = await ctx.step("step", body, payload["number"])
    return output


@task("bench-parent", retry=ONCE)
async def parent(payload: dict[str, Any], ctx: Context) -> dict[str, float]:
    """W5: seconds from first line until every child has ended."""
    first_line = await ctx.step("first line", read_clock)
    numbers = [{"number": number} for number in range(payload["children"])]
    results = await ctx.batch_trigger_and_wait(child, numbers)
    last_line = time.monotonic()
    for result in results:
        result.unwrap()
    return {"seconds": last_line - first_line}


@task("bench-long-run", retry=ONCE)
async def long_run(payload: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """W7: the seconds of each step, and the line after the token."""
    lines = [time.monotonic()]
    for number in range(payload["steps"]):
        await ctx.step(f"step-{number}", body, number)
        lines.append(time.monotonic())
    spent = await ctx.step("spent", keep, [after - before for before, after in pairwise(lines)])
    await ctx.wait_for_token(await ctx.create_token("token"))
    return {"spent": spent, "next_line": time.monotonic()}
