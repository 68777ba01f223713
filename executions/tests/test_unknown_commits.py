"""The connection is cut between COMMIT and its answer: what was committed is there once.

A proxy before PostgreSQL swallows the answer, so that the transaction is there and its writer
cannot know.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from django.db import Error, connection

from executions import runs, tokens
from executions.engine import db, failpoints
from executions.engine.context import Context, current_step
from executions.engine.executor import Executor
from executions.models import Run, RunEvent
from executions.registry import task
from executions.rules.retry import NO_RETRY
from executions.tests.conftest import until_status
from executions.tests.cutting import CuttingProxy
from executions.tests.sizes import sized
from executions.tokens import TokenClosed

TIMES = sized(3, 20)
bodies: Counter[str] = Counter()


@pytest.fixture
def proxy(transactional_db: None) -> Iterator[CuttingProxy]:
    """Everything that connects from here on goes through it."""
    bodies.clear()
    where = connection.settings_dict
    with TemporaryDirectory(prefix="fm-cut-") as directory:
        server = Path(where["HOST"]) / f".s.PGSQL.{where['PORT'] or 5432}"
        proxy = CuttingProxy(Path(directory), server)
        connection.close()
        kept, where["HOST"] = where["HOST"], directory
        try:
            yield proxy
        finally:
            failpoints.disarm()
            where["HOST"] = kept
            connection.close()
            proxy.close()


@pytest.fixture
def counters(proxy: CuttingProxy) -> Iterator[None]:
    """A table of counters that transactional bodies count in."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE cut_counter (run text PRIMARY KEY, n int NOT NULL)")
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE cut_counter")


def once_at(point: str, action: Callable[[], None]) -> Callable[[], bool]:
    """Does it at the next passing of the point; the answer tells whether that has come."""
    done: list[str] = []

    def act(name: str) -> None:
        if name == point and not done:
            done.append(name)
            action()

    failpoints.active = act
    return lambda: bool(done)


def lose_own_answer(proxy: CuttingProxy) -> Callable[[], None]:
    """Loses the next answer on the calling thread's connection."""

    def arm() -> None:
        db.execute("SELECT 1", ())  # The settings of a new connection have answers of their own.
        proxy.lose_answer_of(pid=connection.connection.info.backend_pid)

    return arm


def count(run_id: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT n FROM cut_counter WHERE run = %s", [run_id])
        return [row[0] for row in cursor.fetchall()]


def check_events(run_id: str) -> None:
    run = runs.retrieve(run_id)
    numbers = list(RunEvent.objects.filter(run_id=run_id).values_list("seq", flat=True))
    assert numbers == list(range(1, run.event_seq + 1))
    kinds = Counter(
        (event.type, event.data.get("key"))
        for event in runs.events(run_id)
        if event.type == "step.completed"
    )
    assert set(kinds.values()) <= {1}


async def body(number: int) -> int:
    step = current_step()
    bodies[step.key] += 1
    return number


def counting_body(number: int) -> int:
    step = current_step()
    bodies[step.key] += 1
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO cut_counter VALUES (%s, 1) ON CONFLICT (run) DO UPDATE "
            "SET n = cut_counter.n + 1",
            [step.run_id],
        )
    return number


@task("cut.steps", retry=NO_RETRY)
async def steps(payload: int, ctx: Context) -> int:
    for number in range(payload):
        await ctx.step(f"s{number}", body, number)
        ctx.metadata.increment("count")
    return payload


@task("cut.transactional", retry=NO_RETRY)
async def transactional(payload: Any, ctx: Context) -> int:
    first: int = await ctx.step("counts", counting_body, 1, transactional=True)
    return first + await ctx.step("after", body, 1)


@task("cut.waits", retry=NO_RETRY)
async def waits(payload: Any, ctx: Context) -> Any:
    token = await ctx.create_token("answer")
    ctx.metadata.set("token", token.id)
    return (await ctx.wait_for_token(token)).unwrap()


# A lone statement that commits by itself, and a transaction with a COMMIT of its own.
@pytest.mark.parametrize("point", ["flush.before_statement", "flush.before_commit"])
def test_a_flush_whose_answer_is_lost_is_written_once(
    point: str, proxy: CuttingProxy, executors: Callable[[], Executor]
) -> None:
    executors()
    for turn in range(1, TIMES + 1):
        was_cut = once_at(point, lambda: proxy.lose_answer_of(name="flowmaestro journal"))
        handle = steps.trigger(5)
        assert handle.result(timeout=10) == 5
        assert was_cut()
        assert proxy.cuts == turn
        assert [bodies[f"{handle.id}:s{number}"] for number in range(5)] == [1] * 5
        assert handle.retrieve().data.metadata == {"count": 5}
        check_events(handle.id)


def test_a_transactional_step_whose_answer_is_lost_is_committed_once(
    proxy: CuttingProxy, counters: None, executors: Callable[[], Executor]
) -> None:
    executors()
    for turn in range(1, TIMES + 1):
        once_at("transactional.before_commit", lose_own_answer(proxy))
        handle = transactional.trigger()
        assert handle.result(timeout=10) == 2
        assert proxy.cuts == turn
        assert count(handle.id) == [1]
        assert bodies[f"{handle.id}:counts"] == 1
        check_events(handle.id)


def test_a_token_completion_whose_answer_is_lost_is_the_tokens_one_outcome(
    proxy: CuttingProxy, executors: Callable[[], Executor]
) -> None:
    executors()
    for turn in range(1, TIMES + 1):
        handle = waits.trigger()
        until_status(handle.id, "WAITING")
        token = handle.retrieve().data.metadata["token"]
        once_at("token.before_commit", lose_own_answer(proxy))
        with pytest.raises(Error):
            tokens.complete(token, "first")
        connection.close()
        assert proxy.cuts == turn
        with pytest.raises(TokenClosed):
            tokens.complete(token, "second")
        assert handle.result(timeout=10) == "first"
        check_events(handle.id)


def test_a_trigger_whose_answer_is_lost_gives_its_run_when_asked_again_with_its_key(
    proxy: CuttingProxy, executors: Callable[[], Executor]
) -> None:
    executors()
    for turn in range(1, TIMES + 1):
        key = str(uuid.uuid4())
        once_at("trigger.after", lose_own_answer(proxy))
        with pytest.raises(Error):
            steps.trigger(2, idempotency_key=key)
        connection.close()
        assert proxy.cuts == turn
        handle = steps.trigger(2, idempotency_key=key)
        assert handle.is_cached
        assert handle.result(timeout=10) == 2
        assert Run.objects.count() == turn
        assert [bodies[f"{handle.id}:s{number}"] for number in range(2)] == [1, 1]
