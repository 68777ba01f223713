"""What is done to runs: trigger, look, cancel, terminate, reschedule, signal, release."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection, transaction
from pydantic import BaseModel

from executions import runs
from executions.engine.context import current_step
from executions.errors import Conflict, FlowMaestroError, Invalid, NotFound, TooLarge
from executions.models import IdempotencyKey, Run, RunData, RunEvent, Signal
from executions.registry import task
from executions.rules.retry import Retry
from executions.tests.bodies import ONCE, Gate, noted, noted_async, ran, until_parked
from executions.tests.conftest import eventually, until_status


class Order(BaseModel):
    """A payload that a task declares."""

    number: int
    item: str


@dataclass
class Address:
    """The same as a dataclass."""

    city: str


@task("runs.echo", retry=ONCE)
async def echo(payload, ctx):
    return {"payload": payload}


@task("runs.order", retry=ONCE)
async def order(payload: Order, ctx) -> dict:
    return {"next": payload.number + 1}


@task("runs.address", retry=ONCE)
async def address(payload: Address, ctx) -> dict:
    return {"city": payload.city}


@task("runs.fail", retry=ONCE)
async def fail(payload, ctx):
    raise ValueError("no luck")


@task("runs.sleepy", retry=ONCE)
async def sleepy(payload, ctx):
    try:
        await ctx.sleep(hours=1)
    finally:
        await ctx.step("clean-up", noted)


@task("runs.waits-for-signal", retry=ONCE)
async def waits_for_signal(payload, ctx):
    return [(await ctx.wait_for_signal("go")).output for _ in range(payload)]


def rows() -> int:
    """How many rows a trigger may have written."""
    return sum(model.objects.count() for model in (Run, RunData, RunEvent, IdempotencyKey))


# ---- trigger ------------------------------------------------------------------------------------


def test_a_trigger_is_committed_together_with_the_callers_rows(executor):
    with transaction.atomic():
        user = get_user_model().objects.create(username="ada")
        handle = runs.trigger("runs.echo", {"user": user.pk}, owner=user.pk)
    assert handle.result(timeout=5) == {"payload": {"user": user.pk}}
    assert handle.retrieve().owner == user


def test_a_trigger_vanishes_with_the_callers_transaction(executor):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        lost = runs.trigger("runs.echo", 1, idempotency_key="k")
        _ = 1 / 0
    with pytest.raises(NotFound):
        runs.retrieve(lost.id)
    assert rows() == 0
    kept = runs.trigger("runs.echo", 2, idempotency_key="k")
    assert not kept.is_cached
    assert kept.result(timeout=5) == {"payload": 2}


def test_a_new_run_keeps_every_option(db):
    user = get_user_model().objects.create(username="ada")
    handle = echo.trigger(
        [1], delay="1h30m", ttl=60, tags=["a", "b"], priority=5, queue="slow", concurrency_key="c",
        metadata={"step": 0}, max_attempts=7, max_duration="10m", run_timeout=timedelta(days=1),
        owner=user.pk,
    )  # fmt: skip
    run = handle.retrieve()
    starts = run.due_at + timedelta(seconds=5)
    assert (run.status, run.wake_at) == ("DELAYED", starts)
    assert abs(starts - run.created_at - timedelta(minutes=90)) < timedelta(seconds=9)
    assert run.expires_at == starts + timedelta(seconds=60)
    assert run.deadline_at == starts + timedelta(days=1)
    assert (run.tags, run.priority, run.queue) == (["a", "b"], 5, "slow")
    assert (run.concurrency_key, run.max_attempts, run.max_duration) == ("c", 7, 600)
    assert (run.data.payload, run.data.metadata) == ([1], {"step": 0})
    assert (run.owner, run.root_id, run.parent_id) == (user, run.id, None)
    assert [(event.seq, event.type) for event in runs.events(run.id)] == [(1, "run.delayed")]


def test_a_task_gives_the_defaults_and_the_trigger_overrides_them(db):
    @task("runs.defaults", max_duration="1m", run_timeout="2m", ttl="3m", queue="reports")
    async def defaults(payload, ctx):
        return None

    given = defaults.trigger().retrieve()
    assert (given.max_duration, given.queue) == (60, "reports")
    assert given.expires_at == given.due_at + timedelta(minutes=3)
    assert given.deadline_at == given.due_at + timedelta(minutes=2)
    other = defaults.trigger(max_duration=5, ttl=0, queue="q").retrieve()
    assert (other.max_duration, other.expires_at, other.queue) == (5, None, "q")
    assert echo.trigger().retrieve().queue == "runs.echo"


def test_a_moment_may_be_given_as_the_delay(db):
    moment = datetime(2100, 1, 1, tzinfo=UTC)
    assert runs.trigger("runs.echo", delay=moment).retrieve().wake_at == moment
    past = runs.trigger("runs.echo", delay=datetime(2000, 1, 1, tzinfo=UTC)).retrieve()
    assert past.status == "QUEUED"


@pytest.mark.parametrize(
    ("payload", "city"), [({"city": "Rome"}, "Rome"), (Address("Oslo"), "Oslo")]
)
def test_a_payload_arrives_as_the_task_declares_it(executor, payload, city):
    assert address.trigger(payload).result(timeout=5) == {"city": city}


BAD_OPTIONS: list[tuple[str, Any]] = [
    ("delay", -1),
    ("delay", "tomorrow"),
    ("delay", float("nan")),
    ("delay", float("inf")),
    ("delay", True),
    ("delay", datetime(2100, 1, 1)),
    ("ttl", -1),
    ("ttl", "1 hour"),
    ("max_duration", timedelta(seconds=-1)),
    ("run_timeout", []),
    ("tags", "urgent"),
    ("tags", [str(n) for n in range(11)]),
    ("tags", [""]),
    ("tags", ["x" * 129]),
    ("tags", [1]),
    ("tags", ["nul\0"]),
    ("priority", 1.5),
    ("priority", True),
    ("priority", 10**9),
    ("queue", ""),
    ("queue", "x" * 129),
    ("queue", "nul\0"),
    ("concurrency_key", ""),
    ("concurrency_key", "\ud800"),
    ("metadata", [1]),
    ("metadata", {"x": float("nan")}),
    ("max_attempts", 0),
    ("max_attempts", True),
    ("max_attempts", "3"),
    ("parent_close", "EXPLODE"),
    ("owner", "ada"),
    ("owner", 999_999),
    ("definition", "wfv_unknown"),
    ("idempotency_key", ""),
    ("idempotency_key", "x" * 2049),
    ("idempotency_key", 7),
    ("idempotency_key", "nul\0"),
    ("idempotency_key", "\ud800"),
]


@pytest.mark.parametrize(("field", "value"), BAD_OPTIONS)
def test_a_bad_option_is_refused_by_name_and_nothing_is_written(db, field, value):
    with pytest.raises(FlowMaestroError) as refusal:
        runs.trigger("runs.echo", {}, **{field: value})
    assert isinstance(refusal.value, Invalid | NotFound)
    assert refusal.value.field == field
    assert rows() == 0


@pytest.mark.parametrize("ttl", [0, -1, "soon"])
def test_a_bad_lifetime_of_an_idempotency_key_is_refused(db, ttl):
    with pytest.raises(Invalid) as refusal:
        runs.trigger("runs.echo", idempotency_key="k", idempotency_key_ttl=ttl)
    assert refusal.value.field == "idempotency_key_ttl"
    assert rows() == 0


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    "payload",
    [object(), float("nan"), [float("inf")], {"a": "nul\0"}, {"nul\0": 1}, "\ud800", {(1,): 2},
     b"bytes", 10**5000, LOOP],
    ids=["object", "nan", "inf", "nul", "nul-key", "surrogate", "tuple-key", "bytes", "big",
         "loop"],
)  # fmt: skip
def test_a_payload_that_is_not_json_is_refused_and_nothing_is_written(db, payload):
    with pytest.raises(Invalid) as refusal:
        runs.trigger("runs.echo", payload)
    assert (refusal.value.field, refusal.value.http_status) == ("payload", 400)
    assert rows() == 0


@pytest.mark.parametrize(
    ("payload", "field"),
    [({"number": "x", "item": "tea"}, "payload.number"), ({"number": 1}, "payload.item"),
     (None, "payload")],
)  # fmt: skip
def test_a_payload_that_does_not_fit_the_task_is_refused_by_the_name_of_its_field(
    db, payload, field
):
    with pytest.raises(Invalid) as refusal:
        order.trigger(payload)
    assert refusal.value.field == field
    assert rows() == 0


@pytest.mark.parametrize(
    ("field", "options"),
    [("payload", {"payload": "x" * 3_145_727}), ("metadata", {"metadata": {"x": "é" * 131_072}})],
)
def test_what_is_too_large_is_refused_with_413(db, field, options):
    with pytest.raises(TooLarge) as refusal:
        runs.trigger("runs.echo", **options)
    assert (refusal.value.field, refusal.value.http_status) == (field, 413)
    assert rows() == 0


def test_a_payload_at_the_limit_is_taken(db):
    assert runs.trigger("runs.echo", "x" * 3_145_726).retrieve().status == "QUEUED"


def test_an_unknown_task_is_named(db):
    with pytest.raises(NotFound, match=r"no task \"runs.nowhere\"") as refusal:
        runs.trigger("runs.nowhere")
    assert refusal.value.field == "task"


def test_a_batch_starts_all_of_its_runs_in_order_or_none(executor):
    handles = runs.batch_trigger("runs.echo", [1, 2, 3], tags=["batch"])
    assert [handle.result(timeout=5)["payload"] for handle in handles] == [1, 2, 3]
    before = rows()
    with pytest.raises(Invalid):
        runs.batch_trigger("runs.echo", [1, float("nan"), 3])
    assert rows() == before
    assert runs.batch_trigger("runs.echo", []) == []


@pytest.mark.parametrize("payloads", ["text", 5, [0] * 1001], ids=["text", "number", "too-many"])
def test_a_batch_is_a_list_of_at_most_a_thousand_payloads(db, payloads):
    with pytest.raises(Invalid) as refusal:
        runs.batch_trigger("runs.echo", payloads)
    assert refusal.value.field == "payloads"


# ---- idempotency --------------------------------------------------------------------------------


def test_one_key_means_one_run_while_it_is_open_and_when_it_is_finished(executor):
    first = runs.trigger("runs.echo", 1, idempotency_key="k")
    assert runs.trigger("runs.echo", 2, idempotency_key="k").id == first.id
    first.result(timeout=5)
    again = runs.trigger("runs.echo", 3, idempotency_key="k")
    assert (again.id, again.is_cached) == (first.id, True)
    assert Run.objects.count() == 1


def test_a_key_counts_for_one_task(db):
    first = runs.trigger("runs.echo", idempotency_key="k")
    other = runs.trigger("runs.fail", idempotency_key="k")
    assert (other.is_cached, other.id != first.id) == (False, True)


def test_a_failed_run_frees_its_key(executor):
    first = runs.trigger("runs.fail", idempotency_key="k")
    until_status(first.id, "FAILED")
    second = runs.trigger("runs.fail", idempotency_key="k")
    assert (second.is_cached, second.id != first.id) == (False, True)


def test_a_canceled_run_keeps_its_key(db):
    first = runs.trigger("runs.echo", idempotency_key="k")
    runs.cancel(first.id)
    assert runs.trigger("runs.echo", idempotency_key="k").id == first.id


def test_a_key_is_free_after_its_lifetime_and_then_holds_again(db):
    first = runs.trigger("runs.echo", idempotency_key="k", idempotency_key_ttl="1h")
    left = IdempotencyKey.objects.get().expires_at - first.retrieve().due_at
    assert abs(left - timedelta(hours=1)) < timedelta(seconds=1)
    IdempotencyKey.objects.update(expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    second = runs.trigger("runs.echo", idempotency_key="k")
    assert second.id != first.id
    assert runs.trigger("runs.echo", idempotency_key="k").id == second.id


def test_concurrent_claims_of_one_key_start_one_run(transactional_db):
    start = threading.Barrier(8)
    found: list[str] = []

    def claim() -> None:
        start.wait()
        try:
            found.append(runs.trigger("runs.echo", idempotency_key="k").id)
        finally:
            connection.close()

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == Run.objects.count() == 1


# ---- when a run starts and how long it may take -------------------------------------------------


def test_a_delayed_run_starts_when_its_time_has_come(engine):
    handle = engine.trigger("runs.echo", 1, delay=0.3)
    engine.advance(seconds=0.299999)
    assert handle.retrieve().status == "DELAYED"
    engine.advance(seconds=0.000001)
    assert handle.result() == {"payload": 1}
    run = handle.retrieve()
    assert run.started_at - run.created_at == timedelta(seconds=0.3)


def test_a_run_that_does_not_start_within_its_ttl_expires(engine):
    @task("runs.only-started-in-time")
    async def late(payload, ctx):
        raise AssertionError("It must not start.")

    expired = engine.trigger(late, delay="1h", ttl=5)
    Run.objects.filter(pk=expired.id).update(expires_at=engine.now() + timedelta(minutes=59))
    engine.advance(minutes=58)
    assert expired.retrieve().status == "DELAYED"
    engine.advance(minutes=2)
    run = expired.retrieve()
    assert (run.status, run.started_at, run.error["type"]) == ("EXPIRED", None, "Expired")
    with pytest.raises(runs.RunFailed, match="EXPIRED"):
        expired.result()


def test_a_ttl_says_nothing_about_a_run_that_started(executor):
    handle = runs.trigger("runs.sleepy", ttl=0.2)
    until_parked(executor, handle.id)
    Run.objects.filter(pk=handle.id).update(expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    runs.cancel(handle.id)
    assert until_status(handle.id, "CANCELED", "EXPIRED").status == "CANCELED"


def test_a_reschedule_moves_the_start_and_all_that_counts_from_it(db):
    handle = runs.trigger("runs.echo", delay="1h", ttl=60, run_timeout=120, priority=5)
    moment = datetime(2100, 1, 1, tzinfo=UTC)
    run = runs.reschedule(handle.id, moment)
    assert (run.status, run.wake_at) == ("DELAYED", moment)
    assert run.due_at == moment - timedelta(seconds=5)
    assert run.expires_at == moment + timedelta(seconds=60)
    assert run.deadline_at == moment + timedelta(seconds=120)


def test_a_run_rescheduled_to_now_starts(executor):
    handle = runs.trigger("runs.echo", 1, delay="1h")
    runs.reschedule(handle.id, 0)
    assert handle.result(timeout=5) == {"payload": 1}


def test_only_a_delayed_run_can_be_rescheduled(db):
    handle = runs.trigger("runs.echo")
    with pytest.raises(Conflict, match="QUEUED"):
        runs.reschedule(handle.id, "1h")
    delayed = runs.trigger("runs.echo", delay="1h")
    with pytest.raises(Invalid) as refusal:
        runs.reschedule(delayed.id, -1)
    assert refusal.value.field == "delay"


@pytest.fixture
def one_at_a_time(settings):
    """An executor of this test holds one run at once."""
    settings.FLOWMAESTRO = replace(settings.FLOWMAESTRO, WORKER_CONCURRENCY=1)


def test_runs_start_by_priority_and_then_by_age(transactional_db, one_at_a_time, executors):
    low = runs.trigger("runs.echo", priority=-60)
    first = runs.trigger("runs.echo")
    second = runs.trigger("runs.echo")
    urgent = runs.trigger("runs.echo", priority=60)
    executors()
    order = [urgent.id, first.id, second.id, low.id]
    until_status(low.id, "COMPLETED", seconds=3)
    started = Run.objects.order_by("started_at").values_list("id", flat=True)
    assert list(started) == order


@pytest.mark.parametrize("plain", [False, True], ids=["async", "def"])
def test_a_run_that_outlasts_its_run_timeout_cleans_up_and_is_timed_out(executor, plain):
    gate = Gate()

    @task(f"runs.too-long-{plain}", retry=ONCE)
    async def too_long(payload, ctx):
        try:
            await ctx.step("work", gate.on_thread if plain else gate.on_loop)
        finally:
            await ctx.step("clean-up", noted)

    handle = too_long.trigger(run_timeout=0.2)
    run = until_status(handle.id, "TIMED_OUT")
    gate.open()
    assert run.error["code"] == "RUN_TIMEOUT"
    assert ran[run.id] == ["work", "clean-up"]


def test_a_parked_run_is_timed_out_by_its_run_timeout(engine):
    handle = engine.trigger("runs.sleepy", run_timeout=600)
    engine.advance(seconds=599)
    assert handle.retrieve().status == "WAITING"
    engine.advance(seconds=1)
    run = handle.retrieve()
    assert (run.status, run.error["code"]) == ("TIMED_OUT", "RUN_TIMEOUT")


def test_a_run_that_is_active_for_longer_than_max_duration_is_timed_out(executor):
    gate = Gate()

    @task("runs.too-active", max_duration=0.2)
    async def too_active(payload, ctx):
        await ctx.step("work", gate.on_loop)

    run = until_status(too_active.trigger().id, "TIMED_OUT")
    assert (run.error["code"], run.attempt) == ("MAX_DURATION_EXCEEDED", 1)


def test_waits_do_not_count_as_active_time(executor):
    @task("runs.mostly-waiting", max_duration=0.3)
    async def mostly_waiting(payload, ctx):
        for _ in range(3):
            await ctx.sleep(0.3)
        return "rested"

    assert mostly_waiting.trigger().result(timeout=5) == "rested"


# ---- cancel and terminate -----------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"delay": "1h"}], ids=["queued", "delayed"])
def test_a_run_that_never_began_is_canceled_at_once_and_never_runs(db, options):
    handle = runs.trigger("runs.sleepy", **options)
    run = runs.cancel(handle.id, reason="changed my mind")
    assert (run.status, run.started_at) == ("CANCELED", None)
    assert run.error == {"type": "Canceled", "message": "changed my mind"}


def test_a_canceled_delayed_run_is_not_claimed_when_its_time_comes(executor):
    handle = runs.trigger("runs.echo", delay=0.2)
    runs.cancel(handle.id)
    later = runs.trigger("runs.echo", delay=0.2)
    later.result(timeout=5)
    assert handle.retrieve().started_at is None


def test_a_waiting_run_is_entered_again_to_clean_up(executor):
    handle = runs.trigger("runs.sleepy")
    until_parked(executor, handle.id)
    runs.cancel(handle.id, reason="changed my mind")
    run = until_status(handle.id, "CANCELED")
    assert ran[run.id] == ["clean-up"]
    assert run.error == {"type": "Canceled", "message": "changed my mind"}
    assert runs.events(run.id)[-1].type == "run.canceled"


@pytest.mark.parametrize("plain", [False, True], ids=["async", "def"])
def test_an_executing_run_is_interrupted_and_cleans_up(executor, plain):
    gate = Gate()

    @task(f"runs.interrupted-{plain}", retry=ONCE)
    async def interrupted(payload, ctx):
        try:
            await ctx.step("work", gate.on_thread if plain else gate.on_loop)
        finally:
            await ctx.step("clean-up", noted)

    handle = interrupted.trigger()
    gate.until_reached()
    runs.cancel(handle.id)
    run = until_status(handle.id, "CANCELED")
    gate.open()
    assert ran[run.id] == ["work", "clean-up"]


def test_a_clean_up_goes_on_after_a_restart_without_repeating_itself(executors):
    gate = Gate()

    @task("runs.long-clean-up", retry=ONCE)
    async def long_clean_up(payload, ctx):
        try:
            await ctx.step("before", noted)
            await ctx.sleep(hours=1)
        finally:
            await ctx.step("undo-1", noted)
            await ctx.step("undo-2", gate.on_loop)
            await ctx.step("undo-3", noted)

    first = executors()
    handle = long_clean_up.trigger()
    until_parked(first, handle.id)
    runs.cancel(handle.id)
    gate.until_reached()
    first.stop(0)
    gate.open()
    executors()
    run = until_status(handle.id, "CANCELED")
    assert ran[run.id] == ["before", "undo-1", "undo-2", "undo-2", "undo-3"]


def test_a_step_of_a_clean_up_may_say_that_it_is_alive(executor):
    @task("runs.clean-up-beats", retry=ONCE)
    async def clean_up_beats(payload, ctx):
        try:
            await ctx.sleep(hours=1)
        finally:
            await ctx.step("clean-up", lambda: current_step().heartbeat("alive"))

    handle = clean_up_beats.trigger()
    until_parked(executor, handle.id)
    runs.cancel(handle.id)
    until_status(handle.id, "CANCELED")
    assert [step.status for step in runs.steps(handle.id) if step.key == "clean-up"] == [
        "COMPLETED"
    ]


def test_no_body_starts_in_a_run_that_was_canceled_while_nobody_held_it(executors):
    gate = Gate()

    @task("runs.canceled-between-workers", retry=ONCE)
    async def between_workers(payload, ctx):
        await ctx.step("one", noted_async)
        await ctx.step("two", gate.on_loop)

    first = executors()
    handle = between_workers.trigger()
    gate.until_reached()
    first.stop(0)
    runs.cancel(handle.id)
    executors()
    until_status(handle.id, "CANCELED")
    assert ran[handle.id] == ["one", "two"]


def test_code_that_swallows_its_cancellation_is_canceled_all_the_same(executor):
    @task("runs.stubborn", retry=ONCE)
    async def stubborn(payload, ctx):
        try:
            await ctx.sleep(hours=1)
        except BaseException:
            return "finished anyway"

    handle = stubborn.trigger()
    until_parked(executor, handle.id)
    runs.cancel(handle.id)
    assert until_status(handle.id, "CANCELED", "COMPLETED").status == "CANCELED"


def test_a_second_cancel_changes_nothing(executors):
    first = executors()
    handle = runs.trigger("runs.sleepy")
    until_parked(first, handle.id)
    first.stop(0)
    runs.cancel(handle.id, reason="one")
    asked = runs.retrieve(handle.id).cancel_requested_at
    runs.cancel(handle.id, reason="two")
    run = runs.retrieve(handle.id)
    assert (run.cancel_requested_at, run.cancel_reason) == (asked, "one")


def test_terminate_ends_a_waiting_run_at_once_without_clean_up(executor):
    handle = runs.trigger("runs.sleepy")
    until_parked(executor, handle.id)
    run = runs.terminate(handle.id, reason="enough")
    assert (run.status, run.error) == ("CANCELED", {"type": "Terminated", "message": "enough"})
    runs.trigger("runs.echo").result(timeout=5)
    assert ran[handle.id] == []


def test_terminate_drops_an_executing_run_from_memory(executor):
    gate = Gate()

    @task("runs.terminated", retry=ONCE)
    async def terminated(payload, ctx):
        try:
            await ctx.step("work", gate.on_loop)
        finally:
            await ctx.step("clean-up", noted)

    handle = terminated.trigger()
    gate.until_reached()
    assert runs.terminate(handle.id).status == "CANCELED"
    eventually(lambda: handle.id not in executor.hand)
    assert ran[handle.id] == ["work"]


@pytest.mark.parametrize("act", [runs.cancel, runs.terminate, lambda run: runs.signal(run, "go")])
def test_nothing_can_be_done_to_a_run_that_ended(executor, act):
    handle = runs.trigger("runs.echo")
    handle.result(timeout=5)
    with pytest.raises(Conflict, match="COMPLETED") as refusal:
        act(handle.id)
    assert refusal.value.field == "run"


@pytest.mark.parametrize("run_id", ["run_nope", "", "waitpoint_00000000000000000000000000", None])
@pytest.mark.parametrize(
    "act",
    [runs.retrieve, runs.cancel, runs.terminate, runs.release, runs.steps, runs.replay, runs.query,
     lambda run: runs.signal(run, "go"), lambda run: runs.reschedule(run, 1)],
)  # fmt: skip
def test_an_unknown_run_is_not_found(db, act, run_id):
    with pytest.raises(NotFound) as refusal:
        act(run_id)
    assert refusal.value.field == "run"


@pytest.mark.parametrize("act", [runs.cancel, runs.terminate])
@pytest.mark.parametrize("reason", ["nul\0", "\ud800"], ids=["nul", "surrogate"])
@pytest.mark.parametrize("began", [False, True], ids=["queued", "began"])
def test_a_reason_that_cannot_be_stored_is_refused(db, act, reason, began):
    handle = runs.trigger("runs.sleepy")
    if began:
        Run.objects.filter(pk=handle.id).update(started_at=datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(Invalid) as refusal:
        act(handle.id, reason=reason)
    assert refusal.value.field == "reason"
    assert runs.retrieve(handle.id).status == "QUEUED"


# ---- signals ------------------------------------------------------------------------------------


def test_a_signal_with_the_same_dedupe_key_is_taken_once(db):
    handle = runs.trigger("runs.waits-for-signal", 1)
    first = runs.signal(handle.id, "go", 1, dedupe_key="d")
    assert runs.signal(handle.id, "go", 2, dedupe_key="d") == first
    assert runs.signal(handle.id, "stop", 3, dedupe_key="d") != first
    runs.signal(handle.id, "go", 4)
    runs.signal(handle.id, "go", 4)
    found = Signal.objects.filter(run=handle.id, name="go").values_list("data", flat=True)
    assert list(found.order_by("data")) == [1, 4, 4]


@pytest.mark.parametrize(
    ("field", "arguments"),
    [("name", {"name": ""}), ("name", {"name": "x" * 129}), ("name", {"name": 3}),
     ("name", {"name": "nul\0"}), ("name", {"name": "\ud800"}),
     ("data", {"name": "go", "data": float("nan")}),
     ("data", {"name": "go", "data": "x" * 3_145_727}),
     ("dedupe_key", {"name": "go", "dedupe_key": "nul\0"})],
)  # fmt: skip
def test_a_bad_signal_is_refused_by_name_and_not_kept(db, field, arguments):
    handle = runs.trigger("runs.waits-for-signal", 1)
    with pytest.raises(Invalid) as refusal:
        runs.signal(handle.id, **arguments)
    assert refusal.value.field == field
    assert Signal.objects.count() == 0


# ---- results and looks --------------------------------------------------------------------------


def test_the_result_of_a_failed_run_says_why(executor):
    handle = runs.trigger("runs.fail")
    with pytest.raises(runs.RunFailed, match="FAILED: no luck") as failure:
        handle.result(timeout=5)
    assert failure.value.error["type"] == "ValueError"
    assert failure.value.run.id == handle.id


def test_a_result_is_waited_for_only_so_long(db):
    handle = runs.trigger("runs.echo")
    with pytest.raises(runs.ResultTimeout, match="QUEUED after 0 s"):
        handle.result(timeout=0)


def test_runs_are_listed_newest_first_in_pages(db):
    made = sorted((runs.trigger("runs.echo", n, tags=["t"]).id for n in range(4)), reverse=True)
    runs.trigger("runs.fail")
    found = runs.list_runs(task="runs.echo", tag="t", status=["QUEUED", "DELAYED"], limit=3)
    assert [run.id for run in found] == made[:3]
    rest = runs.list_runs(task="runs.echo", tag="t", after=found[-1].id)
    assert [run.id for run in rest] == made[3:]
    assert runs.list_runs(status="FAILED") == []


@pytest.mark.parametrize(
    ("field", "options"),
    [("status", {"status": "RUNNING"}), ("limit", {"limit": 0}), ("limit", {"limit": 1001})],
)
def test_a_bad_filter_is_refused_by_name(db, field, options):
    with pytest.raises(Invalid) as refusal:
        runs.list_runs(**options)
    assert refusal.value.field == field


def test_a_finished_run_can_be_asked_without_any_worker(executors):
    executor = executors()
    handle = runs.trigger("runs.echo", metadata={"a": 1})
    handle.result(timeout=5)
    executor.stop(0)
    assert runs.query(handle.id) == {"status": "COMPLETED", "metadata": {"a": 1}, "exposed": {}}


def test_a_replay_is_a_new_run_with_the_same_payload(executor):
    handle = runs.trigger("runs.echo", {"a": 1}, tags=["t"])
    again = runs.replay(handle.id)
    assert again.result(timeout=5) == {"payload": {"a": 1}}
    run = again.retrieve()
    assert (run.forked_from, run.tags) == (handle.id, ["t"])


@pytest.mark.parametrize(
    ("column", "value"),
    [("status", "QUEUED"), ("output", '{"x": 1}'), ("error", '{"x": 1}'),
     ("finished_at", "2020-01-01Z")],
)  # fmt: skip
def test_the_database_refuses_to_change_a_final_run(executor, column, value):
    handle = runs.trigger("runs.echo")
    handle.result(timeout=5)
    with (
        pytest.raises(IntegrityError, match="is final"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(f"UPDATE executions_run SET {column} = %s WHERE id = %s", [value, handle.id])
    assert handle.result(timeout=1) == {"payload": None}


# ---- attempts and attention ---------------------------------------------------------------------


def test_a_failed_run_is_tried_again_as_often_as_its_task_says(executor):
    @task("runs.third-time", retry=Retry(max_attempts=3, min_timeout=0))
    async def third_time(payload, ctx):
        if ctx.attempt < 3:
            raise ValueError("not yet")
        return ctx.attempt

    handle = third_time.trigger()
    assert handle.result(timeout=8) == 3
    types = [event.type for event in runs.events(handle.id)]
    assert types.count("run.attempt_failed") == 2


def test_a_trigger_may_allow_fewer_attempts(executor):
    handle = runs.trigger("runs.fail", max_attempts=1)
    assert until_status(handle.id, "FAILED").attempt == 1


def test_a_run_whose_code_changed_waits_for_a_person_and_can_be_released(executors):
    first = executors()
    names = ["before", "after"]

    @task("runs.changed", retry=ONCE)
    async def changed(payload, ctx):
        await ctx.step(names[0], noted)
        await ctx.sleep(hours=1)
        return names[0]

    handle = changed.trigger()
    until_parked(first, handle.id)
    names.reverse()
    with pytest.raises(Conflict):
        runs.release(handle.id)
    Run.objects.filter(pk=handle.id).update(status="QUEUED", wake_at=None)
    first.look()
    run = until_status(handle.id, "NEEDS_ATTENTION")
    assert '"before"' in run.error["message"] and '"after"' in run.error["message"]
    assert [step.key for step in runs.steps(run.id)] == ["before", "sleep#1"]
    names.reverse()
    assert runs.release(handle.id).error is None
    until_parked(first, handle.id)
    assert ran[run.id] == ["before"]


def test_a_run_of_a_task_that_no_worker_knows_needs_attention(executors):
    handle = runs.trigger("runs.echo")
    Run.objects.filter(pk=handle.id).update(task="runs.gone")
    executors()
    assert "runs.gone" in until_status(handle.id, "NEEDS_ATTENTION").error["message"]
