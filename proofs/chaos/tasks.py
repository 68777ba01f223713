"""Tasks of mixed shapes. Each body leaves a line in the effects file; each run checks itself."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from typing import Any

from django.db import connection

from executions.engine.context import Context, StepContext, current_step
from executions.registry import task
from executions.rules.retry import Retry
from proofs.chaos.place import EFFECTS

ONCE = Retry(max_attempts=1)
QUICK = Retry(max_attempts=4, min_timeout=0.05, max_timeout=0.3)
# Longer than a worker keeps a waiting run in memory.
PARKS = Retry(max_attempts=4, min_timeout=1.1, max_timeout=1.5)
SIGNALS = 3

Payload = dict[str, Any]


class Planned(Exception):
    """An attempt that was meant to fail."""


def _write(step: StepContext, began: float) -> None:
    """One line per body, whole even when many processes write and one is killed; no fsync."""
    line = json.dumps([step.run_id, step.step, step.attempt, began, time.time(), os.getpid()])
    file = os.open(os.environ[EFFECTS], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(file, (line + "\n").encode())
    finally:
        os.close(file)


def note(value: int, failures: int = 0, pause: float = 0.0) -> int:
    """A plain body, on a thread; its first `failures` attempts fail after their effect."""
    began, step = time.time(), current_step()
    if pause:
        time.sleep(pause)
    _write(step, began)
    if step.attempt <= failures:
        raise Planned
    return value


async def anote(value: int, failures: int = 0, pause: float = 0.0) -> int:
    """The same on the event loop."""
    began, step = time.time(), current_step()
    if pause:
        await asyncio.sleep(pause)
    _write(step, began)
    if step.attempt <= failures:
        raise Planned
    return value


def row(value: int) -> int:
    """A transactional body: its row and its step are one commit."""
    began, step = time.time(), current_step()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO proofs_row (run, key) VALUES (%s, %s)", [step.run_id, step.step]
        )
    _write(step, began)
    return value


def die() -> None:
    """Kills the worker, as running out of memory does."""
    os.kill(os.getpid(), signal.SIGKILL)


@task("chaos.poison", retry=ONCE)
async def poison(payload: Payload, ctx: Context) -> None:
    """Kills every worker that runs it."""
    await ctx.step("die", die)


@task("chaos.sequence", retry=ONCE)
async def sequence(payload: Payload, ctx: Context) -> int:
    """Steps of every kind, retries, sleeps and events, one after the other."""
    chance = random.Random(payload["seed"])
    count = chance.randint(5, 14)
    for number in range(count):
        assert await _one_of_many(ctx, chance, number) == number
    return count


async def _one_of_many(ctx: Context, chance: random.Random, number: int) -> int:
    kinds = ("thread", "async", "pure", "retry", "park", "sleep", "long sleep", "emit", "row")
    kind, key, pause = chance.choice(kinds), f"s{number}", chance.choice([0, 0.01, 0.05])
    value: int = number
    if kind == "thread":
        value = await ctx.step(key, note, number, 0, pause)
    elif kind == "async":
        value = await ctx.step(key, anote, number, 0, pause)
    elif kind == "pure":
        value = await ctx.step(f"pure {number}", lambda: number, pure=True)
    elif kind == "retry":
        value = await ctx.step(key, anote, number, chance.randint(1, 2), retry=QUICK)
    elif kind == "park":
        value = await ctx.step(key, note, number, 1, retry=PARKS)
    elif kind == "row":
        value = await ctx.step(f"row {number}", row, number, transactional=True)
    elif kind == "sleep":
        await ctx.sleep(chance.choice([0.01, 0.3]))
    elif kind == "long sleep":
        await ctx.sleep(chance.choice([1.2, 2.5]))
    else:
        ctx.emit("note", {"number": number})
        ctx.metadata.set("number", number)
        ctx.metadata.increment("notes")
    return value


@task("chaos.plain", retry=ONCE)
def plain(payload: Payload, ctx: Any) -> int:
    """A plain `def` task: steps, retries, rows, sleeps and tokens on its own thread."""
    chance = random.Random(payload["seed"])
    count = chance.randint(4, 9)
    for number in range(count):
        kind = chance.choice(["step", "step", "sleep", "token", "row", "retry"])
        if kind == "step":
            assert ctx.step(f"s{number}", note, number, 0, chance.choice([0, 0.03])) == number
        elif kind == "retry":
            assert ctx.step(f"s{number}", note, number, 1, retry=QUICK) == number
        elif kind == "row":
            assert ctx.step(f"row {number}", row, number, transactional=True) == number
        elif kind == "sleep":
            ctx.sleep(chance.choice([0.05, 1.3]))
        else:
            token = ctx.create_token(f"t{number}", tags=["external"])
            assert ctx.wait_for_token(token).ok
    return count


@task("chaos.race", retry=ONCE)
async def race(payload: Payload, ctx: Context) -> list[int]:
    """Branches race; what ends first decides which steps come next."""
    chance = random.Random(payload["seed"])
    order: list[int] = []
    pending = {
        asyncio.ensure_future(_racer(payload["seed"], number, ctx))
        for number in range(chance.randint(2, 5))
    }
    turn = 0
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        order += sorted(racer.result() for racer in done)
        await ctx.step(f"after {turn} {'-'.join(map(str, order))}", note, turn)
        turn += 1
    return order


async def _racer(seed: str, racer: int, ctx: Context) -> int:
    branch, chance = ctx.branch(f"b{racer}"), random.Random(f"{seed}-{racer}")
    for number in range(chance.randint(1, 4)):
        kind = chance.choice(["thread", "async", "sleep", "token", "pure"])
        pause = chance.choice([0, 0.02])
        if kind == "thread":
            await branch.step(f"s{number}", note, number, 0, pause)
        elif kind == "async":
            await branch.step(f"s{number}", anote, number, chance.randint(0, 1), pause, retry=QUICK)
        elif kind == "pure":
            await branch.step(f"pure {number}", lambda: 0, pure=True)
        elif kind == "sleep":
            await branch.sleep(chance.choice([0.02, 0.2, 1.2]))
        else:
            token = await branch.create_token(f"t{number}", tags=["external"])
            await branch.step(f"x{number}", anote, number, 0, 0.02)
            assert (await branch.wait_for_token(token)).ok
    return racer


@task("chaos.child", retry=ONCE)
async def child(payload: Payload, ctx: Context) -> dict[str, int]:
    """A child, perhaps with children of its own."""
    number = payload["number"]
    if payload["depth"] > 0:
        below = [{"number": each, "depth": payload["depth"] - 1} for each in range(2)]
        results = await ctx.batch_trigger_and_wait("chaos.child", below)
        assert [result.unwrap()["number"] for result in results] == [0, 1]
    await ctx.step("c", note, number)
    if number % 3 == 1:
        await ctx.sleep(1.2)
    return {"number": number}


@task("chaos.parent", retry=ONCE)
async def parent(payload: Payload, ctx: Context) -> list[int]:
    """Children in a batch, alone and in branches."""
    chance = random.Random(payload["seed"])
    count = chance.randint(1, 12)
    batch = [{"number": number, "depth": 0} for number in range(count)]
    results = await ctx.batch_trigger_and_wait("chaos.child", batch)
    assert [result.unwrap()["number"] for result in results] == list(range(count))
    deep = {"number": 0, "depth": chance.randint(0, 2)}
    assert (await ctx.trigger_and_wait("chaos.child", deep)).ok

    async def one(number: int) -> int:
        branch = ctx.branch(f"k{number}")
        one_child = {"number": number, "depth": 0}
        result = await branch.trigger_and_wait("chaos.child", one_child)
        return await branch.step("s", note, result.unwrap()["number"])

    return list(await asyncio.gather(*[one(number) for number in range(3)]))


@task("chaos.tokens", retry=ONCE)
async def tokens(payload: Payload, ctx: Context) -> int:
    """Tokens completed from outside, awaited in branches, and one that times out."""
    chance = random.Random(payload["seed"])
    count = chance.randint(1, 3)
    made = [await ctx.create_token(f"e{number}", tags=["external"]) for number in range(count)]
    late = await ctx.create_token("late", timeout=chance.choice([0.3, 1.5, 2.5]))
    await ctx.step("mid", anote, 1, 0, chance.choice([0, 0.1, 0.2]))

    async def wait(number: int) -> bool:
        branch = ctx.branch(f"w{number}")
        await branch.step("pre", anote, number, 0, 0.01 * number)
        result = await branch.wait_for_token(made[number])
        await branch.step("post", note, number)
        return result.ok

    assert all(await asyncio.gather(*[wait(number) for number in range(count)]))
    result = await ctx.wait_for_token(late)
    assert not result.ok
    assert result.error is not None
    assert result.error["type"] == "timeout"
    await ctx.step("row end", row, 1, transactional=True)
    return count


@task("chaos.signals", retry=ONCE)
async def signals(payload: Payload, ctx: Context) -> list[int]:
    """Signals, each consumed once and in order, with steps in between."""
    got = []
    for number in range(SIGNALS):
        for part in range(8):
            await ctx.step(f"s{number}.{part}", anote, part)
        got.append((await ctx.wait_for_signal("go")).unwrap())
    assert got == list(range(SIGNALS)), got
    return got


@task("chaos.cancelled", retry=ONCE)
async def cancelled(payload: Payload, ctx: Context) -> None:
    """Waits until it is cancelled, and cleans up in two steps."""
    chance = random.Random(payload["seed"])
    try:
        for number in range(6):
            await ctx.step(f"s{number}", chance.choice([note, anote]), number, 0, 0.05)
            if chance.random() < 0.3:
                await ctx.sleep(1.1)
        await ctx.wait_for_token(await ctx.create_token("never"))
    finally:
        await ctx.step("clean", note, 1)
        await ctx.step("row clean", row, 1, transactional=True)
