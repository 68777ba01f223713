"""The journal: the fence, the locked row, the unknown commit, the culprit, the narrow row."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connection

from executions import runs, tokens
from executions.engine import failpoints, flush
from executions.engine.connections import parameters
from executions.engine.context import Context
from executions.engine.executor import Executor
from executions.models import Run, RunEvent, Step
from executions.registry import task
from executions.rules.retry import NO_RETRY
from executions.tests.conftest import eventually, until_status

calls: Counter[str] = Counter()
gates: dict[str, asyncio.Event] = {}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    calls.clear()
    gates.clear()


async def count(name: str) -> str:
    calls[name] += 1
    return name


@task("journal.steps")
async def steps(payload: int, ctx: Context) -> int:
    for number in range(payload):
        await ctx.step(f"s{number}", count, f"{ctx.run_id} s{number}")
    return payload


@task("journal.gated", retry=NO_RETRY)
async def gated(payload: Any, ctx: Context) -> str:
    await ctx.step("before", count, "before")
    await ctx.step("gate", wait_at_gate, ctx.run_id)
    await ctx.step("after", count, "after")
    return "done"


async def wait_at_gate(run_id: str) -> None:
    await gates.setdefault(run_id, asyncio.Event()).wait()


def open_gate(executor: Executor, run_id: str) -> None:
    eventually(lambda: run_id in gates)
    executor.loop.call_soon_threadsafe(gates[run_id].set)


def test_each_claim_has_a_fence_of_its_own_and_the_old_one_writes_nothing(
    executor: Executor,
) -> None:
    handle = gated.trigger()
    eventually(lambda: handle.id in gates)
    first = runs.retrieve(handle.id).claim
    with connection.cursor() as cursor:
        # Another worker took the run over while this one did not notice.
        cursor.execute(
            "UPDATE executions_run SET claim = %s, worker = 'another' WHERE id = %s",
            [uuid.uuid4(), handle.id],
        )
    open_gate(executor, handle.id)
    eventually(lambda: handle.id not in executor.hand)
    run = runs.retrieve(handle.id)
    assert run.status == "EXECUTING"
    assert run.claim != first
    assert {step.key: step.status for step in runs.steps(handle.id)} == {
        "before": "COMPLETED",
        "gate": "STARTED",
    }
    assert calls["after"] == 0


def test_one_locked_row_does_not_stall_the_other_runs(executor: Executor) -> None:
    held = gated.trigger()
    eventually(lambda: held.id in gates)
    with psycopg.connect(**parameters()) as other:
        other.execute("SELECT 1 FROM executions_run WHERE id = %s FOR UPDATE", [held.id])
        open_gate(executor, held.id)
        handles = steps.batch_trigger([10] * 20)
        assert [handle.result(timeout=5) for handle in handles] == [10] * 20
        assert runs.retrieve(held.id).status == "EXECUTING"
    assert held.result(timeout=5) == "done"
    assert calls["after"] == 1


def test_what_postgresql_refuses_ends_its_own_run_and_no_neighbour(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that slips past the checks reaches PostgreSQL, which refuses the whole statement."""
    poison = '{"cut short'
    real = flush._step

    def poisoned(run: str, row: Any) -> Any:
        values = list(real(run, row))
        if row.key == "s5" and run == victim:
            values[9] = poison
        return tuple(values)

    victim = ""
    monkeypatch.setattr(flush, "_step", poisoned)
    monkeypatch.setattr(flush, "_lone_step", lambda items: None)
    handles = steps.batch_trigger([10] * 30, delay=0.3)
    victim = handles[7].id
    done = [until_status(handle.id, "COMPLETED", "SYSTEM_FAILURE") for handle in handles]
    assert [run.id for run in done if run.status == "SYSTEM_FAILURE"] == [victim]
    assert runs.retrieve(victim).error["type"] == "NotStorable"


def test_a_commit_whose_answer_was_lost_is_not_applied_twice(executor: Executor) -> None:
    """The connection is cut between COMMIT and its answer; the flush is sent again."""
    cut = threading.Event()

    def cut_once(name: str) -> None:
        if name == "flush.after_commit" and not cut.is_set() and calls[f"{handle.id} s3"]:
            cut.set()
            raise psycopg.OperationalError("the answer was lost")

    handle = steps.trigger(6, delay=0.2)
    failpoints.active = cut_once
    try:
        assert handle.result(timeout=10) == 6
    finally:
        failpoints.disarm()
    assert cut.is_set()
    assert [calls[f"{handle.id} s{number}"] for number in range(6)] == [1] * 6
    numbers = list(RunEvent.objects.filter(run_id=handle.id).values_list("seq", flat=True))
    assert numbers == list(range(1, len(numbers) + 1))
    assert runs.retrieve(handle.id).event_seq == len(numbers)
    assert Step.objects.filter(run_id=handle.id).count() == 6


def test_a_restarted_connection_loses_nothing(executor: Executor) -> None:
    handles = steps.batch_trigger([30] * 20)
    with connection.cursor() as cursor:
        for _ in range(5):
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE application_name LIKE 'flowmaestro %%' AND datname = current_database()"
            )
            cursor.execute("SELECT pg_sleep(0.05)")
    assert [handle.result(timeout=20) for handle in handles] == [30] * 20
    for handle in handles:
        done = Step.objects.filter(run_id=handle.id)
        assert {step.status for step in done} == {"COMPLETED"}
        numbers = [event.seq for event in runs.events(handle.id)]
        assert numbers == list(range(1, len(numbers) + 1))


def test_the_update_of_a_run_per_step_stays_on_its_page(executor: Executor) -> None:
    def updates() -> tuple[int, int]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_force_next_flush()")
            cursor.execute(
                "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables "
                "WHERE relname = 'executions_run'"
            )
            return cursor.fetchone()

    before = updates()
    handle = steps.trigger(300)
    handle.result(timeout=20)
    executor.stop(1)  # A backend reports its counts when it is idle or ends.

    def after() -> tuple[int, int]:
        total, hot = updates()
        return total - before[0], hot - before[1]

    eventually(lambda: after()[0] >= 300)
    total, hot = after()
    assert hot >= 0.95 * total


def test_a_final_run_never_changes(executor: Executor) -> None:
    handle = steps.trigger(1)
    handle.result(timeout=5)
    for column, value in (("status", "'FAILED'"), ("output", "'2'"), ("finished_at", "now()")):
        with pytest.raises(DatabaseError, match="never change"), connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE executions_run SET {column} = {value} WHERE id = %s", [handle.id]
            )
    assert Run.objects.get(pk=handle.id).output == 1


@task("journal.parking")
async def parking(payload: Any, ctx: Context) -> Any:
    token = await ctx.create_token("t")
    ctx.metadata.set("token", token.id)
    return (await ctx.wait_for_token(token)).output


def test_a_completion_that_meets_a_run_while_it_parks_is_not_lost(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token is completed after the run looked at its waits and before its row says WAITING."""
    real = flush.write
    completed: list[str] = []

    async def complete_first(conn: Any, items: Any) -> Any:
        for live, batch in items:
            if batch.move is not None and batch.move.status == "WAITING" and not completed:
                completed.append(live.id)
                await real(conn, [(live, without_move(live, batch))])
                token = live.metadata["token"]
                await asyncio.get_running_loop().run_in_executor(None, complete, token)
        return await real(conn, items)

    def complete(token: str) -> None:
        tokens.complete(token, "in time")
        connection.close()

    def without_move(live: Any, batch: Any) -> Any:
        from executions.engine.rows import Batch

        early = Batch(
            steps=dict(batch.steps),
            events=list(batch.events),
            extras=batch.extras,
            no=batch.no,
            ops=batch.ops,
        )
        batch.steps, batch.events, batch.extras = {}, [], None
        live.outbox._flush_no += 1
        batch.no = live.outbox._flush_no
        return early

    monkeypatch.setattr(flush, "write", complete_first)
    handle = parking.trigger()
    assert handle.result(timeout=5) == "in time"
    assert completed == [handle.id]


@task("journal.sum")
async def summed(payload: int, ctx: Context) -> int:
    results = await ctx.batch_trigger_and_wait("journal.leaf", list(range(payload)))
    return sum(result.unwrap() for result in results)


@task("journal.leaf")
async def leaf(payload: int, ctx: Context) -> int:
    return payload


def test_a_parent_wakes_once_when_the_last_children_end_together_on_two_workers(
    executors: Callable[[], Executor],
) -> None:
    executors()
    executors()
    handles = summed.batch_trigger([2] * 40)
    assert [handle.result(timeout=20) for handle in handles] == [1] * 40
    for handle in handles:
        kinds = [event.type for event in runs.events(handle.id)]
        assert kinds.count("run.resumed") <= 1
        assert Step.objects.get(run_id=handle.id, kind="children").pending is None
