"""Hooks and middleware: called around a run's life, and after every way in which it can end."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from pydantic import BaseModel

from executions import hooks, moves, registry, runs, tokens
from executions.engine import takeover
from executions.engine.context import Context, current_step
from executions.errors import Conflict, Invalid
from executions.hooks import Decision, Hooks
from executions.models import Run, WaitToken
from executions.registry import task
from executions.rules.retry import Retry
from executions.rules.statuses import RunStatus
from executions.tests.bodies import AT_ONCE, ONCE, Gate, noted_async, ran, until_parked
from executions.tests.conftest import eventually, until_status

# What was called, by the payload of the run it was called for.
calls: defaultdict[str, list[Any]] = defaultdict(list)
gates: dict[str, Gate] = {}


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    calls.clear()
    gates.clear()
    gates.update({name: Gate() for name in ("one", "two")})
    before = list(hooks._everywhere)
    yield
    hooks._everywhere[:] = before


def name() -> str:
    """A payload of its own for each run."""
    return uuid.uuid4().hex


def on_success(payload, output, ctx):
    calls[payload].append(("success", output))


def on_failure(payload, error, ctx):
    calls[payload].append(("failure", error["type"]))


def on_complete(payload, result, ctx):
    calls[payload].append(("complete", result["ok"], result["status"]))


def on_cancel(payload, ctx):
    calls[payload].append("cancel")


async def on_cancel_async(payload, ctx):
    calls[payload].append("cancel")
    await ctx.step("put away", noted_async)


ENDS: dict[str, Any] = {
    "on_success": on_success, "on_failure": on_failure, "on_complete": on_complete,
}  # fmt: skip


@task("hooks.simple", retry=ONCE, on_cancel=on_cancel_async, **ENDS)
async def simple(payload, ctx: Context):
    return "out"


@task("hooks.fails", retry=AT_ONCE, on_cancel=on_cancel_async, **ENDS)
async def fails(payload, ctx: Context):
    raise ValueError("no luck")


@task("hooks.waits", retry=ONCE, on_cancel=on_cancel_async, **ENDS)
async def waits(payload, ctx: Context):
    await ctx.step("first", noted_async)
    answer = await ctx.wait_for_signal("go")
    return answer.output


@task("hooks.busy", retry=ONCE, on_cancel=on_cancel_async, **ENDS)
async def busy(payload, ctx: Context):
    await ctx.step("gate", gates["one"].on_loop)


@task("hooks.plain", retry=ONCE, on_cancel=lambda payload, ctx: clean_up(payload, ctx), **ENDS)
def plain(payload, ctx):
    ctx.step("first", noted)
    return ctx.wait_for_signal("go").output


def noted() -> None:
    ran[current_step().run_id].append(current_step().step)


def clean_up(payload, ctx):
    calls[payload].append("cancel")
    ctx.step("put away", noted)


def complete(payload: str) -> list[Any]:
    """What was called for the payload, once its on_complete was."""
    return eventually(
        lambda: calls[payload] if any(call[0] == "complete" for call in calls[payload]) else None
    )


def ended(handle: Any) -> Run:
    """The run that called the hooks, at its end."""
    found = eventually(lambda: Run.objects.filter(task="run-hooks", parent_id=handle.id).first())
    return until_status(found.id, "COMPLETED", "FAILED")


# ---- every ending -------------------------------------------------------------------------------


def test_hooks_are_called_after_a_run_completed(executor):
    payload = name()
    handle = simple.trigger(payload)
    handle.result(timeout=5)
    assert complete(payload) == [("success", "out"), ("complete", True, "COMPLETED")]
    assert ended(handle).output == ["on_success", "on_complete"]


def test_hooks_of_a_failure_are_called_after_the_last_attempt_only(executor):
    payload = name()
    run = until_status(fails.trigger(payload).id, "FAILED")
    assert run.attempt == 3
    assert complete(payload) == [("failure", "ValueError"), ("complete", False, "FAILED")]


def test_a_run_cancelled_before_it_began_has_its_hooks_called(transactional_db, executors):
    payload = name()
    handle = simple.trigger(payload)
    runs.cancel(handle.id)
    executors()
    assert complete(payload) == ["cancel", ("complete", False, "CANCELED")]
    assert ended(handle).output == ["on_cancel", "on_complete"]


@pytest.mark.parametrize("kind", [waits, plain])
def test_on_cancel_is_called_once_while_the_run_lives_and_may_take_steps(executor, kind):
    payload = name()
    handle = kind.trigger(payload)
    until_parked(executor, handle.id)
    runs.cancel(handle.id)
    until_status(handle.id, "CANCELED")
    assert calls[payload] == ["cancel"]
    assert [key.rsplit("/", 1)[-1] for key in ran[handle.id]] == ["first", "put away"]
    assert complete(payload) == ["cancel", ("complete", False, "CANCELED")]
    assert ended(handle).output == ["on_complete"]


def test_on_cancel_is_called_while_a_body_is_under_way(executor):
    payload = name()
    handle = busy.trigger(payload)
    gates["one"].until_reached()
    runs.cancel(handle.id)
    until_status(handle.id, "CANCELED")
    assert complete(payload) == ["cancel", ("complete", False, "CANCELED")]


def test_a_terminated_run_has_its_hooks_called_after_the_end(executor):
    payload = name()
    handle = waits.trigger(payload)
    until_parked(executor, handle.id)
    runs.terminate(handle.id)
    assert complete(payload) == ["cancel", ("complete", False, "CANCELED")]
    assert ran[handle.id] == ["first"]


def test_an_expired_run_has_its_hooks_called(transactional_db, executors):
    payload = name()
    handle = simple.trigger(payload, delay=0.05, ttl=0.01)
    runs.pause(handle.id)
    eventually(lambda: waits.trigger(name()).retrieve().created_at > handle.retrieve().expires_at)
    runs.resume(handle.id)
    executors()
    assert complete(payload) == [("failure", "Expired"), ("complete", False, "EXPIRED")]


def test_a_run_out_of_time_has_its_hooks_called(executor):
    payload = name()
    handle = waits.trigger(payload, run_timeout=0.3)
    assert until_status(handle.id, "TIMED_OUT").error["code"] == "RUN_TIMEOUT"
    assert complete(payload) == [("failure", "TimedOut"), ("complete", False, "TIMED_OUT")]


def test_a_run_over_its_duration_has_its_hooks_called(executor):
    payload = name()
    handle = busy.trigger(payload, max_duration=0.1)
    assert until_status(handle.id, "TIMED_OUT").error["code"] == "MAX_DURATION_EXCEEDED"
    assert complete(payload) == [("failure", "TimedOut"), ("complete", False, "TIMED_OUT")]


def test_a_run_that_killed_its_workers_has_its_hooks_called(transactional_db, executors):
    payload = name()
    handle = simple.trigger(payload)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO executions_worker (id, host, pid, process_started) "
            "VALUES ('worker_gone', 'elsewhere', 1, 1)"
        )
        cursor.execute(
            "UPDATE executions_run SET status = 'EXECUTING', claim = gen_random_uuid(), "
            "worker = 'worker_gone', started_at = now() WHERE id = %s",
            [handle.id],
        )
        assert takeover.take_over(cursor, "me", 30, 1, ["worker_gone"])
    assert handle.retrieve().status == "CRASHED"
    executors()
    assert complete(payload) == [("failure", "WorkerDied"), ("complete", False, "CRASHED")]


def test_a_system_failure_has_its_hooks_called(transactional_db, executors):
    payload = name()
    handle = simple.trigger(payload)
    with connection.cursor() as cursor:
        moves.end(cursor, [handle.id], RunStatus.SYSTEM_FAILURE, {"type": "X"}, "run.failed")
    executors()
    assert complete(payload) == [("failure", "X"), ("complete", False, "SYSTEM_FAILURE")]


def test_children_that_their_parents_end_closes_have_their_hooks_called(executor):
    payload = name()
    handle = parent.trigger(payload)
    until_parked(executor, handle.id)
    eventually(lambda: Run.objects.filter(parent_id=handle.id, status="WAITING").exists())
    runs.terminate(handle.id)
    assert complete(payload) == ["cancel", ("complete", False, "CANCELED")]


@task("hooks.parent", retry=ONCE)
async def parent(payload, ctx: Context):
    await ctx.trigger_and_wait(waits, payload)


def test_a_trigger_that_is_rolled_back_leaves_no_hook_and_a_task_without_hooks_no_run(executor):
    handle = bare.trigger(name())
    handle.result(timeout=5)
    assert handle.retrieve().hook_run is None
    assert not Run.objects.filter(task="run-hooks").exists()


@task("hooks.bare", retry=ONCE)
async def bare(payload, ctx: Context):
    return None


class Order(BaseModel):
    """A payload that a deploy may change."""

    number: int


def on_failure_of_order(payload, error, ctx):
    calls["order"].append((payload, error["field"]))


@task("hooks.order", retry=ONCE, on_failure=on_failure_of_order)
async def order(payload: Order, ctx: Context):
    return payload.number


def test_a_run_whose_payload_no_longer_fits_has_its_failure_told_with_the_payload_as_it_is(
    transactional_db, executors
):
    handle = order.trigger({"number": 1})
    with connection.cursor() as cursor:
        cursor.execute(
            'UPDATE executions_rundata SET payload = \'{"number": "many"}\' WHERE run_id = %s',
            [handle.id],
        )
    executors()
    until_status(handle.id, "FAILED")
    assert eventually(lambda: calls["order"]) == [({"number": "many"}, "payload.number")]


# ---- hooks that fail ----------------------------------------------------------------------------


def test_a_hook_of_the_end_that_fails_harms_neither_the_run_nor_the_other_hooks(engine):
    payload = name()
    handle = engine.trigger(unlucky, payload)
    assert engine.result(handle) == 1
    engine.advance(seconds=10)
    assert calls[payload] == [("complete", True, "COMPLETED")]
    engine.advance(hours=1)
    (of_hooks,) = Run.objects.filter(task="run-hooks")
    assert (of_hooks.status, of_hooks.attempt) == ("FAILED", 5)
    assert "out of paper" in of_hooks.error["message"]
    assert handle.retrieve().status == "COMPLETED"
    assert calls[payload].count(("complete", True, "COMPLETED")) == 1


def fail(payload, *_):
    raise OSError("out of paper")


@task("hooks.unlucky", retry=ONCE, on_success=fail, on_complete=on_complete)
async def unlucky(payload, ctx: Context):
    return 1


def test_a_hook_of_the_end_that_fails_once_is_tried_again_and_the_others_are_not(engine):
    payload = name()
    assert engine.run(flaky, payload) == 1
    engine.advance(minutes=1)
    assert calls[payload] == ["tried", ("complete", True, "COMPLETED"), "tried", "done"]


async def fail_once(payload, output, ctx):
    calls[payload].append("tried")
    if calls[payload].count("tried") == 1:
        raise OSError("once")
    calls[payload].append("done")


@task("hooks.flaky", retry=ONCE, on_success=fail_once, on_complete=on_complete)
async def flaky(payload, ctx: Context):
    return 1


async def exits(payload, *_):
    raise SystemExit(2)


def exits_plainly(payload, *_):
    raise SystemExit(2)


@pytest.mark.parametrize("hook", [fail, exits, exits_plainly])
def test_hooks_of_a_life_that_fail_harm_nothing(executor, hook, caplog):
    hooks.everywhere(Hooks(on_wait=hook, on_resume=hook, catch_error=hook))
    handle = waits.trigger(name())
    until_parked(executor, handle.id)
    runs.signal(handle.id, "go", 1)
    assert handle.result(timeout=5) == 1
    assert until_status(fails.trigger(name()).id, "FAILED").error["type"] == "ValueError"
    assert bare.trigger(1).result(timeout=5) is None


def test_on_start_that_fails_fails_the_attempt_and_is_called_again_with_the_next(engine):
    payload = name()
    assert engine.trigger(starts, payload).result(timeout=60) == 2
    assert calls[payload] == ["start"] * 4


def fails_for_an_attempt(payload, ctx):
    calls[payload].append("start")
    if calls[payload].count("start") <= 3:
        raise OSError("not yet")


@task("hooks.starts", retry=AT_ONCE, on_start=fails_for_an_attempt)
async def starts(payload, ctx: Context):
    return ctx.attempt


# ---- on_start, on_wait, on_resume ---------------------------------------------------------------


def on_start(payload, ctx):
    calls[payload].append("start")


async def on_start_async(payload, ctx):
    calls[payload].append("start")


async def on_wait(payload, ctx):
    calls[payload].append("wait")


def on_resume(payload, ctx):
    calls[payload].append("resume")


@task("hooks.life", retry=AT_ONCE, on_start=on_start_async, on_wait=on_wait, on_resume=on_resume)
async def life(payload, ctx: Context):
    calls[payload].append(f"code {ctx.attempt}")
    await ctx.step("first", noted_async)
    await ctx.wait_for_signal("go")
    if ctx.attempt == 1:
        raise ValueError("once")
    return "done"


@task("hooks.plain-life", retry=AT_ONCE, on_start=on_start, on_wait=on_wait, on_resume=on_resume)
def plain_life(payload, ctx):
    calls[payload].append(f"code {ctx.attempt}")
    ctx.step("first", noted)
    ctx.wait_for_signal("go")
    if ctx.attempt == 1:
        raise ValueError("once")
    return "done"


@pytest.mark.parametrize("kind", [life, plain_life])
def test_on_start_is_called_once_and_the_others_each_time_the_run_leaves_and_comes_back(
    engine, kind
):
    payload = name()
    handle = engine.trigger(kind, payload)
    engine.run_until_idle()
    runs.signal(handle.id, "go")
    assert engine.result(handle, timeout=60) == "done"
    assert calls[payload] == [
        "start", "code 1", "wait", "resume", "code 1", "resume", "code 2",
    ]  # fmt: skip
    (step,) = [step for step in runs.steps(handle.id) if step.key.startswith("@")]
    assert (step.kind, step.status) == ("hook", "COMPLETED")


def test_on_start_is_not_called_again_after_a_crash(engine):
    payload = name()
    handle = engine.trigger(life, payload)
    engine.crash(after="first")
    engine.run_until_idle()
    assert calls[payload].count("start") == 1
    assert handle.retrieve().status == "WAITING"


def test_every_on_start_is_called_though_the_worker_dies_between_two(engine):
    hooks.everywhere(Hooks(on_start=on_start))
    payload = name()
    handle = engine.trigger(twice, payload)
    engine.crash(after="@on_start")
    assert engine.result(handle) is None
    assert calls[payload] == ["start", "own start"]


def own_start(payload, ctx):
    calls[payload].append("own start")


@task("hooks.twice", retry=AT_ONCE, on_start=own_start)
async def twice(payload, ctx: Context):
    return None


def test_an_on_start_that_failed_is_called_again_beside_one_that_did_not(engine):
    hooks.everywhere(Hooks(on_start=own_start))
    payload = name()
    assert engine.trigger(starts, payload).result(timeout=60) == 2
    assert calls[payload] == ["own start", *["start"] * 4]


@pytest.fixture
def deploy() -> Iterator[Any]:
    """Gives a task other hooks."""
    restored: list[tuple[Any, Hooks]] = []

    def give(entry: Any, **changed: Any) -> None:
        restored.append((entry, entry.hooks))
        object.__setattr__(entry, "hooks", Hooks(**changed))

    yield give
    for entry, before in reversed(restored):
        object.__setattr__(entry, "hooks", before)


@task("hooks.parked-first", retry=ONCE)
async def parked_first(payload, ctx: Context):
    answer = await ctx.wait_for_signal("go")
    return answer.output


@pytest.mark.parametrize("kind", [waits, parked_first])
def test_hooks_that_a_deploy_adds_while_a_run_is_parked_miss_its_start_and_harm_nothing(
    executor, deploy, kind
):
    payload = name()
    handle = kind.trigger(payload)
    until_parked(executor, handle.id)
    deploy(kind, on_start=on_start, on_resume=on_resume, on_success=on_success)
    runs.signal(handle.id, "go", 4)
    assert handle.result(timeout=5) == 4
    assert calls[payload][0] == "resume"
    assert "start" not in calls[payload]


def test_hooks_that_a_deploy_removes_while_a_run_is_parked_are_not_missed(executor, deploy):
    payload = name()
    handle = life.trigger(payload)
    until_parked(executor, handle.id)
    deploy(life)
    runs.signal(handle.id, "go", 4)
    assert handle.result(timeout=5) == "done"


def test_hooks_of_the_end_that_a_deploy_removes_leave_a_run_that_calls_nothing(executor, deploy):
    handle = waits.trigger(name())
    until_parked(executor, handle.id)
    deploy(waits)
    runs.signal(handle.id, "go", 4)
    assert handle.result(timeout=5) == 4
    assert ended(handle).output == []


def test_what_hooks_show_does_not_disturb_what_a_replay_repeats(executor):
    handle = shows.trigger(name())
    for number in (1, 2):
        until_parked(executor, handle.id)
        runs.signal(handle.id, "go", number)
        eventually(lambda n=number: n in handle.retrieve().data.metadata.get("seen", []))
    assert handle.result(timeout=5) == [1, 2]
    metadata = handle.retrieve().data.metadata
    assert (metadata["count"], metadata["seen"]) == (3, [1, 2])
    assert (metadata["waits"], metadata["resumes"]) == (2, 2)
    shown = [event.data for event in runs.events(handle.id) if event.type == "shown"]
    assert shown == [{"n": 0}, {"n": 1}, {"n": 2}]


def show_wait(payload, ctx):
    ctx.metadata.increment("waits")
    ctx.emit("waiting")
    ctx.expose("waiting", True)


async def show_resume(payload, ctx):
    ctx.metadata.increment("resumes")
    ctx.emit("resumed")
    ctx.expose("waiting", False)


@task("hooks.shows", retry=ONCE, on_wait=show_wait, on_resume=show_resume)
async def shows(payload, ctx: Context):
    ctx.metadata.increment("count")
    ctx.emit("shown", {"n": 0})
    for number in (1, 2):
        answer = await ctx.wait_for_signal("go")
        ctx.metadata.increment("count")
        ctx.metadata.append("seen", answer.output)
        ctx.emit("shown", {"n": number})
    return ctx.metadata.get("seen")


def test_hooks_that_no_step_stands_behind_take_no_steps(executor):
    payload = name()
    handle = asks.trigger(payload)
    until_parked(executor, handle.id)
    runs.signal(handle.id, "go")
    handle.result(timeout=5)
    assert calls[payload] == ["Conflict"]


async def ask(payload, ctx):
    try:
        await ctx.step("no", noted_async)
    except Conflict as error:
        calls[payload].append(type(error).__name__)


@task("hooks.asks", retry=ONCE, on_wait=ask)
async def asks(payload, ctx: Context):
    await ctx.wait_for_signal("go")


# ---- catch_error --------------------------------------------------------------------------------

decisions: dict[str, Any] = {}


async def decide(payload, error, ctx):
    calls[payload].append((ctx.attempt, str(error)))
    return decisions[payload]


@task("hooks.caught", retry=Retry(max_attempts=3, min_timeout=0, randomize=False),
      catch_error=decide)  # fmt: skip
async def caught(payload, ctx: Context):
    raise ValueError(f"attempt {ctx.attempt}")


@task("hooks.plain-caught", retry=AT_ONCE, catch_error=decide)
def plain_caught(payload, ctx):
    raise ValueError(f"attempt {ctx.attempt}")


@pytest.mark.parametrize("kind", [caught, plain_caught])
def test_catch_error_is_asked_after_each_failed_attempt(executor, kind):
    table: list[tuple[Any, int, str]] = [
        (None, 3, "attempt 3"),
        (Decision(skip_retrying=True), 1, "attempt 1"),
        (Decision(error=KeyError("other")), 3, "'other'"),
        ("nonsense", 3, "attempt 3"),
    ]
    for decision, attempts, message in table:
        payload = name()
        decisions[payload] = decision
        run = until_status(kind.trigger(payload).id, "FAILED")
        assert (run.attempt, run.error["message"]) == (attempts, message)
        assert calls[payload] == [(n, f"attempt {n}") for n in range(1, attempts + 1)]


def test_catch_error_may_say_when_the_next_attempt_begins(engine):
    payload = name()
    decisions[payload] = Decision(retry_after=3600)
    handle = engine.trigger(caught, payload)
    engine.run_until_idle()
    assert handle.retrieve().status == "WAITING"
    engine.advance(minutes=59)
    assert handle.retrieve().attempt == 2
    assert len(calls[payload]) == 1
    engine.advance(hours=2)
    assert handle.retrieve().status == "FAILED"


def test_catch_error_is_not_asked_about_a_cancellation(executor):
    hooks.everywhere(Hooks(catch_error=decide))
    payload = name()
    handle = waits.trigger(payload)
    until_parked(executor, handle.id)
    runs.cancel(handle.id)
    until_status(handle.id, "CANCELED")
    assert calls[payload][0] == "cancel"


# ---- middleware ---------------------------------------------------------------------------------


async def around(payload, ctx, call):
    calls[payload].append("before")
    await ctx.step("middleware", noted_async)
    value = await call()
    calls[payload].append("after")
    return [value]


async def outer(payload, ctx, call):
    calls[payload].append("outer before")
    try:
        return await call()
    finally:
        calls[payload].append("outer after")


@task("hooks.middle", retry=ONCE, middleware=around)
async def middle(payload, ctx: Context):
    calls[payload].append("code")
    return await ctx.step("own", noted_async, 1)


def test_middleware_for_all_tasks_lies_around_that_of_the_task(executor):
    hooks.everywhere(Hooks(middleware=outer))
    payload = name()
    handle = middle.trigger(payload)
    assert handle.result(timeout=5) == [1]
    assert calls[payload] == ["outer before", "before", "code", "after", "outer after"]
    assert ran[handle.id] == ["middleware", "own"]


def plain_around(payload, ctx, call):
    calls[payload].append("before")
    ctx.step("middleware", noted)
    return [call()]


@task("hooks.plain-middle", retry=ONCE, middleware=plain_around)
def plain_middle(payload, ctx):
    ctx.step("own", noted)
    return 1


def test_a_plain_task_has_plain_middleware_and_passes_over_the_other_kind(executor):
    hooks.everywhere(Hooks(middleware=outer))
    payload = name()
    handle = plain_middle.trigger(payload)
    assert handle.result(timeout=5) == [1]
    assert (calls[payload], ran[handle.id]) == (["before"], ["middleware", "own"])


def test_middleware_that_fails_fails_the_attempt(executor):
    async def refuse(payload, ctx, call):
        raise PermissionError("not you")

    hooks.everywhere(Hooks(middleware=refuse))
    run = until_status(bare.trigger(name()).id, "FAILED")
    assert run.error["type"] == "PermissionError"


def test_middleware_need_not_call_the_task(executor):
    async def answer(payload, ctx, call):
        return "from the cache"

    hooks.everywhere(Hooks(middleware=answer))
    assert middle.trigger(name()).result(timeout=5) == "from the cache"


# ---- hooks for all tasks ------------------------------------------------------------------------


def test_hooks_for_all_tasks_are_called_before_those_of_the_task_until_they_are_removed(executor):
    everywhere = hooks.everywhere(Hooks(on_success=lambda p, o, c: calls[p].append("everywhere")))
    payload = name()
    simple.trigger(payload).result(timeout=5)
    assert complete(payload)[:2] == ["everywhere", ("success", "out")]
    hooks.remove(everywhere)
    payload = name()
    simple.trigger(payload).result(timeout=5)
    assert complete(payload)[0] == ("success", "out")


def test_the_runs_that_call_hooks_have_no_hooks_of_the_end_themselves(executor):
    hooks.everywhere(Hooks(on_complete=lambda p, r, c: calls["everywhere"].append(p)))
    payload = name()
    handle = bare.trigger(payload)
    assert ended(handle).hook_run is None
    assert calls["everywhere"] == [payload]


@pytest.mark.parametrize("kind", [waits, plain])
@pytest.mark.parametrize("hook", [on_cancel, on_cancel_async])
def test_an_on_cancel_for_all_tasks_is_called_for_tasks_of_either_kind(executor, kind, hook):
    def seen(payload, ctx):
        calls[payload].append("everywhere")

    async def seen_async(payload, ctx):
        calls[payload].append("everywhere")

    hooks.everywhere(Hooks(on_cancel=seen_async if hook is on_cancel_async else seen))
    payload = name()
    handle = kind.trigger(payload)
    until_parked(executor, handle.id)
    runs.cancel(handle.id)
    assert sorted(complete(payload)[:-1]) == ["cancel", "everywhere"]


# ---- what is refused ----------------------------------------------------------------------------


def test_a_hook_that_is_none_and_one_of_no_known_name_are_refused_by_name():
    with pytest.raises(Invalid) as refusal:
        Hooks(on_start="send mail")  # type: ignore[arg-type]
    assert refusal.value.field == "on_start"
    with pytest.raises(Invalid) as refusal:
        task("hooks.typo", on_sucess=on_success)(simple.function)
    assert refusal.value.field == "on_sucess"


@pytest.mark.parametrize("hook", ["middleware", "on_cancel"])
def test_a_hook_inside_the_task_is_of_the_tasks_kind(hook):
    given: dict[str, Any] = {hook: on_cancel}
    with pytest.raises(Invalid, match="async def") as refusal:
        task("hooks.mixed", **given)(waits.function)
    assert refusal.value.field == hook
    given = {hook: on_cancel_async}
    with pytest.raises(Invalid):
        task("hooks.mixed", **given)(plain.function)


def test_a_hook_may_wait_and_take_steps_after_the_end(executor):
    payload = name()
    handle = long_goodbye.trigger(payload)
    handle.result(timeout=5)
    of_hooks = eventually(lambda: Run.objects.filter(task="run-hooks").first())
    until_parked(executor, of_hooks.id)
    tokens.complete(WaitToken.objects.get(run_id=of_hooks.id).id, "seen")
    assert until_status(of_hooks.id, "COMPLETED").output == ["on_success"]
    assert calls[payload] == ["seen"]


async def ask_for_receipt(payload, output, ctx):
    await ctx.step("send", noted_async)
    token = await ctx.create_token("receipt")
    answer = await ctx.wait_for_token(token)
    await asyncio.sleep(0)
    calls[payload].append(answer.output)


@task("hooks.goodbye", retry=ONCE, on_success=ask_for_receipt)
async def long_goodbye(payload, ctx: Context):
    return None


def test_hooks_wait_for_a_worker_that_knows_their_task(engine):
    called = []

    @task("hooks.deployed", retry=ONCE, on_success=lambda payload, output, ctx: called.append(1))
    async def deployed(payload, ctx: Context):
        await ctx.step("deploy", forget)

    def forget() -> None:
        del registry._tasks["hooks.deployed"]

    engine.run(deployed)
    assert not called
    registry._tasks["hooks.deployed"] = deployed
    engine.advance(minutes=2)
    assert called == [1]
