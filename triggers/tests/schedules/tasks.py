"""Tasks that tests schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from executions.engine.context import Context
from executions.registry import task
from executions.rules.retry import NO_RETRY


@task("scheduled.plain", retry=NO_RETRY)
async def plain(payload: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Ends at once, with its payload."""
    return payload


@task("scheduled.slow", retry=NO_RETRY)
async def slow(payload: dict[str, Any], ctx: Context) -> str:
    """Takes as long as its payload says, or ten minutes."""
    await ctx.sleep(payload.get("seconds", 600))
    return str(payload["timestamp"])


@task("scheduled.failing", retry=NO_RETRY)
async def failing(payload: dict[str, Any], ctx: Context) -> None:
    """Fails."""
    raise ValueError("It is broken.")


@dataclass(frozen=True)
class Report:
    """What the strict task wants."""

    scheduleId: str
    kind: str


@task("scheduled.strict", retry=NO_RETRY)
async def strict(payload: Report, ctx: Context) -> str:
    """Wants a payload of its own."""
    return payload.kind


@task("scheduled.declared", cron="0 9 * * *", timezone="Europe/Paris")
async def declared(payload: dict[str, Any], ctx: Context) -> None:
    """Runs by itself, each morning."""
