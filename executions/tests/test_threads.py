"""Plain `def` tasks: the same context without `await`, on one thread that parking frees."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from executions import runs, tokens
from executions.engine.context import StepFailed, current_step
from executions.models import Run, Step, WaitToken
from executions.registry import task
from executions.rules.retry import Retry
from executions.tests.bodies import AT_ONCE, ONCE, Gate, noted, noted_async, ran, until_parked
from executions.tests.conftest import eventually, until_status


def step_threads() -> int:
    """How many threads of executors are at work for tasks and steps."""
    return sum(thread.name.startswith("step") for thread in threading.enumerate())


@task("threads.child", retry=ONCE)
def child(payload, ctx):
    return {"got": ctx.step("s", noted, payload)}


def test_all_steps_of_a_plain_task_run_on_its_one_thread(executor):
    @task("threads.one-thread", retry=ONCE)
    def one_thread(payload, ctx):
        here = threading.get_ident()
        there = [ctx.step(f"s{n}", threading.get_ident) for n in range(5)]
        return [here == ident for ident in there]

    assert one_thread.trigger().result(timeout=5) == [True] * 5


def test_an_async_body_of_a_plain_task_runs_on_the_loop(executor):
    @task("threads.mixed", retry=ONCE)
    def mixed(payload, ctx):
        return [ctx.step("a", noted, 1), ctx.step("b", noted_async, 2)]

    assert mixed.trigger().result(timeout=5) == [1, 2]


def test_a_plain_task_does_everything_that_an_async_one_does(executors):
    @task("threads.everything", retry=ONCE)
    def everything(payload, ctx):
        ctx.metadata.set("phase", "begun").increment("count", 2)
        ctx.emit("hello", {"n": 1})
        ctx.stream("log").append("one")
        first = ctx.step("first", noted, payload)
        ctx.sleep(0.05)
        token = ctx.create_token("approval")
        answer = ctx.wait_for_token(token)
        signal = ctx.wait_for_signal("go", timeout="1h")
        kid = ctx.trigger_and_wait(child, 3)
        kids = ctx.batch_trigger_and_wait("threads.child", [4, 5])
        return {
            "run": ctx.run_id, "attempt": ctx.attempt, "tags": ctx.tags, "first": first,
            "answer": answer.output, "signal": signal.output, "kid": kid.unwrap(),
            "kids": [one.unwrap() for one in kids], "phase": ctx.metadata.get("phase"),
        }  # fmt: skip

    first = executors()
    handle = everything.trigger("x", tags=["t"])
    until_parked(first, handle.id)
    first.stop(0)
    second = executors()
    tokens.complete(WaitToken.objects.get(run_id=handle.id).id, "yes")
    eventually(lambda: Step.objects.filter(run_id=handle.id, kind="signal"))
    until_parked(second, handle.id)
    runs.signal(handle.id, "go", 7)
    assert handle.result(timeout=5) == {
        "run": handle.id, "attempt": 1, "tags": ["t"], "first": "x", "answer": "yes", "signal": 7,
        "kid": {"got": 3}, "kids": [{"got": 4}, {"got": 5}], "phase": "begun",
    }  # fmt: skip
    assert ran[handle.id] == ["first"]
    run = handle.retrieve()
    assert run.data.metadata == {"phase": "begun", "count": 2}
    assert [event.type for event in runs.events(run.id)].count("hello") == 1
    assert [chunk.data for chunk in run.chunks.all()] == ["one"]


def test_parking_frees_the_thread(executor):
    @task("threads.parked", retry=ONCE)
    def parked(payload, ctx):
        ctx.wait_for_signal("go")
        return ctx.step("after", noted, payload)

    handles = [parked.trigger(n) for n in range(40)]
    for handle in handles:
        until_parked(executor, handle.id)
    # More than there are threads: each of them came to its turn, and others still do.
    assert child.trigger(1).result(timeout=5) == {"got": 1}
    assert step_threads() <= 20
    for handle in handles:
        runs.signal(handle.id, "go")
    assert [handle.result(timeout=5) for handle in handles] == list(range(40))


def test_a_waiting_plain_task_is_entered_again_to_clean_up(executor):
    @task("threads.canceled-waiting", retry=ONCE)
    def canceled_waiting(payload, ctx):
        try:
            ctx.sleep(hours=1)
        finally:
            ctx.step("clean-up", noted)

    handle = canceled_waiting.trigger()
    until_parked(executor, handle.id)
    runs.cancel(handle.id)
    until_status(handle.id, "CANCELED")
    assert ran[handle.id] == ["clean-up"]


def test_an_executing_plain_task_is_canceled_once_its_body_ends(executor):
    gate = Gate()

    @task("threads.canceled-executing", retry=ONCE)
    def canceled_executing(payload, ctx):
        try:
            ctx.step("work", gate.on_thread)
            ctx.step("more", noted)
        finally:
            ctx.step("clean-up", noted)

    handle = canceled_executing.trigger()
    gate.until_reached()
    runs.cancel(handle.id)
    eventually(lambda: Step.objects.filter(run_id=handle.id, kind="cancel"))
    gate.open()
    until_status(handle.id, "CANCELED")
    assert ran[handle.id] == ["work", "clean-up"]


def test_a_plain_task_in_its_own_code_is_canceled_at_its_next_step(executor):
    reached, release = threading.Event(), threading.Event()

    @task("threads.canceled-between", retry=ONCE)
    def canceled_between(payload, ctx):
        reached.set()
        release.wait(10)
        ctx.step("more", noted)

    handle = canceled_between.trigger()
    assert reached.wait(5)
    runs.cancel(handle.id)
    eventually(lambda: Step.objects.filter(run_id=handle.id, kind="cancel"))
    release.set()
    until_status(handle.id, "CANCELED")
    assert ran[handle.id] == []


def test_steps_of_a_plain_task_are_tried_again(executor):
    def flaky() -> int:
        noted()
        if current_step().attempt < 3:
            raise ValueError("not yet")
        return current_step().attempt

    @task("threads.flaky", retry=ONCE)
    def flaky_task(payload, ctx):
        try:
            ctx.step("hopeless", int, "x", retry=Retry(max_attempts=1))
        except StepFailed as error:
            return [error.error_type, ctx.step("try", flaky, retry=AT_ONCE)]

    assert flaky_task.trigger().result(timeout=5) == ["ValueError", 3]


def test_a_plain_task_that_fails_is_tried_again_with_its_finished_steps_kept(executor):
    @task("threads.second-attempt", retry=AT_ONCE)
    def second_attempt(payload, ctx):
        first = ctx.step("first", noted, ctx.attempt)
        if ctx.attempt == 1:
            raise ValueError("not yet")
        return [first, ctx.attempt]

    handle = second_attempt.trigger()
    assert handle.result(timeout=8) == [1, 2]
    assert ran[handle.id] == ["first"]


def test_the_retry_of_an_attempt_that_took_too_long_waits_for_the_thread(executor):
    def slow() -> int:
        noted()
        if current_step().attempt == 1:
            time.sleep(0.5)
        return current_step().attempt

    @task("threads.slow", retry=ONCE)
    def slow_task(payload, ctx):
        return ctx.step("try", slow, timeout=0.1, retry=AT_ONCE)

    handle = slow_task.trigger()
    assert handle.result(timeout=5) == 2
    assert ran[handle.id] == ["try", "try"]


def test_a_transactional_step_of_a_plain_task_commits_with_its_rows(executor):
    def enrol(name: str) -> None:
        get_user_model().objects.create(username=name)

    @task("threads.transactional", retry=ONCE)
    def transactional(payload, ctx):
        ctx.step("enrol", enrol, "ada", transactional=True)
        try:
            ctx.step("again", enrol, "ada", transactional=True, retry=Retry(max_attempts=1))
        except StepFailed as error:
            return error.error_type

    assert transactional.trigger().result(timeout=5) == "IntegrityError"
    assert get_user_model().objects.count() == 1


@pytest.mark.parametrize(
    ("use", "error"),
    [(lambda ctx: ctx.branch("b"), "AttributeError"), (lambda ctx: ctx.nothing(), "AttributeError"),
     (lambda ctx: ctx.step("s", lambda: ctx.sleep(1), retry=ONCE), "Conflict"),
     (lambda ctx: [ctx.step("s", noted), ctx.step("s", noted)], "DuplicateStep"),
     (lambda ctx: ctx.metadata.increment("n", "x"), "Invalid")],
    ids=["branch", "unknown", "inside-a-body", "twice", "metadata"],
)  # fmt: skip
def test_misuse_of_the_context_is_an_error_of_the_plain_task(executor, use, error):
    @task("threads.misuse", retry=ONCE)
    def misuse(payload, ctx):
        use(ctx)

    assert until_status(misuse.trigger().id, "FAILED", seconds=3).error["type"] == error


def test_many_plain_tasks_share_the_threads(executor):
    handles: list[Any] = [child.trigger(n) for n in range(60)]
    assert [handle.result(timeout=10)["got"] for handle in handles] == list(range(60))
    assert step_threads() <= 20
    assert Run.objects.filter(status="COMPLETED").count() == 60


def test_a_plain_task_that_calls_exit_fails_its_run_and_nothing_else(executor):
    @task("threads.exit", retry=ONCE)
    def exits(payload, ctx):
        raise SystemExit(payload)

    assert until_status(exits.trigger(1).id, "FAILED", seconds=2).error["type"] == "SystemExit"
    assert child.trigger(1).result(timeout=2) == {"got": 1}
