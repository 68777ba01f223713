"""Tasks that pass every fail point between them; each body leaves a line in the effects file."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from django.db import connection

from executions.engine.context import Context, StepContext, current_step
from executions.engine.failures import StepFailed
from executions.registry import task
from executions.rules.retry import NO_RETRY, Retry
from executions.rules.statuses import ParentClose

EFFECTS = "CRASH_EFFECTS"
SOON = Retry(max_attempts=3, min_timeout=0.03, max_timeout=0.05)

# How the runs of each task end.
ENDS = {
    "crash.steps": "COMPLETED",
    "crash.plain": "COMPLETED",
    "crash.flaky": "COMPLETED",
    "crash.failing": "COMPLETED",
    "crash.gated": "COMPLETED",
    "crash.family": "COMPLETED",
    "crash.child": "COMPLETED",
    "crash.waits": "COMPLETED",
    "crash.joins": "COMPLETED",
    "crash.cancelled": "CANCELED",
    "crash.terminated": "CANCELED",
    "crash.waiter": "CANCELED",
    "crash.overdue": "TIMED_OUT",
    "crash.unbegun": "TIMED_OUT",
    "crash.expired": "EXPIRED",
}


def _write(step: StepContext, began: float) -> None:
    line = json.dumps([step.run_id, step.step, step.attempt, began])
    file = os.open(os.environ[EFFECTS], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(file, (line + "\n").encode())
    finally:
        os.close(file)


def note(value: int) -> int:
    """A plain body."""
    _write(current_step(), time.time())
    return value


async def anote(value: int, failures: int = 0) -> int:
    """A body on the loop, whose first attempts fail after their effect."""
    step = current_step()
    _write(step, time.time())
    if step.attempt <= failures:
        raise ValueError("planned")
    return value


def row(value: int) -> int:
    """A transactional body."""
    step = current_step()
    began = time.time()
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO crash_row VALUES (%s, %s)", [step.run_id, step.step])
    _write(step, began)
    return value


@task("crash.steps", retry=NO_RETRY)
async def steps(payload: Any, ctx: Context) -> int:
    """Steps of every kind, a retry, an event, a counter, a sleep."""
    await ctx.step("async", anote, 1)
    await ctx.step("pure", lambda: 2, pure=True)
    await ctx.step("plain", note, 3)
    ctx.emit("note", {"n": 1})
    ctx.metadata.increment("count")
    await ctx.step("row", row, 4, transactional=True)
    await ctx.step("retry", anote, 5, 1, retry=SOON)
    await ctx.sleep(0.05)
    return await ctx.step("last", anote, 6)


@task("crash.plain", retry=NO_RETRY)
def plain(payload: Any, ctx: Any) -> int:
    """A plain `def` task."""
    ctx.step("first", note, 1)
    ctx.step("row", row, 2, transactional=True)
    ctx.sleep(0.03)
    value: int = ctx.step("last", note, 3)
    return value


@task("crash.flaky", retry=Retry(max_attempts=2, min_timeout=0.03, max_timeout=0.05))
async def flaky(payload: Any, ctx: Context) -> int:
    """Its first attempt fails as a whole."""
    ctx.metadata.increment("tries")
    value: int = await ctx.step("kept", anote, 1)
    if ctx.attempt == 1:
        raise ValueError("planned")
    return value


@task("crash.failing", retry=NO_RETRY)
async def failing(payload: Any, ctx: Context) -> int:
    """A step that fails for good, and code that goes on."""
    try:
        await ctx.step("fails", anote, 1, 9, retry=NO_RETRY)
    except StepFailed:
        pass
    return await ctx.step("after", anote, 2)


@task("crash.gated", retry=NO_RETRY, concurrency_limit=1)
async def gated(payload: Any, ctx: Context) -> int:
    """From a queue with a limit."""
    return await ctx.step("only", anote, 1)


@task("crash.child", retry=NO_RETRY)
async def child(payload: int, ctx: Context) -> int:
    """A child."""
    return await ctx.step("only", anote, payload)


@task("crash.waiter", retry=NO_RETRY)
async def waiter(payload: Any, ctx: Context) -> None:
    """Waits for what never comes."""
    await ctx.wait_for_token(await ctx.create_token("never"))


@task("crash.family", retry=NO_RETRY)
async def family(payload: Any, ctx: Context) -> int:
    """Children that it waits for, and two that its end ends."""
    await ctx.trigger("crash.waiter", parent_close=ParentClose.REQUEST_CANCEL)
    await ctx.trigger("crash.waiter", parent_close=ParentClose.TERMINATE)
    results = await ctx.batch_trigger_and_wait("crash.child", [1, 2])
    return sum(result.unwrap() for result in results)


@task("crash.waits", retry=NO_RETRY)
async def waits(payload: Any, ctx: Context) -> int:
    """Tokens, one that times out, and a signal."""
    token = await ctx.create_token("answer", tags=["answer"])
    late = await ctx.create_token("late", timeout=0.1)
    assert (await ctx.wait_for_token(token)).unwrap() == token.id
    assert not (await ctx.wait_for_token(late)).ok
    assert (await ctx.wait_for_signal("go")).unwrap() == "now"
    return await ctx.step("last", anote, 1)


@task("crash.joins", retry=NO_RETRY)
async def joins(payload: str, ctx: Context) -> Any:
    """Waits for a token that was made elsewhere."""
    return (await ctx.wait_for_token(payload)).unwrap()


@task("crash.cancelled", retry=NO_RETRY)
async def cancelled(payload: Any, ctx: Context) -> None:
    """Waits until it is cancelled, and cleans up."""
    try:
        await ctx.wait_for_token(await ctx.create_token("never"))
    finally:
        await ctx.step("row", row, 1, transactional=True)


@task("crash.terminated", retry=NO_RETRY)
async def terminated(payload: Any, ctx: Context) -> None:
    """Waits for a child that waits; both are ended from outside."""
    await ctx.trigger_and_wait("crash.waiter")


@task("crash.overdue", retry=NO_RETRY, run_timeout=0.3)
async def overdue(payload: Any, ctx: Context) -> None:
    """Runs out of time while it waits."""
    await ctx.wait_for_token(await ctx.create_token("never"))


@task("crash.unbegun", retry=NO_RETRY, run_timeout=0.01)
async def unbegun(payload: Any, ctx: Context) -> None:
    """Runs out of time before any worker is there."""


@task("crash.expired", retry=NO_RETRY, ttl=0.01)
async def expired(payload: Any, ctx: Context) -> None:
    """Expires before any worker is there."""
