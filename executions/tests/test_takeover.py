"""Leases: who takes over from whom, what is counted against a run, and when it is convicted."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import psycopg
import pytest
from django.db import connection

from executions import runs
from executions.engine import takeover
from executions.engine.connections import parameters
from executions.engine.context import Context
from executions.engine.executor import Executor
from executions.models import Run, Worker
from executions.registry import task
from executions.rules.ids import new_id
from executions.tests.conftest import eventually, until_status

LEASE, LIMIT = 30.0, 3


@task("takeover.quick")
async def quick(payload: int, ctx: Context) -> int:
    return payload


def worker(*, seen_seconds_ago: float = 0.0, host: str = "elsewhere", pid: int = 1) -> str:
    worker_id = new_id("worker")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO executions_worker (id, host, pid, process_started, seen_at) "
            "VALUES (%s, %s, %s, 1, now() - make_interval(secs => %s))",
            [worker_id, host, pid, seen_seconds_ago],
        )
    return worker_id


def held_by(holder: str, count: int, *, stalls: int = 0) -> list[str]:
    ids = [handle.id for handle in quick.batch_trigger([1] * count)]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE executions_run SET status = 'EXECUTING', claim = %s, worker = %s, "
            "stalls = %s, started_at = now() WHERE id = ANY(%s)",
            [uuid.uuid4(), holder, stalls, ids],
        )
    return ids


def take_over(known_dead: list[str] | None = None, lease: float = LEASE) -> bool:
    with connection.cursor() as cursor:
        return takeover.take_over(cursor, "me", lease, LIMIT, known_dead or [])


@pytest.mark.django_db(transaction=True)
class TestTakeover:
    def test_a_worker_within_its_lease_keeps_its_runs(self) -> None:
        (run,) = held_by(worker(seen_seconds_ago=LEASE - 5), 1)
        assert not take_over()
        assert runs.retrieve(run).status == "EXECUTING"

    def test_the_runs_of_a_stale_worker_are_queued_again_and_counted(self) -> None:
        holder = worker(seen_seconds_ago=LEASE + 5)
        ids = held_by(holder, 3)
        assert take_over()
        assert not take_over()
        found = Run.objects.filter(pk__in=ids)
        assert {(r.status, r.claim, r.worker, r.stalls) for r in found} == {
            ("QUEUED", None, None, 1)
        }
        assert Worker.objects.get(pk=holder).dead_at is not None

    def test_a_worker_of_this_host_whose_process_is_gone_needs_no_lease_to_run_out(self) -> None:
        holder = worker()
        (run,) = held_by(holder, 1)
        assert take_over([holder])
        assert runs.retrieve(run).status == "QUEUED"

    def test_when_a_worker_dies_with_a_suspect_only_the_suspect_is_convicted(self) -> None:
        holder = worker(seen_seconds_ago=LEASE + 5)
        innocent = held_by(holder, 20)
        (suspect,) = held_by(holder, 1, stalls=LIMIT - 1)
        assert take_over()
        # They are suspects from now on, so none of them is held together with another one.
        found = Run.objects.filter(pk__in=innocent)
        assert {(run.status, run.stalls) for run in found} == {("QUEUED", 1)}
        assert runs.retrieve(suspect).status == "CRASHED"

    def test_a_run_that_keeps_killing_its_workers_is_crashed_with_the_reason(self) -> None:
        holder = worker(seen_seconds_ago=LEASE + 5)
        (poison,) = held_by(holder, 1, stalls=LIMIT - 1)
        assert take_over()
        run = runs.retrieve(poison)
        assert run.status == "CRASHED"
        assert run.error is not None
        assert "3 workers died" in run.error["message"]
        assert run.stalls == LIMIT
        assert [event.type for event in runs.events(poison)][-1] == "run.crashed"

    def test_a_heartbeat_that_comes_between_saves_the_worker(self) -> None:
        """The takeover locks the worker's row; a heartbeat under way makes it pass on."""
        holder = worker(seen_seconds_ago=LEASE + 5)
        (run,) = held_by(holder, 1)
        with psycopg.connect(**parameters()) as beating:
            beating.execute("UPDATE executions_worker SET seen_at = now() WHERE id = %s", [holder])
            assert not take_over()
        assert not take_over()
        assert runs.retrieve(run).status == "EXECUTING"


def test_a_worker_holds_one_suspect_at_a_time(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [handle.id for handle in quick.batch_trigger([1] * 5)]
    Run.objects.filter(pk__in=ids).update(stalls=1)
    from executions.engine import sql

    with connection.cursor() as cursor:
        cursor.execute(sql.CLAIM, [100, 1, 100, uuid.uuid4(), "me"])
        assert len(cursor.fetchall()) == 1
    assert Run.objects.filter(pk__in=ids, status="EXECUTING").count() == 1


def test_a_worker_that_was_declared_dead_drops_its_runs_and_begins_anew(
    executors: Callable[[], Executor], settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = executors()
    old = executor.ticker.worker_id
    Worker.objects.filter(pk=old).update(dead_at="2000-01-01T00:00:00Z")
    executor.ticker._beaten_at = -1e9
    executor.ticker.wake_at(0)
    eventually(lambda: executor.ticker.worker_id != old)
    assert quick.trigger(7).result(timeout=5) == 7
    assert Worker.objects.get(pk=executor.ticker.worker_id).dead_at is None


def test_suspects_that_behave_are_cleared_by_their_progress(executor: Executor) -> None:
    handle = progress.trigger(delay=0.3)
    Run.objects.filter(pk=handle.id).update(stalls=2)
    run = until_status(handle.id, "COMPLETED")
    assert run.stalls == 0


@task("takeover.progress")
async def progress(payload: object, ctx: Context) -> str:
    return await ctx.step("work", work)


async def work() -> str:
    return "done"
