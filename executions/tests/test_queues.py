"""Queues: limits for each concurrency key, pause and resume, and what the code declares."""

from __future__ import annotations

import threading
from collections import Counter
from uuid import uuid4

import pytest
from django.db import connection

from executions import queues, registry, runs
from executions.engine.context import Context, current_step
from executions.errors import Conflict, Invalid, NotFound
from executions.models import Queue, Run
from executions.registry import task
from executions.tests.bodies import ONCE, Gate, noted_async, ran, until_parked
from executions.tests.conftest import eventually, until_status

LIMIT = 2
_at_once: Counter[str] = Counter()
_most: Counter[str] = Counter()
_lock = threading.Lock()


@pytest.fixture(autouse=True)
def _declared(db: None) -> None:
    _at_once.clear()
    _most.clear()
    queues.declare()


def measured() -> None:
    """How many run side by side, by concurrency key, at most."""
    key = Run.objects.values_list("concurrency_key", flat=True).get(pk=current_step().run_id) or ""
    with _lock:
        _at_once[key] += 1
        _most[key] = max(_most[key], _at_once[key])
    threading.Event().wait(0.01)
    with _lock:
        _at_once[key] -= 1


@task("queues.limited", queue=registry.queue("queues.few", concurrency_limit=LIMIT), retry=ONCE)
async def limited(payload, ctx: Context):
    await ctx.step("measured", measured)


@task("queues.held", concurrency_limit=1, retry=ONCE)
async def held(payload, ctx: Context):
    await ctx.step("gate", gates[payload].on_loop)
    if payload == "waits":
        await ctx.wait_for_signal("go")


@task("queues.free", retry=ONCE)
async def free(payload, ctx: Context):
    return await ctx.step("echo", noted_async, payload)


gates: dict[str, Gate] = {}


@pytest.fixture(autouse=True)
def _gates() -> None:
    gates.clear()
    gates.update({name: Gate() for name in ("a", "b", "c", "waits")})


def state(name: str) -> queues.QueueState:
    return next(found for found in queues.list_queues() if found.queue.name == name)


# ---- limits -------------------------------------------------------------------------------------


def test_a_limit_holds_for_each_concurrency_key_over_several_workers(executors):
    handles = [limited.trigger(concurrency_key=key) for _ in range(12) for key in ("x", "y", None)]
    for _ in range(3):
        executors()
    for handle in handles:
        handle.result(timeout=20)
    assert max(_most.values()) <= LIMIT
    assert set(_most) == {"x", "y", ""}
    assert max(_most.values()) == LIMIT


def test_a_run_that_waits_leaves_its_place_to_the_next(executor):
    first = held.trigger("waits")
    gates["waits"].until_reached()
    second = held.trigger("a")
    gates["waits"].open()
    until_parked(executor, first.id)
    gates["a"].until_reached()
    runs.signal(first.id, "go")
    eventually(lambda: runs.retrieve(first.id).status == "QUEUED")
    gates["a"].open()
    second.result(timeout=5)
    first.result(timeout=5)


def test_a_place_is_free_again_when_its_run_is_terminated_from_outside(executor):
    first, second = held.trigger("a"), held.trigger("b")
    gates["a"].until_reached()
    assert runs.retrieve(second.id).status == "QUEUED"
    runs.terminate(first.id)
    gates["b"].until_reached()
    gates["b"].open()
    second.result(timeout=5)


def test_a_blocked_key_holds_up_neither_other_keys_nor_other_queues(executor):
    first = held.trigger("a", concurrency_key="one")
    gates["a"].until_reached()
    stuck = [held.trigger("b", concurrency_key="one") for _ in range(20)]
    other = held.trigger("c", concurrency_key="two")
    gates["c"].open()
    other.result(timeout=5)
    assert free.trigger(7).result(timeout=5) == 7
    assert {handle.retrieve().status for handle in stuck} == {"QUEUED"}
    gates["a"].open()
    gates["b"].open()
    first.result(timeout=5)
    for handle in stuck:
        handle.result(timeout=10)


def test_within_a_key_runs_go_in_the_order_of_their_trigger_and_priority(executor):
    blocker = held.trigger("a")
    gates["a"].until_reached()
    first, second = held.trigger("b"), held.trigger("b")
    urgent = held.trigger("b", priority=3600)
    gates["b"].open()
    gates["a"].open()
    for handle in (blocker, first, second, urgent):
        handle.result(timeout=5)
    started = Run.objects.filter(pk__in=[first.id, second.id, urgent.id]).order_by("started_at")
    assert [run.id for run in started] == [urgent.id, first.id, second.id]


def test_a_raised_limit_is_used_at_once_and_a_lowered_one_lets_those_that_run_end(executor):
    first, second = held.trigger("a"), held.trigger("b")
    gates["a"].until_reached()
    queues.set_limit("queues.held", 2)
    gates["b"].until_reached()
    queues.set_limit("queues.held", 1)
    third = held.trigger("c")
    gates["c"].open()
    gates["a"].open()
    first.result(timeout=5)
    free.trigger(1).result(timeout=5)
    assert runs.retrieve(third.id).status == "QUEUED"
    assert state("queues.held") == queues.QueueState(
        queue=Queue.objects.get(pk="queues.held"), queued=1, executing=1
    )
    gates["b"].open()
    second.result(timeout=5)
    third.result(timeout=5)


def test_a_limit_given_to_a_queue_that_runs_already_holds_for_what_is_queued(executor):
    handles = [free.trigger(number, delay=0.2) for number in range(4)]
    queues.set_limit("queues.free", 1)
    assert Run.objects.filter(is_gated=True).count() == len(handles)
    for number, handle in enumerate(handles):
        assert handle.result(timeout=5) == number


def test_no_limit_again_lets_all_of_them_run(executor):
    queues.set_limit("queues.held", None)
    handles = [held.trigger(name) for name in ("a", "b")]
    gates["a"].until_reached()
    gates["b"].until_reached()
    for gate in gates.values():
        gate.open()
    for handle in handles:
        handle.result(timeout=5)


def test_a_worker_that_dies_gives_its_places_back(executors):
    first = executors()
    one, two = held.trigger("a"), held.trigger("b")
    gates["a"].until_reached()
    first.stop(0)
    gates["a"].open()
    gates["b"].open()
    executors()
    one.result(timeout=5)
    two.result(timeout=5)


def test_the_runs_of_hooks_can_be_limited_too(executor):
    queues.set_limit("run-hooks", 1)
    handle = with_hook.trigger("x")
    handle.result(timeout=5)
    eventually(lambda: ran[handle.id] == ["hook"])


@task("queues.with-hook", retry=ONCE, on_success=lambda payload, output, ctx: hook(payload, ctx))
async def with_hook(payload, ctx: Context):
    return payload


def hook(payload, ctx):
    run = Run.objects.get(pk=current_step().run_id)
    ran[run.parent_id].append("hook")


# ---- pause --------------------------------------------------------------------------------------


def test_a_paused_queue_begins_nothing_and_lets_what_runs_end(executor):
    first = held.trigger("a")
    gates["a"].until_reached()
    assert queues.pause("queues.held").paused_at is not None
    second = held.trigger("b")
    gates["a"].open()
    gates["b"].open()
    first.result(timeout=5)
    free.trigger(1).result(timeout=5)
    assert (second.retrieve().status, ran[second.id]) == ("QUEUED", [])
    assert queues.resume("queues.held").paused_at is None
    second.result(timeout=5)


def test_a_pause_holds_a_queue_without_a_limit_and_runs_queued_before(transactional_db, executors):
    before = free.trigger(1)
    queues.pause("queues.free")
    after = free.trigger(2)
    executors()
    limited.trigger().result(timeout=5)
    assert {before.retrieve().status, after.retrieve().status} == {"QUEUED"}
    queues.resume("queues.free")
    assert (before.result(timeout=5), after.result(timeout=5)) == (1, 2)


def test_a_paused_queue_holds_back_runs_that_were_waiting(executor):
    gates["waits"].open()
    handle = held.trigger("waits")
    until_parked(executor, handle.id)
    queues.pause("queues.held")
    runs.signal(handle.id, "go")
    free.trigger(1).result(timeout=5)
    assert handle.retrieve().status == "QUEUED"
    queues.resume("queues.held")
    handle.result(timeout=5)


@task("queues.parent", retry=ONCE)
async def parent(payload, ctx: Context):
    await ctx.trigger_and_wait(held, "waits")


def test_a_cancelled_run_cleans_up_although_its_queue_is_paused(executor):
    gates["waits"].open()
    handle = held.trigger("waits")
    until_parked(executor, handle.id)
    queues.pause("queues.held")
    runs.cancel(handle.id)
    until_status(handle.id, "CANCELED")


def test_so_does_one_whose_parent_was_cancelled(executor):
    gates["waits"].open()
    above = parent.trigger()
    child = eventually(lambda: Run.objects.filter(parent_id=above.id).first())
    until_parked(executor, child.id)
    queues.pause("queues.held")
    runs.cancel(above.id)
    until_status(child.id, "CANCELED")


def test_so_does_one_whose_queue_is_paused_after_its_cancellation(transactional_db, executors):
    first = executors()
    gates["waits"].open()
    handle = held.trigger("waits", queue="queues.never-held")
    until_parked(first, handle.id)
    first.stop(0)
    runs.cancel(handle.id)
    queues.pause("queues.never-held")
    assert handle.retrieve().status == "QUEUED"
    executors()
    until_status(handle.id, "CANCELED")


def test_a_begun_run_in_a_paused_queue_times_out(executor):
    gates["waits"].open()
    handle = held.trigger("waits", run_timeout="1h")
    until_parked(executor, handle.id)
    queues.pause("queues.held")
    runs.signal(handle.id, "go")
    until_status(handle.id, "QUEUED")
    Run.objects.filter(pk=handle.id).update(deadline_at=handle.retrieve().created_at)
    until_status(handle.id, "TIMED_OUT")


def test_a_run_in_a_paused_queue_still_expires(executor):
    queues.pause("queues.free")
    handle = free.trigger(1, ttl=0.1)
    assert until_status(handle.id, "EXPIRED").error["type"] == "Expired"


def test_pausing_twice_and_resuming_what_runs_are_conflicts():
    queues.pause("queues.free")
    with pytest.raises(Conflict) as refusal:
        queues.pause("queues.free")
    assert refusal.value.field == "queue"
    queues.resume("queues.free")
    with pytest.raises(Conflict, match="is not paused"):
        queues.resume("queues.free")


def test_one_of_many_who_pause_at_once_does(transactional_db):
    outcomes: list[str] = []

    def pause() -> None:
        try:
            queues.pause("queues.free")
            outcomes.append("paused")
        except Conflict:
            outcomes.append("conflict")
        finally:
            connection.close()

    threads = [threading.Thread(target=pause) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["conflict"] * 3 + ["paused"]


# ---- what the code declares ---------------------------------------------------------------------


def test_a_queue_that_nobody_declared_is_not_found():
    with pytest.raises(NotFound) as refusal:
        queues.retrieve("queues.nowhere")
    assert refusal.value.field == "queue"


def test_a_run_may_name_a_queue_that_nobody_declared(executor):
    assert free.trigger(3, queue="queues.made-up").result(timeout=5) == 3


def test_a_task_takes_its_queue_from_its_id_and_a_shared_one_by_name():
    assert (free.queue, limited.queue) == ("queues.free", "queues.few")
    assert queues.retrieve("queues.few").concurrency_limit == LIMIT
    assert queues.retrieve("queues.free").concurrency_limit is None


def test_two_limits_for_one_queue_are_refused():
    name = f"queues.{uuid4()}"
    registry.queue(name, concurrency_limit=2)
    registry.queue(name)
    with pytest.raises(Invalid) as refusal:
        registry.queue(name, concurrency_limit=3)
    assert refusal.value.field == "concurrency_limit"
    assert registry.declared_queues()[name] == 2


def test_what_the_code_declares_changes_with_a_deploy_but_not_what_an_operator_said(monkeypatch):
    monkeypatch.setattr(registry, "declared_queues", lambda: {"queues.few": 5, "queues.free": 6})
    queues.set_limit("queues.free", 1)
    queues.declare()
    assert queues.retrieve("queues.few").concurrency_limit == 5
    kept = queues.retrieve("queues.free")
    assert (kept.concurrency_limit, kept.declared_limit, kept.is_overridden) == (1, 6, True)
    reset = queues.reset_limit("queues.free")
    assert (reset.concurrency_limit, reset.is_overridden) == (6, False)


def test_a_limit_that_the_code_takes_back_is_gone(monkeypatch):
    monkeypatch.setattr(registry, "declared_queues", lambda: {"queues.few": None})
    queues.declare()
    assert queues.retrieve("queues.few").concurrency_limit is None


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "2", 100_001])
def test_a_limit_is_a_whole_number_of_at_least_one(limit):
    with pytest.raises(Invalid) as refusal:
        queues.set_limit("queues.free", limit)
    assert refusal.value.field == "limit"


def test_a_concurrency_limit_below_one_is_refused_in_code():
    with pytest.raises(Invalid) as refusal:
        registry.queue("queues.zero", concurrency_limit=0)
    assert refusal.value.field == "concurrency_limit"


@pytest.mark.parametrize("name", ["", "x" * 129, "nul\0"])
def test_a_queue_has_a_name_that_is_text(name):
    with pytest.raises(Invalid) as refusal:
        queues.pause(name)
    assert refusal.value.field == "queue"
