"""What the scale proofs run: a run that waits, and one that only starts."""

from __future__ import annotations

from typing import Any

from executions.engine.context import Context
from executions.registry import task


@task("scale.waiter")
async def waiter(payload: dict[str, Any], ctx: Context) -> Any:
    """Waits for its token, then returns what came."""
    answer = await ctx.wait_for_token(await ctx.create_token("token", timeout="7d"))
    return answer.output


@task("scale.probe")
async def probe(payload: dict[str, Any], ctx: Context) -> None:
    """Shows by its start how long a claim took."""
