"""The family on which actions meet: a parent that waits for the subject, which waits for much."""

from __future__ import annotations

import asyncio
from typing import Any

from executions.engine.context import Context
from executions.registry import task
from executions.rules.retry import NO_RETRY


@task("pairs.parent", retry=NO_RETRY)
async def parent(payload: int, ctx: Context) -> Any:
    """Waits for the subject alone."""
    result = await ctx.trigger_and_wait("pairs.subject", payload)
    return {"ok": result.ok, "output": result.output}


@task("pairs.subject", retry=NO_RETRY)
async def subject(payload: int, ctx: Context) -> Any:
    """Waits for a token, a signal and `payload` children at once."""
    token = await ctx.create_token("token")
    answer, message, ended = await asyncio.gather(
        ctx.branch("a").wait_for_token(token),
        ctx.branch("b").wait_for_signal("go"),
        ctx.branch("c").batch_trigger_and_wait("pairs.child", list(range(payload))),
    )
    return {"token": answer.output, "signal": message.output, "children": [c.ok for c in ended]}


@task("pairs.child", retry=NO_RETRY)
async def child(payload: int, ctx: Context) -> Any:
    """Waits for a token of its own."""
    token = await ctx.create_token("token")
    return (await ctx.wait_for_token(token)).output


@task("pairs.plain", retry=NO_RETRY)
async def plain(payload: Any, ctx: Context) -> Any:
    """A run that has not begun needs no more than this."""
    return payload
