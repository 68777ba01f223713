"""Interleavings that once lost a wake, a run or a commit; each is forced here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.contrib.auth import get_user_model
from django.db import transaction

from executions import runs
from executions.engine import flush
from executions.engine.context import Context
from executions.engine.executor import Executor
from executions.engine.journal import Journal
from executions.engine.lookups import Lookups
from executions.models import Run, Worker
from executions.registry import task
from executions.rules.retry import NO_RETRY, Retry
from executions.tests.conftest import eventually, until_status

gate = threading.Event()
attempts: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    gate.clear()
    attempts.clear()


@task("races.quick")
async def quick(payload: Any, ctx: Context) -> Any:
    return await ctx.step("echo", echo, payload)


async def echo(value: Any) -> Any:
    return value


@task("races.suspects", retry=NO_RETRY)
async def suspect(payload: Any, ctx: Context) -> str:
    await ctx.step("progress", echo, 1)
    await ctx.step("long", gate.wait)
    return "done"


def test_runs_of_a_worker_that_signed_off_without_releasing_them_go_on(
    executors: Callable[[], Executor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop whose release meets a database that takes no new connections."""

    async def refused(self: Lookups, statement: str, parameters: Any) -> list[Any]:
        return []

    first = executors()
    handle = suspect.trigger()
    eventually(lambda: runs.steps(handle.id))
    monkeypatch.setattr(Lookups, "query", refused)
    first.stop(0)
    monkeypatch.undo()
    run = runs.retrieve(handle.id)
    assert run.status == "EXECUTING"
    assert Worker.objects.get(pk=run.worker).dead_at is not None
    gate.set()
    executors()
    assert handle.result(timeout=10) == "done"


def test_suspects_that_get_on_do_not_hold_up_the_others(executor: Executor) -> None:
    handles = suspect.batch_trigger([None] * 6, delay=0.2)
    Run.objects.filter(pk__in=[handle.id for handle in handles]).update(stalls=1)
    eventually(lambda: len(executor.hand) == 6)
    gate.set()
    assert [handle.result(timeout=10) for handle in handles] == ["done"] * 6


def add_user_slowly(commit: str) -> str:
    attempts.append(commit)
    name = f"{commit} {len(attempts)}"
    get_user_model().objects.create(username=name)
    if len(attempts) == 1:
        if commit == "raises":
            transaction.on_commit(fail)
        elif commit == "is slow":
            transaction.on_commit(lambda: time.sleep(0.6))
        else:
            time.sleep(0.6)
    return name


def fail() -> None:
    raise ConnectionError("after the commit")


@task("races.transactional", retry=NO_RETRY)
async def transactional(payload: str, ctx: Context) -> list[str]:
    retry = Retry(max_attempts=3, min_timeout=0.05, randomize=False)
    limit = None if payload == "raises" else 0.3
    name = await ctx.step(
        "add", add_user_slowly, payload, transactional=True, timeout=limit, retry=retry
    )
    return [name, await ctx.step("after", echo, "after")]


@pytest.mark.parametrize("commit", ["raises", "is slow", "comes late"])
def test_a_transactional_step_commits_once_whatever_its_clock_says(
    executor: Executor, commit: str
) -> None:
    handle = transactional.trigger(commit)
    name, after = handle.result(timeout=10)
    users = list(get_user_model().objects.values_list("username", flat=True))
    assert users == [name]
    assert after == "after"


@task("races.cancelled", retry=NO_RETRY)
async def cancelled(payload: Any, ctx: Context) -> None:
    token = await ctx.create_token("never")
    await ctx.wait_for_token(token)


def test_a_cancel_that_lands_just_before_a_park_is_not_lost(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = flush.write
    asked: list[str] = []

    async def cancel_first(conn: Any, items: Any) -> Any:
        for live, batch in items:
            if batch.move is not None and batch.move.status == "WAITING" and not asked:
                asked.append(live.id)
                await conn.execute(
                    "UPDATE executions_run SET cancel_requested_at = now(), wakes = wakes + 1 "
                    "WHERE id = %s",
                    [live.id],
                )
        return await real(conn, items)

    monkeypatch.setattr(flush, "write", cancel_first)
    handle = cancelled.trigger()
    until_status(handle.id, "CANCELED")
    assert asked == [handle.id]


def test_a_connection_lost_while_a_flush_is_looked_up_leaves_the_journal_at_work(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write, real_resolve = flush.write, Journal._resolve_missing
    passed_over: list[str] = []

    async def pass_over(conn: Any, items: Any) -> Any:
        if not passed_over:
            passed_over.extend(live.id for live, _ in items)
            return {}, False
        return await real_write(conn, items)

    async def lose(self: Journal, items: Any) -> None:
        monkeypatch.setattr(Journal, "_resolve_missing", real_resolve)
        raise psycopg.OperationalError("the connection is gone")

    monkeypatch.setattr(flush, "write", pass_over)
    monkeypatch.setattr(Journal, "_resolve_missing", lose)
    assert quick.trigger(1).result(timeout=10) == 1
    assert quick.trigger(2).result(timeout=10) == 2
    assert passed_over


@task("races.signal", retry=NO_RETRY)
async def signalled(payload: Any, ctx: Context) -> Any:
    for number in range(100):
        await ctx.step(f"s{number}", echo, number, pure=True)
    return (await ctx.wait_for_signal("go")).output


def test_a_late_notification_during_a_replay_loses_no_signal(executor: Executor) -> None:
    for number in range(10):
        handle = signalled.trigger()
        until_status(handle.id, "WAITING")
        runs.signal(handle.id, "go", number)
        for _ in range(20):
            executor.loop.call_soon_threadsafe(executor._on_notified, handle.id)
            time.sleep(0.001)
        assert handle.result(timeout=5) == number
