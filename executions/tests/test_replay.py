"""Replay: a run that left memory decides again as it did, and changed code is noticed."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from executions import runs, tokens
from executions.engine.context import Context
from executions.engine.executor import Executor
from executions.models import RunEvent
from executions.registry import task
from executions.rules.retry import NO_RETRY
from executions.tests.conftest import eventually, until_status

calls: Counter[str] = Counter()
shape: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    calls.clear()
    shape.clear()


async def count(name: str, pause: float = 0.0) -> str:
    calls[name] += 1
    if pause:
        await asyncio.sleep(pause)
    return name


async def pause_for_token(ctx: Context, name: str = "gate") -> Any:
    token = await ctx.create_token(name)
    ctx.metadata.set(name, token.id)
    return (await ctx.wait_for_token(token)).output


def complete(run_id: str, name: str = "gate", output: Any = None) -> None:
    run = until_status(run_id, "WAITING")
    tokens.complete(run.data.metadata[name], output)


@task("replay.race")
async def race(payload: Any, ctx: Context) -> Any:
    """Three branches of different speed; who came first is decided by asyncio.wait."""
    order = []

    async def branch(name: str, pause: float) -> str:
        scope = ctx.branch(name)
        await scope.step("work", count, name, pause)
        return name

    pending = {
        asyncio.create_task(branch(name, pause))
        for name, pause in (("slow", 0.09), ("fast", 0.01), ("middle", 0.05))
    }
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        order.append(sorted(one.result() for one in done))
    await pause_for_token(ctx)
    first = order[0][0]
    return {"order": order, "first": await ctx.step(f"after {first}", count, "after")}


def test_a_resumed_run_sees_branches_finish_in_the_recorded_order(executor: Executor) -> None:
    handle = race.trigger()
    complete(handle.id)
    assert handle.result(timeout=5) == {
        "order": [["fast"], ["middle"], ["slow"]],
        "first": "after",
    }
    assert calls == {"fast": 1, "middle": 1, "slow": 1, "after": 1}


@task("replay.together")
async def together(payload: Any, ctx: Context) -> Any:
    """Eight branches end in one flush; the decision must still be the same afterwards."""

    async def branch(number: int) -> int:
        await ctx.branch(f"b{number}").step("work", count, f"b{number}")
        return number

    pending = {asyncio.create_task(branch(number)) for number in range(8)}
    rounds = []
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        rounds.append(sorted(one.result() for one in done))
    shape.setdefault("seen", []).append(rounds)
    await pause_for_token(ctx)
    return rounds


def test_branches_that_end_in_one_flush_are_seen_one_by_one_live_and_replayed(
    executor: Executor,
) -> None:
    handle = together.trigger()
    complete(handle.id)
    result = handle.result(timeout=5)
    live, replayed = shape["seen"]
    assert live == replayed == result
    assert all(len(found) == 1 for found in live)


@task("replay.changed", retry=NO_RETRY)
async def changed(payload: Any, ctx: Context) -> Any:
    for name in shape["steps"]:
        await ctx.step(name, count, name)
    await pause_for_token(ctx)
    for name in shape.get("later", ()):
        await ctx.step(name, count, name)
    return "done"


def test_a_recorded_step_that_the_code_no_longer_asks_for_needs_attention(
    executor: Executor,
) -> None:
    shape["steps"] = ["charge", "ship"]
    handle = changed.trigger()
    until_status(handle.id, "WAITING")
    shape["steps"] = ["charge"]
    complete(handle.id)
    run = until_status(handle.id, "NEEDS_ATTENTION")
    assert run.error is not None
    assert handle.id in run.error["message"]
    assert '"ship"' in run.error["message"]
    assert "ctx.patched" in run.error["message"]

    shape["steps"] = ["charge", "ship"]
    runs.release(handle.id)
    assert handle.result(timeout=5) == "done"
    assert calls == {"charge": 1, "ship": 1}


@task("replay.kind", retry=NO_RETRY)
async def other_kind(payload: Any, ctx: Context) -> Any:
    if shape["kind"] == "step":
        await ctx.step("wait a bit", count, "x")
    else:
        await ctx.sleep(0.01, name="wait a bit")
    await pause_for_token(ctx)
    return "done"


def test_a_key_recorded_as_another_kind_needs_attention(executor: Executor) -> None:
    shape["kind"] = "step"
    handle = other_kind.trigger()
    until_status(handle.id, "WAITING")
    shape["kind"] = "sleep"
    complete(handle.id)
    run = until_status(handle.id, "NEEDS_ATTENTION")
    assert run.error is not None
    assert "recorded a step" in run.error["message"]
    assert "asks for a sleep" in run.error["message"]


def test_new_steps_behind_the_recorded_ones_just_run(executor: Executor) -> None:
    shape["steps"] = ["one"]
    handle = changed.trigger()
    until_status(handle.id, "WAITING")
    shape["later"] = ["two"]
    complete(handle.id)
    assert handle.result(timeout=5) == "done"
    assert calls == {"one": 1, "two": 1}


@task("replay.ops")
async def operations(payload: Any, ctx: Context) -> Any:
    for number in range(3):
        ctx.metadata.increment("rounds")
        ctx.metadata.append("numbers", number)
        ctx.emit("round", {"number": number})
        await pause_for_token(ctx, f"gate{number}")
    return ctx.metadata.current()


def test_metadata_and_events_of_the_body_are_not_repeated_by_resumes(executor: Executor) -> None:
    handle = operations.trigger(metadata={"from": "outside"})
    for number in range(3):
        eventually(lambda n=number: f"gate{n}" in runs.retrieve(handle.id).data.metadata)
        complete(handle.id, f"gate{number}")
    result = handle.result(timeout=5)
    stored = runs.retrieve(handle.id).data.metadata
    assert stored["rounds"] == result["rounds"] == 3
    assert stored["numbers"] == result["numbers"] == [0, 1, 2]
    assert stored["from"] == "outside"
    events = RunEvent.objects.filter(run_id=handle.id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    rounds = [event.data["number"] for event in events if event.type == "round"]
    assert rounds == [0, 1, 2]


@task("replay.nested")
async def nested(payload: Any, ctx: Context) -> Any:
    """Gathers inside gathers inside a group, with waits at every level."""

    async def leaf(scope: Context, name: str) -> str:
        own = scope.branch(name)
        await own.step("before", count, f"{name} before")
        await own.sleep(1.2)
        return await own.step("after", count, f"{name} after")

    async def middle(name: str) -> list[str]:
        scope = ctx.branch(name)
        return await asyncio.gather(*(leaf(scope, f"{name}{n}") for n in range(3)))

    async with asyncio.TaskGroup() as group:
        jobs = [group.create_task(middle(name)) for name in "xy"]
    return [job.result() for job in jobs]


def test_nested_gathers_park_and_resume_without_repeating_a_step(executor: Executor) -> None:
    handle = nested.trigger()
    until_status(handle.id, "WAITING")
    assert eventually(lambda: handle.id not in executor.hand)
    assert handle.result(timeout=8) == [[f"{name}{n} after" for n in range(3)] for name in "xy"]
    assert set(calls.values()) == {1}
    assert len(calls) == 12


@task("replay.attempts")
async def attempts(payload: Any, ctx: Context) -> Any:
    await ctx.step("kept", count, "kept")
    try:
        await ctx.step("fails first", fail_once, retry=NO_RETRY)
    except Exception:
        await ctx.step("compensate", count, "compensate")
        raise
    return "done"


async def fail_once() -> str:
    calls["fails first"] += 1
    if calls["fails first"] == 1:
        raise ValueError("not yet")
    return "fine"


def test_the_next_attempt_of_a_run_keeps_finished_steps_and_may_take_another_path(
    executor: Executor,
) -> None:
    handle = attempts.trigger()
    assert handle.result(timeout=10) == "done"
    assert calls == {"kept": 1, "fails first": 2, "compensate": 1}
    assert runs.retrieve(handle.id).attempt == 2


def test_a_run_goes_on_in_another_process_where_it_stopped(
    executors: Callable[[], Executor],
) -> None:
    first = executors()
    handle = race.trigger()
    until_status(handle.id, "WAITING")
    first.stop(1)
    executors()
    complete(handle.id)
    assert handle.result(timeout=5)["order"] == [["fast"], ["middle"], ["slow"]]
    assert calls["fast"] == 1


@task("replay.patched", retry=NO_RETRY)
async def patched(payload: Any, ctx: Context) -> Any:
    await ctx.step("first", count, "first")
    if shape.get("new code") and ctx.patched("check twice"):
        await ctx.step("second look", count, "second look")
    await pause_for_token(ctx)
    return "done"


def test_a_marked_change_leaves_runs_under_way_on_their_old_path(executor: Executor) -> None:
    old = patched.trigger()
    until_status(old.id, "WAITING")
    shape["new code"] = True
    new = patched.trigger()
    until_status(new.id, "WAITING")
    assert calls["second look"] == 1
    complete(old.id)
    complete(new.id)
    assert [old.result(timeout=5), new.result(timeout=5)] == ["done", "done"]
    assert calls == {"first": 2, "second look": 1}


@task("replay.bare")
async def bare(payload: Any, ctx: Context) -> str:
    token = await ctx.create_token("gate")
    ctx.metadata.set("gate", token.id)
    waiting = asyncio.create_task(ctx.branch("b").wait_for_token(token))
    await asyncio.sleep(0.3)
    return str((await waiting).output)


def test_a_wait_outside_the_context_keeps_the_run_in_memory_and_debug_mode_warns(
    executor: Executor, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.FLOWMAESTRO = dataclasses.replace(settings.FLOWMAESTRO, DEBUG_RUNS=True)
    handle = bare.trigger()
    eventually(lambda: "waits outside its context" in caplog.text)
    assert runs.retrieve(handle.id).status == "EXECUTING"
    assert caplog.text.count("waits outside its context") == 1
    complete(handle.id, output="in time")
    assert handle.result(timeout=5) == "in time"


@task("replay.memory")
async def memory(payload: bool, ctx: Context) -> str:
    """What attempt 1 did as a remedy, attempt 2 does on its ordinary way."""

    async def side() -> None:
        if payload:
            await ctx.branch("side").step("work", count, "side")

    async def way() -> None:
        scope = ctx.branch("way")
        try:
            await scope.step("fails first", fail_once, retry=NO_RETRY)
        except Exception:
            await scope.step("note it", count, "note it")
            raise
        await scope.step("new", count, "new")
        await scope.step("note it", count, "note it")

    await asyncio.gather(side(), way())
    return await ctx.step("last", count, "last")


@pytest.mark.parametrize("beside", [True, False])
def test_what_an_earlier_attempt_stored_answers_also_behind_new_steps(
    executor: Executor, beside: bool
) -> None:
    assert memory.trigger(beside).result(timeout=10) == "last"
    assert calls["note it"] == calls["new"] == calls["last"] == 1


def test_a_run_of_many_steps_is_resumed_without_a_turn_of_the_loop_for_each(
    executor: Executor,
) -> None:
    shape["steps"] = [f"s{number}" for number in range(1000)]
    handle = changed.trigger()
    complete(handle.id)
    assert handle.result(timeout=10) == "done"
    assert set(calls.values()) == {1}
