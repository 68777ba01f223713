"""Steps: stored once, retried by policy, limited in time, and what a lost worker means for them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from pydantic import BaseModel

from executions import runs
from executions.engine.context import StepFailed, StepInterrupted, current_step
from executions.engine.processes import child_setup
from executions.errors import Conflict, Invalid
from executions.models import Run, Step
from executions.registry import task
from executions.rules.retry import Retry
from executions.tests.bodies import (
    AT_ONCE,
    ONCE,
    Gate,
    noted,
    noted_async,
    ran,
    until_parked,
)
from executions.tests.conftest import eventually, until_status


class Page(BaseModel):
    """What a step may declare to return."""

    title: str
    at: date
    price: Decimal


@dataclass
class Point:
    """The same as a dataclass."""

    x: int
    y: int


class Busy(Exception):
    """A server said when to come back."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("busy")
        self.retry_after = retry_after


class Hopeless(Exception):
    """An error that says itself that trying again is of no use."""

    non_retryable = True


def fail_until(attempt: int, error: Exception) -> Any:
    """A body that raises until it reaches an attempt."""
    noted()
    if current_step().attempt < attempt:
        raise error
    return current_step().attempt


def step_of(run_id: str, key: str) -> Step:
    """One step of a run."""
    return Step.objects.get(run_id=run_id, key=key)


# ---- results ------------------------------------------------------------------------------------


def test_a_step_gives_its_declared_type_live_and_replayed(executors):
    def fetch() -> Page:
        return Page(title="Tea", at=date(2026, 5, 1), price=Decimal("1.10"))

    async def locate() -> Point:
        return Point(1, 2)

    seen: list[Any] = []

    @task("steps.typed", retry=ONCE)
    async def typed(payload, ctx):
        page = await ctx.step("page", fetch)
        point = await ctx.step("point", locate)
        raw = await ctx.step("raw", noted, {"a": (1, 2)})
        seen.append((page, point, raw))
        await ctx.wait_for_signal("go")

    first = executors()
    handle = typed.trigger()
    until_parked(first, handle.id)
    first.stop(0)
    executors()
    runs.signal(handle.id, "go")
    handle.result(timeout=5)
    page = Page(title="Tea", at=date(2026, 5, 1), price=Decimal("1.10"))
    assert seen == [(page, Point(1, 2), {"a": [1, 2]})] * 2
    assert step_of(handle.id, "point").output == {"x": 1, "y": 2}


def test_a_finished_step_is_never_executed_again(executors):
    @task("steps.once", retry=ONCE)
    async def once(payload, ctx):
        total = 0
        for n in range(5):
            total += await ctx.step(f"s{n}", noted, n)
            total += await ctx.step(f"a{n}", noted_async, n)
            await ctx.wait_for_signal("go")
        return total

    handle = once.trigger()
    for _ in range(5):
        executor = executors()
        until_parked(executor, handle.id)
        executor.stop(0)
        runs.signal(handle.id, "go")
    executors()
    assert handle.result(timeout=5) == 20
    assert ran[handle.id] == [f"{kind}{n}" for n in range(5) for kind in "sa"]


def test_steps_are_stored_with_their_order_input_and_kind(executor):
    @task("steps.stored", retry=ONCE)
    async def stored(payload, ctx):
        await ctx.step("a", noted, 1, kind="node", input={"q": 1})
        await ctx.step("b", noted, 2)

    handle = stored.trigger()
    handle.result(timeout=5)
    a, b = step_of(handle.id, "a"), step_of(handle.id, "b")
    assert (a.kind, a.input, a.output, a.status, a.attempt) == ("node", {"q": 1}, 1, "COMPLETED", 1)
    assert a.seq < b.seq
    assert a.started_at <= a.finished_at <= b.finished_at


def test_the_context_of_a_step_tells_its_key_attempt_and_run(executor):
    def look() -> list[Any]:
        step = current_step()
        return [step.key, step.attempt, step.run_id, step.last_heartbeat]

    async def look_async() -> list[Any]:
        return look()

    @task("steps.context", retry=ONCE)
    async def context(payload, ctx):
        branch = ctx.branch("b")
        return [await ctx.step("plain", look), await branch.step("loop", look_async)]

    handle = context.trigger()
    assert handle.result(timeout=5) == [
        [f"{handle.id}:plain", 1, handle.id, None],
        [f"{handle.id}:b/loop", 1, handle.id, None],
    ]
    with pytest.raises(RuntimeError):
        current_step()


# ---- retries ------------------------------------------------------------------------------------


def test_a_step_is_tried_again_until_it_succeeds(executor):
    @task("steps.third-time", retry=ONCE)
    async def third_time(payload, ctx):
        return await ctx.step("try", fail_until, 3, ValueError("no"), retry=AT_ONCE)

    handle = third_time.trigger()
    assert handle.result(timeout=5) == 3
    assert (step_of(handle.id, "try").attempt, len(ran[handle.id])) == (3, 3)
    assert handle.retrieve().attempt == 1


def test_a_step_that_used_up_its_attempts_raises_what_went_wrong(executors):
    failures: list[tuple[Any, ...]] = []

    @task("steps.used-up", retry=ONCE)
    async def used_up(payload, ctx):
        try:
            await ctx.step("try", fail_until, 9, KeyError("x"), retry=AT_ONCE)
        except StepFailed as error:
            failures.append((error.step, error.error_type, error.message, error.attempts))
        await ctx.wait_for_signal("go")
        return "went on"

    first = executors()
    handle = used_up.trigger()
    until_parked(first, handle.id)
    first.stop(0)
    executors()
    runs.signal(handle.id, "go")
    assert handle.result(timeout=5) == "went on"
    assert failures == [("try", "KeyError", "'x'", 3)] * 2
    assert len(ran[handle.id]) == 3


def test_an_uncaught_step_failure_fails_the_run_and_names_the_step(executor):
    @task("steps.uncaught", retry=ONCE)
    async def uncaught(payload, ctx):
        await ctx.step("try", fail_until, 9, ValueError("nul\0 and \ud800"), retry=ONCE)

    handle = uncaught.trigger()
    run = until_status(handle.id, "FAILED")
    assert (run.error["type"], run.error["step"]) == ("ValueError", "try")
    assert "Traceback" in step_of(handle.id, "try").error["traceback"]


@pytest.mark.parametrize(
    ("error", "retry"),
    [(Hopeless("x"), AT_ONCE),
     (KeyError("x"), Retry(min_timeout=0, non_retryable=("LookupError",))),
     (Conflict("x"), Retry(min_timeout=0, non_retryable=("conflict",)))],
    ids=["by-itself", "by-class", "by-code"],
)  # fmt: skip
def test_an_error_that_forbids_it_is_not_tried_again(executor, error, retry):
    @task("steps.forbidden", retry=ONCE)
    async def forbidden(payload, ctx):
        await ctx.step("try", fail_until, 9, error, retry=retry)

    handle = forbidden.trigger()
    until_status(handle.id, "FAILED")
    assert ran[handle.id] == ["try"]


def test_a_task_that_aborts_is_not_tried_again(executor):
    @task("steps.abort", retry=AT_ONCE)
    async def abort(payload, ctx):
        raise Hopeless("enough")

    run = until_status(abort.trigger().id, "FAILED")
    assert (run.attempt, run.error["type"]) == (1, "Hopeless")


def test_a_run_is_tried_again_with_its_finished_steps_kept(executor):
    @task("steps.kept", retry=AT_ONCE)
    async def kept(payload, ctx):
        first = await ctx.step("first", noted, ctx.attempt)
        if ctx.attempt == 1:
            await ctx.step("second", fail_until, 9, ValueError("no"), retry=ONCE)
        return [first, await ctx.step("second", noted, ctx.attempt)]

    handle = kept.trigger()
    assert handle.result(timeout=8) == [1, 2]
    assert ran[handle.id] == ["first", "second", "second"]
    assert handle.retrieve().attempt == 2


def test_a_server_names_the_delay_and_a_short_one_is_kept_in_memory(executor):
    @task("steps.busy", retry=ONCE)
    async def busy(payload, ctx):
        return await ctx.step("try", fail_until, 2, Busy(0.2))

    handle = busy.trigger()
    began = time.monotonic()
    assert handle.result(timeout=5) == 2
    assert 0.2 <= time.monotonic() - began < 1
    assert "run.waiting" not in [event.type for event in runs.events(handle.id)]


def test_a_long_back_off_parks_the_run(executors):
    @task("steps.long-back-off", retry=ONCE)
    async def long_back_off(payload, ctx):
        return await ctx.step("try", fail_until, 2, Busy(3600))

    first = executors()
    handle = long_back_off.trigger()
    run = until_parked(first, handle.id)
    step = step_of(handle.id, "try")
    assert (step.status, step.attempt, step.error["type"]) == ("RETRYING", 1, "Busy")
    assert run.wake_at is not None and abs((run.wake_at - step.wake_at).total_seconds()) < 1
    first.stop(0)
    Step.objects.filter(run_id=handle.id).update(wake_at=run.created_at)
    Run.objects.filter(pk=handle.id).update(wake_at=run.created_at)
    executors()
    assert handle.result(timeout=5) == 2
    assert ran[handle.id] == ["try", "try"]


def test_the_delay_grows_by_the_policy(engine):
    @task("steps.growing", retry=ONCE)
    async def growing(payload, ctx):
        retry = Retry(max_attempts=4, min_timeout=0.5, factor=30, max_timeout=60, randomize=False)
        await ctx.step("try", stamp, retry=retry)

    begun = engine.now()
    stamps: list[float] = []

    def stamp() -> None:
        stamps.append((engine.now() - begun).total_seconds())
        if len(stamps) < 4:
            raise ValueError

    engine.trigger(growing).result(timeout=100)
    assert stamps == [0, 0.5, 15.5, 75.5]


@pytest.mark.parametrize("raised", [SystemExit(2), asyncio.CancelledError()])
@pytest.mark.parametrize("body", ["thread", "loop"])
def test_a_body_that_raises_a_control_exception_fails_its_step_and_nothing_else(
    executor, raised, body
):
    def on_thread() -> None:
        noted()
        raise raised

    async def on_loop() -> None:
        on_thread()

    @task(f"steps.control-{body}-{type(raised).__name__}", retry=ONCE)
    async def control(payload, ctx):
        try:
            await ctx.step(
                "try", on_thread if body == "thread" else on_loop, retry=Retry(max_attempts=1)
            )
        except StepFailed as error:
            return error.error_type

    handle = control.trigger()
    assert handle.result(timeout=2) == type(raised).__name__
    assert until_status(control.trigger().id, "COMPLETED", seconds=2)


def test_a_task_that_calls_exit_fails_its_run_and_nothing_else(executor):
    @task("steps.exit", retry=ONCE)
    async def exits(payload, ctx):
        sys.exit(payload)

    assert until_status(exits.trigger(1).id, "FAILED", seconds=2).error["type"] == "SystemExit"
    assert until_status(exits.trigger(2).id, "FAILED", seconds=2).error["message"] == "2"


# ---- limits in time -----------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True], ids=["async", "def"])
def test_an_attempt_that_takes_too_long_is_abandoned_and_tried_again(executor, plain):
    async def on_loop() -> int:
        noted()
        if current_step().attempt == 1:
            await asyncio.sleep(60)
        return current_step().attempt

    def on_thread() -> int:
        noted()
        if current_step().attempt == 1:
            time.sleep(0.3)
        return current_step().attempt

    @task(f"steps.slow-{plain}", retry=ONCE)
    async def slow(payload, ctx):
        body = on_thread if plain else on_loop
        return await ctx.step("try", body, timeout=0.1, retry=AT_ONCE)

    handle = slow.trigger()
    assert handle.result(timeout=5) == 2
    assert ran[handle.id] == ["try", "try"]


def test_the_last_attempt_that_takes_too_long_fails_the_step(executor):
    @task("steps.too-slow", retry=ONCE)
    async def too_slow(payload, ctx):
        await ctx.step("try", asyncio.sleep, 60, timeout=0.05, retry=ONCE)

    assert until_status(too_slow.trigger().id, "FAILED").error["type"] == "StepTimeout"


def test_all_attempts_together_end_within_schedule_to_close(engine):
    @task("steps.closing", retry=ONCE)
    async def closing(payload, ctx):
        retry = Retry(max_attempts=100, min_timeout=20, factor=1, randomize=False)
        await ctx.step("try", fail_until, 200, ValueError("no"), retry=retry, schedule_to_close=150)

    handle = engine.trigger(closing)
    engine.advance(seconds=150)
    assert handle.retrieve().status == "FAILED"
    step = step_of(handle.id, "try")
    assert (step.attempt, step.finished_at - step.started_at) == (8, timedelta(seconds=140))


def test_schedule_to_close_also_cuts_an_attempt_short(executor):
    @task("steps.cut-short", retry=ONCE)
    async def cut_short(payload, ctx):
        await ctx.step("try", asyncio.sleep, 60, timeout=30, schedule_to_close=0.05, retry=AT_ONCE)

    handle = cut_short.trigger()
    assert until_status(handle.id, "FAILED").error["type"] == "StepTimeout"
    assert step_of(handle.id, "try").attempt == 1


@pytest.mark.parametrize("plain", [False, True], ids=["async", "def"])
def test_an_attempt_without_a_heartbeat_ends_and_the_next_one_reads_the_last(executor, plain):
    def beat() -> Any:
        step = current_step()
        noted()
        if step.attempt == 1:
            step.heartbeat({"page": 1})
            step.heartbeat({"page": 2})
        return step.last_heartbeat

    async def on_loop() -> Any:
        last = beat()
        if last is None:
            await asyncio.sleep(60)
        return last

    def on_thread() -> Any:
        last = beat()
        if last is None:
            time.sleep(0.3)
        return last

    @task(f"steps.silent-{plain}", retry=ONCE)
    async def silent(payload, ctx):
        body = on_thread if plain else on_loop
        return await ctx.step("try", body, heartbeat_timeout=0.1, retry=AT_ONCE)

    handle = silent.trigger()
    assert handle.result(timeout=5) == {"page": 2}
    assert ran[handle.id] == ["try", "try"]


def test_heartbeats_keep_a_long_attempt_alive(executor):
    async def beat() -> str:
        for n in range(8):
            current_step().heartbeat(n)
            await asyncio.sleep(0.05)
        return "alive"

    @task("steps.alive", retry=ONCE)
    async def alive(payload, ctx):
        return await ctx.step("try", beat, heartbeat_timeout=0.2, retry=ONCE)

    assert alive.trigger().result(timeout=5) == "alive"


def test_the_last_heartbeat_survives_a_back_off_for_which_the_run_parks(executors):
    def beat() -> Any:
        step = current_step()
        if step.attempt == 1:
            step.heartbeat(1)
            step.heartbeat(2)
            raise Busy(3600)
        return step.last_heartbeat

    @task("steps.beat-and-park", retry=ONCE)
    async def beat_and_park(payload, ctx):
        return await ctx.step("try", beat)

    first = executors()
    handle = beat_and_park.trigger()
    run = until_parked(first, handle.id)
    first.stop(0)
    Step.objects.filter(run_id=handle.id).update(wake_at=run.created_at)
    Run.objects.filter(pk=handle.id).update(wake_at=run.created_at)
    executors()
    assert handle.result(timeout=5) == 2


def test_a_heartbeat_in_an_abandoned_thread_does_not_harm_the_run(executor):
    def beat() -> int:
        step = current_step()
        while step.attempt == 1:
            step.heartbeat()
            time.sleep(0.01)
        return step.attempt

    @task("steps.abandoned", retry=ONCE)
    async def abandoned(payload, ctx):
        return await ctx.step("try", beat, timeout=0.1, retry=AT_ONCE)

    assert abandoned.trigger().result(timeout=5) == 2


# ---- what may not be stored ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [float("nan"), {"x": float("inf")}, ["nul\0"], {"nul\0": 1}, "\ud800", object(), 10**5000],
    ids=["nan", "inf", "nul", "nul-key", "surrogate", "object", "big"],
)
def test_a_result_that_is_not_json_fails_that_step_and_no_neighbour(executor, value):
    @task("steps.unstorable", retry=ONCE)
    async def unstorable(payload, ctx):
        async def one(branch, result):
            try:
                return await branch.step("s", noted_async, result, retry=ONCE)
            except StepFailed as error:
                return error.error_type

        branches = [one(ctx.branch("bad"), value), *(one(ctx.branch(f"b{n}"), n) for n in range(5))]
        return await asyncio.gather(*branches)

    others = [runs.trigger("steps.neighbour", n) for n in range(5)]
    assert unstorable.trigger().result(timeout=5) == ["Invalid", 0, 1, 2, 3, 4]
    assert [other.result(timeout=5) for other in others] == [0, 1, 2, 3, 4]


@task("steps.neighbour", retry=ONCE)
async def neighbour(payload, ctx):
    return await ctx.step("s", noted_async, payload)


def test_a_result_over_the_limit_fails_its_step(executor):
    @task("steps.too-large", retry=ONCE)
    async def too_large(payload, ctx):
        await ctx.step("s", lambda: "x" * (10 * 1024 * 1024), retry=ONCE)

    assert until_status(too_large.trigger().id, "FAILED").error["type"] == "TooLarge"


def test_a_run_whose_output_is_not_json_fails(executor):
    @task("steps.bad-output", retry=ONCE)
    async def bad_output(payload, ctx):
        return {"x": float("nan")}

    run = until_status(bad_output.trigger().id, "FAILED")
    assert (run.error["type"], run.error["field"]) == ("Invalid", "output")


@pytest.mark.parametrize(
    ("field", "use"),
    [("name", lambda ctx, name: ctx.step(name, noted_async)),
     ("name", lambda ctx, name: ctx.sleep(0, name=name)),
     ("name", lambda ctx, name: ctx.create_token(name)),
     ("name", lambda ctx, name: ctx.wait_for_signal(name, timeout=0)),
     ("name", lambda ctx, name: ctx.trigger("steps.neighbour", name=name)),
     ("kind", lambda ctx, name: ctx.step(f"s{name!a}", noted_async, kind=name)),
     ("type", lambda ctx, name: ctx.emit(name)),
     ("stream", lambda ctx, name: ctx.stream(name).append(1))],
    ids=["step", "sleep", "token", "signal", "trigger", "kind", "emit", "stream"],
)  # fmt: skip
def test_a_bad_name_is_refused_and_the_run_goes_on(executor, field, use):
    @task("steps.bad-name", retry=ONCE)
    async def bad_name(payload, ctx):
        fields = []
        for name in ("", "unit\x1f", "nul\0", "\ud800"):
            try:
                made = use(ctx, name)
                if made is not None:
                    await made
            except Invalid as error:
                fields.append(error.field)
        await ctx.step("after", noted_async)
        return fields

    assert bad_name.trigger().result(timeout=2) == [field] * 4


# ---- at most once, transactional, pure ----------------------------------------------------------


def test_the_start_of_an_at_most_once_step_is_durable_before_its_body_runs(executor):
    def look() -> str:
        return step_of(current_step().run_id, "pay").status

    @task("steps.announced", retry=ONCE)
    async def announced(payload, ctx):
        return await ctx.step("pay", look, at_most_once=True)

    assert announced.trigger().result(timeout=5) == "STARTED"


def test_an_at_most_once_step_whose_failure_is_known_is_tried_again(executor):
    @task("steps.known-failure", retry=ONCE)
    async def known_failure(payload, ctx):
        return await ctx.step(
            "pay", fail_until, 2, ValueError("no"), retry=AT_ONCE, at_most_once=True
        )

    assert known_failure.trigger().result(timeout=5) == 2


def test_a_transactional_step_commits_its_rows_and_itself_together(executor):
    def enrol() -> str:
        get_user_model().objects.create(username="ada")
        noted()
        return "enrolled"

    @task("steps.enrol", retry=ONCE)
    async def enrols(payload, ctx):
        return await ctx.step("enrol", enrol, transactional=True)

    handle = enrols.trigger()
    assert handle.result(timeout=5) == "enrolled"
    step = step_of(handle.id, "enrol")
    assert (step.status, step.output, step.seq) == ("COMPLETED", "enrolled", 1)
    assert get_user_model().objects.filter(username="ada").count() == 1
    events = runs.events(handle.id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


def test_a_transactional_step_that_fails_leaves_none_of_its_rows(executor):
    def enrol() -> int:
        step = current_step()
        get_user_model().objects.create(username=f"user-{step.attempt}")
        if step.attempt < 3:
            raise ValueError("no")
        return get_user_model().objects.count()

    @task("steps.enrol-later", retry=ONCE)
    async def enrols_later(payload, ctx):
        return await ctx.step("enrol", enrol, transactional=True, retry=AT_ONCE)

    assert enrols_later.trigger().result(timeout=5) == 1
    assert [user.username for user in get_user_model().objects.all()] == ["user-3"]


def test_a_transactional_step_of_a_run_that_was_lost_leaves_none_of_its_rows(executor):
    gate = Gate()

    def enrol() -> None:
        get_user_model().objects.create(username="ada")
        gate.on_thread()

    @task("steps.enrol-in-vain", retry=ONCE)
    async def enrols_in_vain(payload, ctx):
        await ctx.step("enrol", enrol, transactional=True)

    handle = enrols_in_vain.trigger()
    gate.until_reached()
    runs.terminate(handle.id)
    gate.open()
    eventually(lambda: handle.id not in executor.hand)
    idle = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'"
    eventually(lambda: _scalar(idle) == 0)
    assert get_user_model().objects.count() == 0
    assert step_of(handle.id, "enrol").status == "STARTED"


def _scalar(statement: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


@pytest.mark.parametrize(
    ("field", "options"),
    [("pure", {"pure": True, "at_most_once": True}),
     ("pure", {"pure": True, "transactional": True}),
     ("transactional", {"transactional": True}), ("timeout", {"timeout": -1}),
     ("heartbeat_timeout", {"heartbeat_timeout": "soon"}),
     ("schedule_to_close", {"schedule_to_close": float("nan")})],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused_by_name(executor, field, options):
    @task("steps.nonsense", retry=ONCE)
    async def nonsense(payload, ctx):
        await ctx.step("s", noted_async, **options)

    handle = nonsense.trigger()
    run = until_status(handle.id, "FAILED")
    assert (run.error["type"], run.error["field"]) == ("Invalid", field)
    assert ran[run.id] == []


def test_pure_steps_are_stored_and_not_repeated(executors):
    @task("steps.pure", retry=ONCE)
    async def pure(payload, ctx):
        total = 0
        for n in range(20):
            total += await ctx.step(f"p{n}", noted_async, n, pure=True)
        await ctx.wait_for_signal("go")
        return total

    first = executors()
    handle = pure.trigger()
    until_parked(first, handle.id)
    first.stop(0)
    executors()
    runs.signal(handle.id, "go")
    assert handle.result(timeout=5) == 190
    assert len(ran[handle.id]) == 20
    assert Step.objects.filter(run_id=handle.id, key__startswith="p").count() == 20


def test_an_effect_begins_only_when_the_pure_steps_before_it_are_durable(executor):
    locked, began = threading.Event(), threading.Event()

    def effect() -> bool:
        began.set()
        return Step.objects.filter(
            run_id=current_step().run_id, key="decide", status="COMPLETED"
        ).exists()

    @task("steps.decide", retry=ONCE)
    async def decide(payload, ctx):
        await ctx.step("before", noted_async)
        while not locked.is_set():
            await asyncio.sleep(0.005)
        await ctx.step("decide", noted_async, pure=True)
        # Time for the journal to take the row along, and to find the run's row locked.
        await asyncio.sleep(0.05)
        return await ctx.step("effect", effect)

    handle = decide.trigger()
    eventually(lambda: ran[handle.id])
    with transaction.atomic():
        Run.objects.select_for_update().get(pk=handle.id)
        locked.set()
        too_early = began.wait(0.3)
    assert handle.result(timeout=5) is True
    assert not too_early


# ---- misuse -------------------------------------------------------------------------------------


def test_two_steps_with_one_key_are_an_error_at_once(executor):
    @task("steps.twice", retry=AT_ONCE)
    async def twice(payload, ctx):
        await ctx.step("s", noted)
        await ctx.step("s", noted)

    run = until_status(twice.trigger().id, "FAILED")
    assert (run.error["type"], run.error["code"], run.attempt) == (
        "DuplicateStep", "duplicate_step", 1,
    )  # fmt: skip
    assert ran[run.id] == ["s"]


def test_unnamed_operations_are_numbered_in_their_scope(executor):
    @task("steps.numbered", retry=ONCE)
    async def numbered(payload, ctx):
        await ctx.sleep(0)
        await ctx.sleep(0)
        await ctx.branch("b").sleep(0)

    handle = numbered.trigger()
    handle.result(timeout=5)
    assert {step.key for step in runs.steps(handle.id)} == {"sleep#1", "sleep#2", "b/sleep#1"}


def test_parallel_tasks_need_a_branch_each(executor):
    @task("steps.no-branch", retry=AT_ONCE)
    async def no_branch(payload, ctx):
        await asyncio.gather(ctx.step("a", noted_async), ctx.step("b", noted_async))

    run = until_status(no_branch.trigger().id, "FAILED")
    assert (run.error["type"], run.attempt) == ("BranchRequired", 1)


@pytest.mark.parametrize("name", ["", "a/b", "a\nb"])
def test_a_branch_has_a_plain_name(executor, name):
    @task("steps.branch-name", retry=ONCE)
    async def branch_name(payload, ctx):
        ctx.branch(name)

    assert until_status(branch_name.trigger().id, "FAILED").error["field"] == "name"


def test_two_branches_of_one_name_are_an_error(executor):
    @task("steps.same-branch", retry=ONCE)
    async def same_branch(payload, ctx):
        ctx.branch("a")
        ctx.branch("a")

    assert until_status(same_branch.trigger().id, "FAILED").error["type"] == "DuplicateStep"


def test_a_body_cannot_use_the_context(executor):
    @task("steps.inside-out", retry=ONCE)
    async def inside_out(payload, ctx):
        async def body() -> None:
            await ctx.step("inner", noted_async)

        await ctx.step("outer", body, retry=ONCE)

    handle = inside_out.trigger()
    assert until_status(handle.id, "FAILED").error["type"] == "Conflict"
    assert [step.key for step in runs.steps(handle.id)] == ["outer"]


def test_an_unhashable_callable_can_be_a_body(executor):
    @dataclass
    class Adder:
        n: int

        def __call__(self, m: int) -> int:
            return self.n + m

    @task("steps.callable", retry=ONCE)
    async def callable_body(payload, ctx):
        return await ctx.step("s", Adder(1), 2)

    assert callable_body.trigger().result(timeout=5) == 3


# ---- a lost worker ------------------------------------------------------------------------------

_WORKER = """
import signal, django
django.setup()
from executions.engine import worker
worker.start()
signal.pause()
"""


@pytest.fixture
def worker(database_url: str) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts worker processes that know the tasks of this module."""
    environment = {
        **os.environ, "FLOWMAESTRO_DATABASE_URL": database_url,
        "FLOWMAESTRO_TASK_MODULES": "executions.tests.test_steps",
    }  # fmt: skip
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", _WORKER], cwd=settings.BASE_DIR, env=environment,
            preexec_fn=child_setup(),
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def kill(process: subprocess.Popen[bytes]) -> None:
    """Ends a process as a crash does."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def write_line(path: str, text: str) -> str:
    """An effect outside the database."""
    with Path(path).open("a") as file:
        file.write(text + "\n")
    return text


def dies_once(path: str, text: str) -> str:
    """An effect, after which the first process to have it hangs until it is killed."""
    first = text not in Path(path).read_text().split()
    write_line(path, text)
    if first:
        current_step().heartbeat({"line": text})
        time.sleep(60)
    return text


def enrol_and_die_once(path: str) -> int:
    """The same within a transaction."""
    get_user_model().objects.create(username=f"user-{get_user_model().objects.count()}")
    if "enrolled" not in Path(path).read_text().split():
        write_line(path, "enrolled")
        time.sleep(60)
    return get_user_model().objects.count()


@task("steps.crash", retry=ONCE)
async def crash(payload, ctx):
    for n in range(10):
        await ctx.step(f"before-{n}", write_line, payload, f"before-{n}")
    await ctx.step("hang", dies_once, payload, "hang")
    for n in range(10):
        await ctx.step(f"after-{n}", write_line, payload, f"after-{n}")
    return "done"


@task("steps.crash-at-most-once", retry=Retry(max_attempts=3, min_timeout=0))
async def crash_at_most_once(payload, ctx):
    try:
        await ctx.step("hang", dies_once, payload, "hang", at_most_once=True)
    except StepInterrupted:
        kind = "interrupted"
    except StepFailed as error:
        kind = f"failed: {error.error_type}"
    await ctx.sleep(hours=1)
    return kind


@task("steps.crash-in-transaction", retry=ONCE)
async def crash_in_transaction(payload, ctx):
    return await ctx.step("enrol", enrol_and_die_once, payload, transactional=True)


def test_a_killed_worker_costs_no_finished_step(worker, executors, tmp_path):
    log = tmp_path / "log"
    log.touch()
    process = worker()
    handle = runs.trigger("steps.crash", str(log))
    eventually(lambda: "hang" in log.read_text(), seconds=20)
    kill(process)
    executors()
    assert handle.result(timeout=10) == "done"
    lines = log.read_text().split()
    assert lines.count("hang") == 2
    assert len(lines) == len(set(lines)) + 1 == 22


def test_an_at_most_once_step_whose_worker_died_is_interrupted_and_not_repeated(
    worker, executors, tmp_path
):
    log = tmp_path / "log"
    log.touch()
    process = worker()
    handle = runs.trigger("steps.crash-at-most-once", str(log))
    eventually(lambda: "hang" in log.read_text(), seconds=20)
    kill(process)
    second = executors()
    until_parked(second, handle.id)
    second.stop(0)
    run = runs.retrieve(handle.id)
    Step.objects.filter(run_id=run.id, kind="sleep").update(wake_at=run.created_at)
    Run.objects.filter(pk=run.id).update(wake_at=run.created_at)
    executors()
    assert log.read_text().split() == ["hang"]
    assert step_of(run.id, "hang").error["type"] == "StepInterrupted"
    assert handle.result(timeout=5) == "interrupted"


def test_a_transaction_of_a_killed_worker_leaves_nothing_and_is_made_again(
    worker, executors, tmp_path
):
    log = tmp_path / "log"
    log.touch()
    process = worker()
    handle = runs.trigger("steps.crash-in-transaction", str(log))
    eventually(lambda: "enrolled" in log.read_text(), seconds=20)
    kill(process)
    executors()
    assert handle.result(timeout=10) == 1


def test_a_second_worker_takes_the_last_heartbeat_over(worker, executors, tmp_path):
    log = tmp_path / "log"
    log.touch()
    process = worker()
    handle = runs.trigger("steps.crash", str(log))
    eventually(
        lambda: Step.objects.filter(run_id=handle.id, key="hang", heartbeat__isnull=False),
        seconds=20,
    )
    kill(process)
    executors()
    handle.result(timeout=10)
    assert step_of(handle.id, "hang").heartbeat == {"line": "hang"}
