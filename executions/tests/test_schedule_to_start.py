"""How long a step may wait for its start, and what its other times count from."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import pytest

from executions import runs
from executions.engine.context import Context
from executions.engine.executor import Executor
from executions.engine.failures import StepFailed
from executions.errors import Invalid
from executions.registry import task
from executions.rules.retry import Retry
from executions.tests.bodies import ONCE, Gate, noted, noted_async, ran
from executions.tests.conftest import eventually, until_status

THREADS = 2
gates: dict[str, Gate] = {}


@pytest.fixture(autouse=True)
def _gates() -> None:
    gates.clear()
    gates["hold"] = Gate()


@pytest.fixture
def few_threads(settings: Any) -> None:
    """A worker that is soon out of threads."""
    settings.FLOWMAESTRO = dataclasses.replace(settings.FLOWMAESTRO, WORKER_THREADS=THREADS)


@task("start.holds", retry=ONCE)
async def holds(payload, ctx: Context):
    await ctx.step("hold", gates["hold"].on_thread)


@task("start.waits", retry=Retry(max_attempts=3, min_timeout=0))
async def waits(payload, ctx: Context):
    retry = Retry(max_attempts=payload.get("tries", 1), min_timeout=0)
    try:
        return await ctx.step("late", noted, "done", retry=retry, **payload["options"])
    except StepFailed as error:
        if payload.get("catches"):
            return [error.error_type, error.attempts]
        raise


def hold_all() -> list[Any]:
    handles = [holds.trigger() for _ in range(THREADS)]
    eventually(lambda: sum(len(ran[handle.id]) for handle in handles) == THREADS)
    return handles


@pytest.fixture
def busy(few_threads: None, executor: Executor) -> Iterator[Executor]:
    """A worker whose every thread is held."""
    hold_all()
    yield executor
    gates["hold"].open()
    eventually(lambda: not executor.hand)


def test_a_step_that_finds_no_thread_in_time_fails_without_another_try(busy):
    handle = waits.trigger({"options": {"schedule_to_start": 0.1}, "tries": 5})
    run = until_status(handle.id, "FAILED")
    assert (run.attempt, run.error["type"]) == (1, "NotStarted")
    assert "No thread was free for it within 0.1 s" in run.error["message"]
    gates["hold"].open()
    eventually(lambda: not [job for job in busy.hand.values() if job.bodies])
    assert ran[handle.id] == []


def test_the_task_may_catch_it_and_go_on(busy):
    handle = waits.trigger({"options": {"schedule_to_start": 0.1}, "catches": True})
    assert handle.result(timeout=5) == ["NotStarted", 1]
    (step,) = runs.steps(handle.id)
    assert step.status == "FAILED"


def test_a_transactional_step_waits_for_its_thread_no_longer_either(busy):
    options = {"schedule_to_start": 0.1, "transactional": True}
    run = until_status(waits.trigger({"options": options}).id, "FAILED")
    assert (run.error["type"], ran[run.id]) == ("NotStarted", [])


def test_a_step_that_finds_a_thread_in_time_takes_as_long_as_it_likes(few_threads, executor):
    handle = slow.trigger({"schedule_to_start": 0.2})
    assert handle.result(timeout=5) == "done"


@task("start.slow", retry=ONCE)
async def slow(payload, ctx: Context):
    return await ctx.step("slow", take_long, **payload)


def take_long() -> str:
    time.sleep(0.4)
    return "done"


def test_a_step_that_waited_a_little_starts_all_the_same(busy):
    handle = waits.trigger({"options": {"schedule_to_start": 5}})
    eventually(lambda: any(step.key == "late" for step in runs.steps(handle.id)))
    assert ran[handle.id] == []
    gates["hold"].open()
    assert handle.result(timeout=5) == "done"


def test_the_limit_of_an_attempt_counts_from_its_start_and_not_from_the_wait_for_a_thread(busy):
    handle = waits.trigger({"options": {"timeout": 0.2}})
    eventually(lambda: any(step.key == "late" for step in runs.steps(handle.id)))
    ends = time.monotonic() + 0.4
    eventually(lambda: time.monotonic() > ends)
    gates["hold"].open()
    assert handle.result(timeout=5) == "done"
    assert handle.retrieve().attempt == 1


def test_all_attempts_together_wait_no_longer_than_they_may_take(busy):
    run = until_status(waits.trigger({"options": {"schedule_to_close": 0.1}}).id, "FAILED")
    assert (run.error["type"], ran[run.id]) == ("StepTimeout", [])


@task("start.async", retry=ONCE)
async def async_body(payload, ctx: Context):
    return await ctx.step("now", noted_async, 1, schedule_to_start=0)


def test_what_runs_on_the_loop_starts_at_once(busy):
    assert async_body.trigger().result(timeout=5) == 1


@task("start.plain", retry=ONCE)
def plain(payload, ctx):
    return ctx.step("now", noted, 1, schedule_to_start=1)


def test_the_steps_of_a_plain_task_have_its_thread(few_threads, executor):
    assert plain.trigger().result(timeout=5) == 1


def test_a_wrong_length_is_refused_by_name(executor):
    assert refused.trigger().result(timeout=5) == ["schedule_to_start"] * 4


@task("start.refused", retry=ONCE)
async def refused(payload, ctx: Context):
    fields = []
    values: list[Any] = ["soon", -1, True, float("nan")]
    for value in values:
        with pytest.raises(Invalid) as refusal:
            await ctx.step("no", noted, schedule_to_start=value)
        fields.append(refusal.value.field)
    return fields
