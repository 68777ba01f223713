"""Restate: its services, served by hypercorn (`benchmarks.peers.restate_services:app`).

A handler hands the client what it cannot ask for by leaving a file in the drop directory: the id
of an awakeable it waits for, the clock value at which a run ended.
"""
# Type checking has no look into a library that only this peer's environment holds.
# mypy: disable-error-code="import-not-found, untyped-decorator"

import os
import time
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import restate
from restate import Context, Service

DROP = Path(os.environ["FLOWMAESTRO_BENCH_DROP"])
ENDS = os.open(DROP / f"ends.{os.getpid()}", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

hot = Service("hot")
cold = Service("cold", inactivity_timeout=timedelta(0))
"""Suspends a waiting run at once; `hot` keeps it in memory for a minute, which is the default."""
long = Service("long", inactivity_timeout=timedelta(seconds=1))


async def body(number: int) -> dict[str, int]:
    """The trivial body of every step."""
    return {"i": number}


async def keep(value: Any) -> Any:
    """Record a value, so that a resumed run returns what its first execution saw."""
    return value


async def publish(key: str, awakeable: str) -> bool:
    """Hand an awakeable's id to the client, whole or not at all."""
    draft = DROP / f"{key}.draft"
    draft.write_text(awakeable)
    draft.rename(DROP / key)
    return True


@hot.handler()
async def sequence(ctx: Context, steps: int) -> list[float]:
    """W1, W3: first and last line."""
    first_line = time.monotonic()
    for number in range(steps):
        await ctx.run_typed("step", body, number=number)
    return [first_line, time.monotonic()]


@hot.handler()
async def reported_sequence(ctx: Context, steps: int) -> bool:
    """W2: as `sequence`; appends its end to a file, so that the client need not ask the server."""
    for number in range(steps):
        await ctx.run_typed("step", body, number=number)
    os.write(ENDS, b"%.6f\n" % time.monotonic())
    return True


@hot.handler()
async def waiter(ctx: Context, key: str) -> float:
    """W4: the line after the token."""
    return await _wait_for_token(ctx, key)


@cold.handler()
async def released_waiter(ctx: Context, key: str) -> float:
    """W4 out of memory: the line after the token."""
    return await _wait_for_token(ctx, key)


@cold.handler()
async def parked(ctx: Context, nothing: None) -> None:
    """W6: waits for a token that never comes."""
    _, promise = ctx.awakeable()
    await promise


@hot.handler()
async def child(ctx: Context, number: int) -> int:
    """One of W5's children."""
    await ctx.run_typed("step", body, number=number)
    return number


@hot.handler()
async def parent(ctx: Context, children: int) -> float:
    """W5: seconds from first line until every child has ended."""
    first_line = time.monotonic()
    await restate.gather(*[ctx.service_call(child, number) for number in range(children)])
    return time.monotonic() - first_line


@long.handler()
async def long_run(ctx: Context, order: dict[str, Any]) -> list[Any]:
    """W7: the seconds of each step, and the line after the token."""
    lines = [time.monotonic()]
    for number in range(order["steps"]):
        await ctx.run_typed("step", body, number=number)
        lines.append(time.monotonic())
    passed = [after - before for before, after in pairwise(lines)]
    spent = await ctx.run_typed("keep", keep, value=passed)
    return [spent, await _wait_for_token(ctx, order["key"])]


async def _wait_for_token(ctx: Context, key: str) -> float:
    awakeable, promise = ctx.awakeable()
    await ctx.run_typed("publish", publish, key=key, awakeable=awakeable)
    await promise
    return time.monotonic()


app = restate.app(services=[hot, cold, long])
