"""Runs that an operator holds: paused in every status, and resumed as if nothing had been."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from django.db import connection

from executions import runs, tokens
from executions.engine.context import Context, current_step
from executions.errors import Conflict, NotFound
from executions.models import Run, WaitToken
from executions.registry import task
from executions.rules.retry import Retry
from executions.tests.bodies import AT_ONCE, ONCE, Gate, noted, noted_async, ran, until_parked
from executions.tests.conftest import eventually, until_status

gates: dict[str, Gate] = {}
SOON = Retry(max_attempts=3, min_timeout=0.3, factor=1, randomize=False)


@pytest.fixture(autouse=True)
def _gates() -> None:
    gates.clear()
    gates.update({name: Gate() for name in ("one", "two", "hold")})


def until_paused(executor: Any, run_id: str) -> Run:
    """The run once it is held and out of memory."""
    run = until_status(run_id, "PAUSED")
    eventually(lambda: run_id not in executor.hand)
    assert (run.claim, run.worker, run.pause_requested_at) == (None, None, None)
    return run


def types(run_id: str) -> list[str]:
    return [event.type for event in runs.events(run_id)]


# ---- before it began ----------------------------------------------------------------------------


@task("pause.echo", retry=ONCE)
async def echo(payload, ctx: Context):
    return await ctx.step("echo", noted_async, payload)


def test_a_queued_run_is_held_at_once_and_goes_on_when_it_is_resumed(transactional_db, executors):
    handle = echo.trigger(1)
    assert runs.pause(handle.id).status == "PAUSED"
    executors()
    assert echo.trigger(2).result(timeout=5) == 2
    assert handle.retrieve().status == "PAUSED"
    assert runs.resume(handle.id).status in ("QUEUED", "EXECUTING", "COMPLETED")
    assert handle.result(timeout=5) == 1
    assert types(handle.id)[:3] == ["run.queued", "run.paused", "run.queued"]


def test_a_delayed_run_is_delayed_again_and_starts_at_its_own_time(executor):
    handle = echo.trigger(1, delay=0.6)
    before = handle.retrieve().wake_at
    runs.pause(handle.id)
    resumed = runs.resume(handle.id)
    assert (resumed.status, resumed.wake_at) == ("DELAYED", before)
    assert handle.result(timeout=5) == 1
    assert handle.retrieve().started_at >= before


def test_a_delayed_run_whose_time_came_while_it_was_held_starts_when_it_is_resumed(executor):
    handle = echo.trigger(1, delay=0.1)
    runs.pause(handle.id)
    wake_at = handle.retrieve().wake_at
    eventually(lambda: echo.trigger(0).retrieve().created_at > wake_at)
    assert handle.retrieve().status == "PAUSED"
    assert runs.resume(handle.id).status != "DELAYED"
    assert handle.result(timeout=5) == 1


def test_a_run_that_was_held_over_its_ttl_expires_once_it_is_resumed(executor):
    handle = echo.trigger(1, ttl=0.1, delay=0.3)
    expires_at = runs.pause(handle.id).expires_at
    eventually(lambda: echo.trigger(0).retrieve().created_at > expires_at)
    assert handle.retrieve().status == "PAUSED"
    runs.resume(handle.id)
    until_status(handle.id, "EXPIRED")
    assert ran[handle.id] == []


# ---- while it waits -----------------------------------------------------------------------------


@task("pause.token", retry=ONCE)
async def token_task(payload, ctx: Context):
    token = await ctx.create_token("answer", timeout=payload)
    answer = await ctx.wait_for_token(token)
    await ctx.step("after", noted_async)
    return {"ok": answer.ok, "output": answer.output}


def token_of(run_id: str) -> str:
    return WaitToken.objects.get(run_id=run_id).id


def test_a_token_completed_while_its_run_is_held_is_there_when_it_is_resumed(executor):
    handle = token_task.trigger(None)
    until_parked(executor, handle.id)
    runs.pause(handle.id)
    tokens.complete(token_of(handle.id), "yes")
    echo.trigger(0).result(timeout=5)
    assert (handle.retrieve().status, ran[handle.id]) == ("PAUSED", [])
    runs.resume(handle.id)
    assert handle.result(timeout=5) == {"ok": True, "output": "yes"}


def test_a_token_that_times_out_while_its_run_is_held_has_timed_out(executor):
    handle = token_task.trigger(0.3)
    run = until_status(handle.id, "WAITING")
    runs.pause(handle.id)
    eventually(lambda: WaitToken.objects.get(run_id=run.id).status == "TIMED_OUT")
    assert handle.retrieve().status == "PAUSED"
    runs.resume(handle.id)
    assert handle.result(timeout=5) == {"ok": False, "output": None}


def test_a_run_resumed_before_its_token_waits_for_it_again(executor):
    handle = token_task.trigger(None)
    until_parked(executor, handle.id)
    runs.pause(handle.id)
    runs.resume(handle.id)
    until_parked(executor, handle.id)
    tokens.complete(token_of(handle.id), 5)
    assert handle.result(timeout=5) == {"ok": True, "output": 5}


@task("pause.sleeper", retry=ONCE)
async def sleeper(payload, ctx: Context):
    await ctx.sleep(payload)
    return await ctx.step("after", noted_async, "slept")


def test_the_timer_of_a_sleep_goes_on_while_the_run_is_held(executor):
    handle = sleeper.trigger(1.2)
    until_parked(executor, handle.id)
    wake_at = handle.retrieve().wake_at
    runs.pause(handle.id)
    eventually(lambda: echo.trigger(0).retrieve().created_at > wake_at)
    assert (handle.retrieve().status, ran[handle.id]) == ("PAUSED", [])
    runs.resume(handle.id)
    assert handle.result(timeout=1) == "slept"


def test_a_run_resumed_early_sleeps_to_its_end(executor):
    handle = sleeper.trigger(1.5)
    until_parked(executor, handle.id)
    wake_at = handle.retrieve().wake_at
    runs.pause(handle.id)
    runs.resume(handle.id)
    handle.result(timeout=5)
    assert handle.retrieve().finished_at >= wake_at


@task("pause.parent", retry=ONCE)
async def parent(payload, ctx: Context):
    result = await ctx.trigger_and_wait("pause.child", payload)
    return result.output


@task("pause.child", retry=ONCE)
async def child(payload, ctx: Context):
    return await ctx.step("gate", gates["one"].on_loop, payload)


def test_a_child_that_ends_while_its_parent_is_held_is_there_when_it_is_resumed(executor):
    handle = parent.trigger(7)
    gates["one"].until_reached()
    until_parked(executor, handle.id)
    runs.pause(handle.id)
    gates["one"].open()
    (found,) = Run.objects.filter(parent_id=handle.id)
    until_status(found.id, "COMPLETED")
    assert handle.retrieve().status == "PAUSED"
    runs.resume(handle.id)
    assert handle.result(timeout=5) == 7


@task("pause.signal", retry=ONCE)
async def signalled(payload, ctx: Context):
    answer = await ctx.wait_for_signal("go", timeout=payload)
    return answer.output if answer.ok else "none came"


def test_a_signal_sent_while_the_run_is_held_is_there_when_it_is_resumed(executor):
    handle = signalled.trigger()
    until_parked(executor, handle.id)
    runs.pause(handle.id)
    runs.signal(handle.id, "go", "now")
    assert handle.retrieve().status == "PAUSED"
    runs.resume(handle.id)
    assert handle.result(timeout=5) == "now"


@task("pause.attempts", retry=SOON)
async def attempts(payload, ctx: Context):
    noted_by(ctx, "begun")
    if ctx.attempt == 1:
        raise ValueError("once")
    return await ctx.step("done", noted_async, ctx.attempt)


def noted_by(ctx: Any, what: str) -> None:
    ran[ctx.run_id].append(what)


def test_a_run_held_between_two_attempts_begins_none(executor):
    handle = attempts.trigger()
    until_status(handle.id, "WAITING")
    runs.pause(handle.id)
    eventually(lambda: "run.attempt_failed" in types(handle.id))
    until = time.monotonic() + 0.5
    eventually(lambda: time.monotonic() > until)
    assert (handle.retrieve().status, ran[handle.id]) == ("PAUSED", ["begun"])
    runs.resume(handle.id)
    assert handle.result(timeout=5) == 2


@task("pause.step-retry", retry=ONCE)
async def step_retry(payload, ctx: Context):
    return await ctx.step("fails once", fails_once, retry=SOON)


def fails_once() -> int:
    step = current_step()
    noted()
    if step.attempt == 1:
        raise ValueError("once")
    return step.attempt


def test_a_step_that_backs_off_while_its_run_is_held_is_not_tried_before_the_resume(executor):
    handle = step_retry.trigger()
    eventually(lambda: "step.retrying" in types(handle.id))
    runs.pause(handle.id)
    until_paused(executor, handle.id)
    until = time.monotonic() + 0.5
    eventually(lambda: time.monotonic() > until)
    assert ran[handle.id] == ["fails once"]
    runs.resume(handle.id)
    assert handle.result(timeout=5) == 2


# ---- while it executes --------------------------------------------------------------------------


@task("pause.async", retry=ONCE)
async def async_bodies(payload, ctx: Context):
    first = await ctx.step("one", gates["one"].on_loop, 1)
    second = await ctx.step("two", noted_async, first + 1)
    return [first, second]


@task("pause.threads", retry=ONCE)
async def thread_bodies(payload, ctx: Context):
    first = await ctx.step("one", gates["one"].on_thread, 1)
    second = await ctx.step("two", noted, first + 1)
    return [first, second]


@task("pause.plain", retry=ONCE)
def plain(payload, ctx):
    first = ctx.step("one", gates["one"].on_thread, 1)
    noted_by(ctx, "code")
    second = ctx.step("two", noted, first + 1)
    return [first, second]


@task("pause.transactional", retry=ONCE)
async def transactional(payload, ctx: Context):
    first = await ctx.step("one", gates["one"].on_thread, 1, transactional=True)
    second = await ctx.step("two", noted, first + 1, transactional=True)
    return [first, second]


@task("pause.pure", retry=ONCE)
async def pure(payload, ctx: Context):
    first = await ctx.step("one", gates["one"].on_loop, 1, pure=True)
    second = await ctx.step("two", noted_async, first + 1, pure=True)
    return [first, second]


@pytest.mark.parametrize("kind", [async_bodies, thread_bodies, plain, transactional, pure])
def test_a_body_under_way_ends_and_is_stored_and_no_other_begins_before_the_resume(executor, kind):
    handle = kind.trigger()
    gates["one"].until_reached()
    asked = runs.pause(handle.id)
    assert (asked.status, asked.pause_requested_at is not None) == ("EXECUTING", True)
    eventually(lambda: executor.hand[handle.id].pause_requested)
    opened_at = time.monotonic()
    gates["one"].open()
    until_paused(executor, handle.id)
    assert time.monotonic() - opened_at < 0.5, "It waited for the ticker to look."
    (step,) = runs.steps(handle.id)
    assert (step.key, step.status, step.output) == ("one", "COMPLETED", 1)
    assert "two" not in ran[handle.id]
    assert types(handle.id)[-1] == "run.paused"
    runs.resume(handle.id)
    assert handle.result(timeout=5) == [1, 2]
    assert [name for name in ran[handle.id] if name != "code"] == ["one", "two"]


@task("pause.plain-busy", retry=ONCE)
def plain_busy(payload, ctx):
    outside.hold()
    return ctx.step("after", noted, "done")


class Outside(Gate):
    """A gate in a task's own code, outside any step."""

    def hold(self) -> None:
        """Waits here until the test lets it through."""
        self._reached.set()
        assert self._open.wait(10)


outside = Outside()


def test_a_plain_task_is_held_at_the_next_thing_it_asks_for(executor):
    handle = plain_busy.trigger()
    outside.until_reached()
    runs.pause(handle.id)
    eventually(lambda: executor.hand[handle.id].pause_requested)
    outside.open()
    until_paused(executor, handle.id)
    assert ran[handle.id] == []
    runs.resume(handle.id)
    assert handle.result(timeout=5) == "done"


@task("pause.no-steps", retry=ONCE)
async def no_steps(payload, ctx: Context):
    gates["one"]._reached.set()
    while not gates["one"]._open.is_set():
        await asyncio.sleep(0.005)
    return "done"


def test_code_that_asks_for_nothing_more_completes_all_the_same(executor):
    handle = no_steps.trigger()
    gates["one"].until_reached()
    runs.pause(handle.id)
    gates["one"].open()
    assert handle.result(timeout=5) == "done"
    with pytest.raises(Conflict, match="COMPLETED"):
        runs.resume(handle.id)


@task("pause.branches", retry=ONCE)
async def branches(payload, ctx: Context):
    one, two = ctx.branch("one"), ctx.branch("two")

    async def first() -> str:
        await one.step("gate", gates["one"].on_loop)
        await one.step("next", noted_async)
        return "one"

    async def second() -> str:
        await two.step("gate", gates["two"].on_loop)
        await two.step("next", noted_async)
        return "two"

    done, _ = await asyncio.wait(
        {asyncio.ensure_future(first()), asyncio.ensure_future(second())},
        return_when=asyncio.FIRST_COMPLETED,
    )
    winner = sorted(task.result() for task in done)
    await ctx.step("told", noted_async, winner)
    return winner


def test_a_run_of_branches_is_held_when_all_bodies_have_ended(executor):
    handle = branches.trigger()
    gates["one"].until_reached()
    gates["two"].until_reached()
    runs.pause(handle.id)
    gates["two"].open()
    eventually(lambda: [step for step in runs.steps(handle.id) if step.status == "COMPLETED"])
    assert handle.retrieve().status == "EXECUTING"
    gates["one"].open()
    until_paused(executor, handle.id)
    assert set(ran[handle.id]) == {"one/gate", "two/gate"}
    order = [step.key for step in sorted(runs.steps(handle.id), key=lambda step: step.seq or 0)]
    assert order == ["two/gate", "one/gate"]
    runs.resume(handle.id)
    assert handle.result(timeout=5) == ["two"]


@task("pause.later-step", retry=ONCE)
async def later_step(payload, ctx: Context):
    long, short = ctx.branch("long"), ctx.branch("short")

    async def second() -> None:
        while not gates["two"]._open.is_set():
            await asyncio.sleep(0.005)
        await short.step("next", noted_async)

    try:
        await asyncio.gather(long.step("gate", gates["one"].on_loop), second())
    finally:
        await ctx.step("clean-up", noted_async)


def test_a_cancel_while_pausing_begins_nothing_of_what_was_held_but_the_clean_up(executor):
    handle = later_step.trigger()
    gates["one"].until_reached()
    runs.pause(handle.id)
    live = executor.hand[handle.id]
    eventually(lambda: live.pause_requested)
    gates["two"].open()
    eventually(lambda: live.moments._held)
    runs.cancel(handle.id)
    until_status(handle.id, "CANCELED")
    assert ran[handle.id] == ["long/gate", "clean-up"]


def test_a_pause_taken_back_before_it_came_about_lets_everything_go_on(executor):
    handle = async_bodies.trigger()
    gates["one"].until_reached()
    runs.pause(handle.id)
    live = executor.hand[handle.id]
    eventually(lambda: live.pause_requested)
    resumed = runs.resume(handle.id)
    assert (resumed.status, resumed.pause_requested_at) == ("EXECUTING", None)
    eventually(lambda: not live.pause_requested)
    gates["one"].open()
    assert handle.result(timeout=5) == [1, 2]
    assert "run.paused" not in types(handle.id)


def test_what_a_pause_held_goes_on_when_it_is_taken_back(executor):
    handle = later_step.trigger()
    gates["one"].until_reached()
    runs.pause(handle.id)
    live = executor.hand[handle.id]
    eventually(lambda: live.pause_requested)
    gates["two"].open()
    eventually(lambda: live.moments._held)
    runs.resume(handle.id)
    eventually(lambda: "short/next" in ran[handle.id])
    gates["one"].open()
    until_status(handle.id, "COMPLETED")


def test_pausing_again_and_again_repeats_no_step(executor):
    handle = many_steps.trigger(40)
    ends = time.monotonic() + 10
    while not (run := handle.retrieve()).is_final and time.monotonic() < ends:
        try:
            runs.resume(run.id) if run.status == "PAUSED" else runs.pause(run.id)
        except Conflict:
            continue
    assert handle.result(timeout=1) == list(range(40))
    assert ran[handle.id] == [f"s{number}" for number in range(40)]
    seqs = [event.seq for event in runs.events(handle.id)]
    assert seqs == list(range(1, len(seqs) + 1))


@task("pause.many", retry=ONCE)
async def many_steps(payload, ctx: Context):
    return [await ctx.step(f"s{number}", noted, number) for number in range(payload)]


@task("pause.parks", retry=ONCE)
async def parks(payload, ctx: Context):
    await ctx.step("one", gates["one"].on_loop)
    answer = await ctx.wait_for_signal("go")
    return answer.output


def pause_elsewhere(run_id: str) -> None:
    runs.pause(run_id)
    connection.close()


def test_a_pause_that_lands_just_before_a_park_holds_the_run(executor, monkeypatch):
    from executions.engine import flush

    real = flush.write
    asked: list[str] = []

    async def pause_first(conn: Any, items: Any) -> Any:
        for live, batch in items:
            if batch.move is not None and batch.move.status == "WAITING" and not asked:
                asked.append(live.id)
                pausing = threading.Thread(target=pause_elsewhere, args=(live.id,))
                pausing.start()
                while pausing.is_alive():
                    await asyncio.sleep(0.005)
        return await real(conn, items)

    handle = parks.trigger()
    gates["one"].until_reached()
    monkeypatch.setattr(flush, "write", pause_first)
    gates["one"].open()
    eventually(lambda: asked)
    until_paused(executor, handle.id)
    runs.signal(handle.id, "go", 3)
    runs.resume(handle.id)
    assert handle.result(timeout=5) == 3


def test_a_worker_that_stops_while_a_run_is_pausing_leaves_the_pause_to_the_next(executors):
    first = executors()
    handle = async_bodies.trigger()
    gates["one"].until_reached()
    runs.pause(handle.id)
    first.stop(0)
    assert handle.retrieve().pause_requested_at is not None
    gates["one"].open()
    second = executors()
    until_paused(second, handle.id)
    assert ran[handle.id] == ["one"]
    runs.resume(handle.id)
    assert handle.result(timeout=5) == [1, 2]


def test_a_worker_killed_while_a_run_is_pausing_leaves_the_pause_to_the_next(engine):
    handle = engine.trigger(dies_pausing)
    engine.run_until_idle()
    assert (handle.retrieve().status, ran[handle.id]) == ("PAUSED", ["one"])
    runs.resume(handle.id)
    assert engine.result(handle) == [1, 2]
    assert ran[handle.id] == ["one", "two"]


@task("pause.dies", retry=ONCE)
async def dies_pausing(payload, ctx: Context):
    first = await ctx.step("one", noted_async, 1)
    await ctx.step("die", pause_and_die)
    second = await ctx.step("two", noted_async, 2)
    return [first, second]


def pause_and_die() -> None:
    step = current_step()
    if not runs.retrieve(step.run_id).pause_requested_at and not step.live.row["stalls"]:
        runs.pause(step.run_id)
        worker: Any = step.live.host
        worker.loop.call_soon_threadsafe(worker.die)


# ---- what ends a held run -----------------------------------------------------------------------


@task("pause.cleans-up", retry=ONCE)
async def cleans_up(payload, ctx: Context):
    try:
        await ctx.step("one", noted_async)
        await ctx.wait_for_signal("never")
    finally:
        await ctx.step("clean-up", noted_async)


def test_a_held_run_that_is_cancelled_is_entered_to_clean_up(executor):
    handle = cleans_up.trigger()
    until_parked(executor, handle.id)
    runs.pause(handle.id)
    runs.cancel(handle.id, reason="enough")
    run = until_status(handle.id, "CANCELED")
    assert run.error["message"] == "enough"
    assert ran[handle.id] == ["one", "clean-up"]


def test_a_held_run_that_never_began_is_cancelled_at_once(transactional_db):
    handle = echo.trigger(1)
    runs.pause(handle.id)
    assert runs.cancel(handle.id).status == "CANCELED"


def test_a_held_run_is_terminated_at_once(executor):
    handle = cleans_up.trigger()
    until_parked(executor, handle.id)
    runs.pause(handle.id)
    assert runs.terminate(handle.id).status == "CANCELED"
    assert ran[handle.id] == ["one"]


def test_a_run_timeout_passes_while_the_run_is_held(executor):
    handle = cleans_up.trigger(run_timeout=0.4)
    until_status(handle.id, "WAITING")
    runs.pause(handle.id)
    run = until_status(handle.id, "TIMED_OUT")
    assert run.error["code"] == "RUN_TIMEOUT"


def test_a_pause_costs_no_active_time(executor):
    handle = parks.trigger(max_duration=1)
    gates["one"].until_reached()
    runs.pause(handle.id)
    gates["one"].open()
    until_paused(executor, handle.id)
    before = handle.retrieve().active_ms
    runs.resume(handle.id)
    until_parked(executor, handle.id)
    runs.signal(handle.id, "go")
    handle.result(timeout=5)
    assert handle.retrieve().active_ms - before < 500


# ---- refusals -----------------------------------------------------------------------------------


def test_what_cannot_be_paused_or_resumed_is_a_conflict_that_names_the_status(transactional_db):
    handle = echo.trigger(1)
    with pytest.raises(Conflict, match="is QUEUED; it is not paused") as refusal:
        runs.resume(handle.id)
    assert refusal.value.field == "run"
    runs.pause(handle.id)
    with pytest.raises(Conflict, match="is PAUSED; it cannot be paused"):
        runs.pause(handle.id)
    runs.terminate(handle.id)
    for change in (runs.pause, runs.resume):
        with pytest.raises(Conflict, match="ended CANCELED"):
            change(handle.id)
        with pytest.raises(NotFound):
            change("run_nowhere")


def test_the_retries_of_steps_and_runs_go_on_as_before_after_a_resume(executor):
    handle = fails_twice.trigger()
    gates["one"].until_reached()
    runs.pause(handle.id)
    gates["one"].open()
    until_paused(executor, handle.id)
    runs.resume(handle.id)
    assert handle.result(timeout=5) == 3


@task("pause.fails-twice", retry=AT_ONCE)
async def fails_twice(payload, ctx: Context):
    await ctx.step("gate", gates["one"].on_loop)
    if ctx.attempt < 3:
        raise ValueError(f"attempt {ctx.attempt}")
    return ctx.attempt
