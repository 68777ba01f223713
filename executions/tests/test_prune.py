"""Pruning: what is long over goes with all that hangs on it, and nothing that is still wanted."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from executions import audit, doctor, prune, runs, tokens
from executions.audit import Actor
from executions.engine.housekeeping import Housekeeping
from executions.engine.ticker import Ticker
from executions.errors import Invalid
from executions.models import (
    AuditEntry,
    Debounce,
    IdempotencyKey,
    PastStep,
    Run,
    RunData,
    RunEvent,
    Signal,
    Step,
    StreamChunk,
    TokenWaiter,
    WaitToken,
    Worker,
)
from executions.registry import task
from executions.rules.ids import new_id
from executions.rules.retry import NO_RETRY
from executions.tests.bodies import noted
from executions.tests.conftest import eventually, until_status

AT_ONCE = dict.fromkeys(prune.retention(), timedelta())
HANGERS_ON = (
    RunData, RunEvent, Step, PastStep, StreamChunk, WaitToken, TokenWaiter, Signal, IdempotencyKey,
    Debounce,
)  # fmt: skip


@task("prune.full", retry=NO_RETRY, on_complete=lambda payload, result, ctx: None)
async def full(payload: Any, ctx: Any) -> Any:
    """A run with everything that can hang on one."""
    await ctx.step("a", noted)
    ctx.stream("words").append("x")
    if payload == 0:
        ctx.continue_as_new(1)
    token = await ctx.create_token("gate")
    ctx.metadata.set("token", token.id)
    await ctx.wait_for_signal("go")
    await ctx.trigger_and_wait(child, 1)
    return payload


@task("prune.child", retry=NO_RETRY)
async def child(payload: Any, ctx: Any) -> Any:
    if payload == "wait":
        await ctx.sleep(hours=1)
    return payload


@task("prune.family", retry=NO_RETRY)
async def family(payload: Any, ctx: Any) -> Any:
    await ctx.trigger(child, payload.get("child"))
    if payload.get("waits"):
        await ctx.sleep(hours=1)


def test_a_run_goes_with_all_that_hangs_on_it_but_the_audit_log(executor):
    handle = full.trigger(0, idempotency_key="k", idempotency_key_ttl=1)
    until_status(handle.id, "WAITING")
    runs.signal(handle.id, "go", dedupe_key="1")
    assert handle.result(timeout=8) == 1
    hook_run = str(runs.retrieve(handle.id).hook_run)
    until_status(hook_run, "COMPLETED")
    late = child.trigger(1, debounce={"key": "k", "delay": 0.05})
    late.result(timeout=5)
    runs.replay(late.id, actor=Actor("me"), reason="why").result(timeout=5)
    eventually(lambda: IdempotencyKey.objects.filter(expires_at__lt=_now()).exists())
    counted = prune.prune(AT_ONCE, dry_run=True)
    assert Run.objects.count() == 5
    removed = prune.prune(AT_ONCE)
    # What calls the hooks of a run goes after it; until then it is not counted.
    assert (counted.total, removed.total) == (4, 5)
    assert not Run.objects.exists()
    assert [model.__name__ for model in HANGERS_ON if model.objects.exists()] == []
    assert AuditEntry.objects.count() == 1
    assert audit.broken_links() == []


def _now():
    with connection.cursor() as cursor:
        cursor.execute("SELECT flowmaestro_now()")
        return cursor.fetchone()[0]


def test_children_of_open_parents_and_parents_of_open_children_stay(executor):
    waiting = family.trigger({"waits": True})
    until_status(waiting.id, "WAITING")
    left = family.trigger({"child": "wait"})
    left.result(timeout=5)
    eventually(lambda: Run.objects.filter(task="prune.child", status="WAITING").exists())
    eventually(lambda: Run.objects.filter(task="prune.child", status="COMPLETED").exists())
    assert prune.prune(AT_ONCE).total == 0
    runs.terminate(Run.objects.get(task="prune.child", status="WAITING").id)
    assert prune.prune(AT_ONCE).total == 2
    assert Run.objects.filter(parent_id=waiting.id).count() == 1


def test_a_run_that_a_key_promises_stays_unless_it_failed(executor):
    @task("prune.keyed", retry=NO_RETRY)
    async def keyed(payload: Any, ctx: Any) -> Any:
        if payload == "fail":
            raise ValueError(payload)

    kept = keyed.trigger(idempotency_key="kept")
    kept.result(timeout=5)
    failed = keyed.trigger("fail", idempotency_key="failed")
    until_status(failed.id, "FAILED")
    assert prune.prune(AT_ONCE).runs == {"FAILED": 1}
    assert keyed.trigger(idempotency_key="kept").id == kept.id
    assert list(IdempotencyKey.objects.values_list("key", flat=True)) == ["kept"]


def test_a_run_whose_token_another_one_waits_for_stays(executor):
    @task("prune.giver", retry=NO_RETRY)
    async def giver(payload: Any, ctx: Any) -> Any:
        return (await ctx.create_token("gift")).id

    @task("prune.taker", retry=NO_RETRY)
    async def taker(payload: Any, ctx: Any) -> Any:
        return (await ctx.wait_for_token(payload)).output

    token = giver.trigger().result(timeout=5)
    handle = taker.trigger(token)
    until_status(handle.id, "WAITING")
    assert prune.prune(AT_ONCE).total == 0
    tokens.complete(token, "x")
    assert handle.result(timeout=5) == "x"
    eventually(lambda: not TokenWaiter.objects.exists())
    assert prune.prune(AT_ONCE).total == 2


def test_each_status_is_kept_as_long_as_the_settings_say(executor):
    @task("prune.ends", retry=NO_RETRY)
    async def ends(payload: Any, ctx: Any) -> Any:
        if payload:
            raise ValueError(payload)

    good, bad = ends.trigger(), ends.trigger("no")
    until_status(good.id, "COMPLETED")
    until_status(bad.id, "FAILED")
    assert prune.retention()["FAILED"] == timedelta(days=90)
    assert {prune.retention()[status] for status in ("COMPLETED", "CANCELED", "EXPIRED")} == {
        timedelta(days=30)
    }
    assert prune.prune().total == 0
    assert prune.prune({"FAILED": timedelta()}).runs == {"FAILED": 1}
    with pytest.raises(Invalid):
        prune.prune({"WAITING": timedelta()})


def test_runs_that_somebody_holds_are_passed_over(executor, rival):
    first, second = child.trigger(1), child.trigger(2)
    first.result(timeout=5), second.result(timeout=5)
    rival.execute("BEGIN")
    rival.execute("SELECT FROM executions_run WHERE id = %s FOR UPDATE", [first.id])
    assert prune.prune(AT_ONCE).total == 1
    rival.execute("ROLLBACK")
    assert list(Run.objects.values_list("id", flat=True)) == [first.id]
    assert prune.prune(AT_ONCE).total == 1


@pytest.fixture
def rival(database_url):
    """Another connection to the same database."""
    import psycopg

    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def test_old_keys_tokens_of_no_run_and_dead_workers_go(db):
    expired = new_id("worker")
    Worker.objects.create(
        id=expired, host="h", pid=1, process_started=1, dead_at=_now() - timedelta(days=2)
    )
    Worker.objects.create(id=new_id("worker"), host="h", pid=2, process_started=1, dead_at=_now())
    WaitToken.objects.create(
        id="waitpoint_00000000000000000000000000", status="COMPLETED",
        completed_at=_now() - timedelta(days=31),
    )  # fmt: skip
    WaitToken.objects.create(id="waitpoint_00000000000000000000000001", status="WAITING")
    assert prune.prune(dry_run=True).workers == 1
    removed = prune.prune()
    assert (removed.workers, removed.tokens) == (1, 1)
    assert Worker.objects.count() == WaitToken.objects.count() == 1


def test_workers_remove_what_is_past_its_retention_in_batches(executor, monkeypatch):
    for handle in [child.trigger(number) for number in range(5)]:
        handle.result(timeout=5)
    monkeypatch.setattr(prune, "retention", lambda: AT_ONCE)
    monkeypatch.setattr("executions.engine.housekeeping._RUNS", 3)
    housekeeping = Housekeeping()
    with connection.cursor() as cursor:
        housekeeping.tick(cursor)
        assert Run.objects.count() == 5
        housekeeping._next = 0.0
        housekeeping.tick(cursor)
        assert Run.objects.count() == 2
        # A backlog is worked off by the next ticks; then there is rest.
        housekeeping.tick(cursor)
        assert Run.objects.count() == 0
        housekeeping.tick(cursor)
        assert housekeeping._next > 0
    assert any(part.__name__ == "tick" and isinstance(part.__self__, Housekeeping)
               for part in Ticker(executor).parts() if hasattr(part, "__self__"))  # fmt: skip


def test_only_one_worker_tidies_up_at_a_time(executor, rival, monkeypatch):
    child.trigger(1).result(timeout=5)
    monkeypatch.setattr(prune, "retention", lambda: AT_ONCE)
    rival.execute("BEGIN")
    rival.execute("SELECT pg_advisory_xact_lock(7305143)")
    housekeeping = Housekeeping()
    housekeeping._next = 0.0
    with connection.cursor() as cursor:
        housekeeping.tick(cursor)
        assert Run.objects.count() == 1
        rival.execute("ROLLBACK")
        housekeeping._next = 0.0
        housekeeping.tick(cursor)
    assert Run.objects.count() == 0


def test_the_doctor_finds_nothing_wrong_with_what_is_left(executor):
    handle = full.trigger(0)
    until_status(handle.id, "WAITING")
    family.trigger({"child": "wait"}).result(timeout=5)
    child.trigger(1).result(timeout=5)
    assert prune.prune(AT_ONCE).total >= 1
    assert [f for f in doctor.check() if f.severity == "error"] == []


def test_the_command_counts_and_removes(executor):
    child.trigger(1).result(timeout=5)
    out = io.StringIO()
    call_command("prune", stdout=out)
    assert out.getvalue() == "Nothing is past its retention.\n"
    out = io.StringIO()
    call_command("prune", "--older-than", "0s", "--dry-run", "--json", stdout=out)
    assert json.loads(out.getvalue())["runs"] == {"COMPLETED": 1}
    out = io.StringIO()
    call_command("prune", "--older-than", "completed=0s", "--older-than", "7d", stdout=out)
    assert "1  COMPLETED runs removed" in out.getvalue()
    for wrong in ("never", "WAITING=1d"):
        with pytest.raises(CommandError):
            call_command("prune", "--older-than", wrong)
