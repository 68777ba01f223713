"""The six promises of the README, one test each, in their order."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction

from executions import runs, tokens
from executions.engine.context import Context, current_step
from executions.engine.executor import Executor
from executions.models import Run, Step, WaitToken
from executions.registry import task
from executions.rules.retry import NO_RETRY, Retry
from executions.tests.conftest import eventually, until_status

calls: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    calls.clear()


async def effect(name: str) -> str:
    calls[name] += 1
    return name


@task("promises.gate", retry=NO_RETRY)
async def gate(payload: int, ctx: Context) -> Any:
    for number in range(payload):
        await ctx.step(f"before {number}", effect, f"{ctx.run_id} before {number}")
    token = await ctx.create_token("gate")
    ctx.metadata.set("token", token.id)
    answer = await ctx.wait_for_token(token)
    await ctx.step("after", effect, f"{ctx.run_id} after")
    return answer.output


def token_of(run_id: str) -> str:
    until_status(run_id, "WAITING")
    return WaitToken.objects.get(run_id=run_id).id


def test_1_a_trigger_is_committed_with_the_rows_of_its_caller_or_not_at_all(
    executor: Executor,
) -> None:
    users = get_user_model().objects
    with pytest.raises(RuntimeError), transaction.atomic():
        users.create(username="lost")
        lost = gate.trigger(0)
        raise RuntimeError
    with transaction.atomic():
        users.create(username="kept")
        kept = gate.trigger(0)
        assert executor.hand == {}
    assert not Run.objects.filter(pk=lost.id).exists()
    tokens.complete(token_of(kept.id), "ran")
    assert kept.result(timeout=5) == "ran"
    assert list(users.values_list("username", flat=True)) == ["kept"]


def test_2_a_committed_step_never_executes_again_in_that_run(
    executors: Callable[[], Executor],
) -> None:
    handle = gate.trigger(5)
    first = executors()
    token = token_of(handle.id)
    first.stop(0)
    second = executors()
    runs.signal(handle.id, "a wake for nothing")
    eventually(lambda: runs.retrieve(handle.id).status == "WAITING" and not second.hand)
    tokens.complete(token)
    handle.result(timeout=5)
    assert set(calls.values()) == {1}
    assert len(calls) == 6


def insert_user(name: str) -> str:
    calls[name] += 1
    get_user_model().objects.create(username=f"{name} {calls[name]}")
    if calls[name] == 1:
        raise ConnectionError("after the row was written")
    return current_step().key


@task("promises.effects")
async def effects(payload: None, ctx: Context) -> list[str]:
    retry = Retry(max_attempts=3, min_timeout=0.01)
    once = await ctx.step("once", insert_user, "once", retry=retry, transactional=True)
    often = await ctx.step("often", insert_user, "often", retry=retry)
    return [once, often]


def test_3_an_effect_happens_at_least_once_and_exactly_once_in_a_transactional_step(
    executor: Executor,
) -> None:
    handle = effects.trigger()
    keys = handle.result(timeout=10)
    names = sorted(get_user_model().objects.values_list("username", flat=True))
    assert names == ["often 1", "often 2", "once 2"]
    # The key to hand to an idempotent API is the same in each attempt.
    assert keys == [f"{handle.id}:once", f"{handle.id}:often"]


def test_4_a_wait_token_has_exactly_one_outcome(executor: Executor) -> None:
    for _ in range(5):
        handle = gate.trigger(0)
        token = token_of(handle.id)
        start = threading.Barrier(16)

        def complete(number: int, token: str = token, start: Any = start) -> int | None:
            start.wait()
            try:
                tokens.complete(token, number)
            except tokens.TokenClosed:
                return None
            finally:
                connection.close()
            return number

        with ThreadPoolExecutor(16) as pool:
            outcomes = list(pool.map(complete, range(16)))
        (winner,) = [outcome for outcome in outcomes if outcome is not None]
        assert handle.result(timeout=5) == winner
        assert tokens.retrieve(token).output == winner


def test_5_events_are_numbered_without_a_gap_and_a_cursor_misses_none(executor: Executor) -> None:
    handle = gate.trigger(20)
    token = token_of(handle.id)
    for number in range(10):
        runs.signal(handle.id, f"noise {number}")
    tokens.complete(token)
    handle.result(timeout=5)
    everything = runs.events(handle.id)
    assert [event.seq for event in everything] == list(range(1, len(everything) + 1))
    read, cursor = [], 0
    while page := runs.events(handle.id, after=cursor, limit=7):
        read += page
        cursor = page[-1].seq
    assert [event.seq for event in read] == [event.seq for event in everything]


def test_6_a_waiting_run_costs_rows_and_nothing_else(executor: Executor) -> None:
    handles = gate.batch_trigger([1] * 500)
    eventually(lambda: Run.objects.filter(status="WAITING").count() == 500, seconds=30)
    assert executor.hand == {}
    waiting = Run.objects.filter(status="WAITING")
    assert set(waiting.values_list("claim", "worker")) == {(None, None)}
    for handle in handles[:50]:
        tokens.complete(WaitToken.objects.get(run_id=handle.id).id, 1)
    assert [handle.result(timeout=10) for handle in handles[:50]] == [1] * 50
    assert Step.objects.filter(key="before 0", status="COMPLETED").count() == 500
    assert set(calls.values()) == {1}
