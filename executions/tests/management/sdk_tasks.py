"""Tasks that the SDK's scripts trigger."""

from __future__ import annotations

from typing import Any

from executions.engine.context import Context
from executions.registry import task
from executions.rules.retry import Retry

ONCE = Retry(max_attempts=1)


@task("sdk.echo")
async def echo(payload: Any, ctx: Context) -> Any:
    """Gives back what it was given."""
    return payload


@task("sdk.fail", retry=ONCE)
async def fail(payload: Any, ctx: Context) -> None:
    """Ends badly."""
    raise ValueError(f"no luck with {payload!r}")


@task("sdk.sleep")
async def sleep(payload: Any, ctx: Context) -> Any:
    """Waits for so many seconds."""
    ctx.metadata.set("asleep", True)
    await ctx.sleep(payload["seconds"])
    return payload


@task("sdk.family")
async def family(payload: Any, ctx: Context) -> Any:
    """Starts a child, and waits for it."""
    result = await ctx.trigger_and_wait("sdk.echo", {"from": "parent"})
    return result.output


@task("sdk/slashed", queue="sdk shared/queue")
async def odd(payload: Any, ctx: Context) -> str:
    """Has a name that needs care in an address; so has its queue."""
    return "odd"


@task("sdk.ask")
async def ask(payload: Any, ctx: Context) -> Any:
    """Waits for a token, and says which."""
    token = await ctx.create_token("question", timeout=600)
    ctx.metadata.set("token", token.id)
    answer = await ctx.wait_for_token(token)
    return answer.output


@task("sdk.token", retry=ONCE)
async def token(payload: Any, ctx: Context) -> Any:
    """Waits for the token it is given."""
    answer = await ctx.wait_for_token(payload)
    return {"ok": answer.ok, "output": answer.output}
