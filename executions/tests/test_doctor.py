"""The doctor: silent on a healthy database, also a busy one; it names each broken invariant."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from executions import doctor, queues, runs, tokens
from executions.audit import Actor
from executions.doctor import Finding, Severity
from executions.models import AuditEntry, Run, RunEvent, Step, WaitToken
from executions.registry import task
from executions.rules.ids import new_id
from executions.rules.retry import NO_RETRY, Retry
from executions.tests.bodies import AT_ONCE, noted
from executions.tests.conftest import eventually, until_status

# The test server saves itself the flushes to disk, and says so.
_OF_TESTS = {"setting-fsync", "setting-full-page-writes"}


def findings() -> dict[str, Finding]:
    """What is found, by code, but for what is true of every test."""
    return {f.code: f for f in doctor.check() if f.code not in _OF_TESTS}


def execute(statement: str, *parameters: Any) -> None:
    """Breaks something that the database's own rules would not let happen."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(statement, parameters)
        cursor.execute("SET session_replication_role = origin")


@task("doctor.child", retry=NO_RETRY)
async def child(payload: Any, ctx: Any) -> Any:
    await ctx.step("work", noted)
    return payload


@task("doctor.busy", retry=Retry(max_attempts=2, min_timeout=0), on_complete=lambda p, r, ctx: None)
async def busy(payload: Any, ctx: Any) -> Any:
    async def fail_once() -> None:
        if len(failed) % 3 == 0:
            failed.append(1)
            raise ValueError("once")
        failed.append(1)

    failed: list[int] = []
    ctx.stream("words").append("x")
    await ctx.step("retried", fail_once, retry=AT_ONCE)
    await ctx.step("stored", Run.objects.count, transactional=True)
    if ctx.attempt == 1:
        raise ValueError("again")
    await ctx.batch_trigger_and_wait(child, [1, 2, 3])
    token = await ctx.create_token("gate")
    ctx.metadata.set("token", token.id)
    await ctx.sleep(0.02)
    return payload


@task("doctor.waits", retry=NO_RETRY)
async def waits(payload: Any, ctx: Any) -> Any:
    if payload == "signal":
        await ctx.wait_for_signal("go")
    elif payload == "children":
        await ctx.trigger_and_wait(waits, "signal")
    else:
        await ctx.wait_for_token(await ctx.create_token("gate"))


def test_a_healthy_database_is_clean_while_it_works_and_after(executors):
    executors(), executors()
    queues.set_limit("doctor.child", 2)
    handles = busy.batch_trigger(list(range(40)))
    seen: list[set[str]] = []
    ends = threading.Event()

    def look() -> None:
        while not ends.is_set():
            seen.append(set(findings()))
        connection.close()

    looker = threading.Thread(target=look)
    looker.start()
    for handle in handles:
        handle.result(timeout=60)
    ends.set()
    looker.join()
    assert len(seen) > 1
    assert set().union(*seen) <= {"open-tokens-of-ended-runs", "nobody-works"}
    until_status(str(handles[0].retrieve().hook_run), "COMPLETED")
    assert set(findings()) == {"open-tokens-of-ended-runs"}


def ended() -> Run:
    """A run that has ended, with a step."""
    handle = child.trigger()
    handle.result(timeout=5)
    return handle.retrieve()


def parked(payload: str) -> Run:
    """A run that waits, and waited already an hour ago."""
    run = until_status(waits.trigger(payload).id, "WAITING")
    execute("UPDATE executions_runevent SET at = at - interval '1 hour'")
    return run


def lost_children() -> None:
    run = parked("children")
    inner = until_status(Run.objects.get(parent_id=run.id).id, "WAITING")
    execute(
        "UPDATE executions_run SET status = 'COMPLETED', wake_at = NULL, "
        "finished_at = flowmaestro_now() - interval '1 minute' WHERE id = %s", inner.id,
    )  # fmt: skip
    execute("UPDATE executions_step SET pending = 0 WHERE run_id = %s", run.id)


def lost_signal() -> None:
    execute(
        "INSERT INTO executions_signal (id, run_id, name, created_at) "
        "VALUES (%s, %s, 'go', flowmaestro_now() - interval '1 minute')",
        new_id("signal"), parked("signal").id,
    )  # fmt: skip


def set_run(changes: str, make: Any = ended) -> Any:
    return lambda: execute(f"UPDATE executions_run SET {changes} WHERE id = %s", make().id)


def on(statement: str, make: Any = ended) -> Any:
    return lambda: execute(statement, make().id)


BREAKS = {
    "events-gap": on("DELETE FROM executions_runevent WHERE run_id = %s AND seq = 2"),
    "chunks-gap": on(
        "INSERT INTO executions_streamchunk (run_id, stream, index) VALUES (%s, 's', 1)"
    ),
    "orphans": on("DELETE FROM executions_run WHERE id = %s"),
    "no-data": on("DELETE FROM executions_rundata WHERE run_id = %s"),
    "step-places": on(
        "INSERT INTO executions_step (run_id, key, kind, status, seq, attempt, run_attempt, "
        "finished_at) VALUES (%s, 'x', 'step', 'COMPLETED', 1, 1, 1, flowmaestro_now())"
    ),
    "step-outcomes": on("UPDATE executions_step SET seq = NULL WHERE run_id = %s"),
    "held-by-nobody": set_run(
        "status = 'EXECUTING', claim = gen_random_uuid(), worker = 'worker_gone', "
        "finished_at = NULL", lambda: parked("token"),
    ),
    "gated-for-nothing": set_run(
        "status = 'QUEUED', is_gated = true, queue = 'nobody''s'", lambda: parked("token")
    ),
    "lost-wake-token": lambda: execute(
        "UPDATE executions_waittoken SET status = 'COMPLETED', "
        "completed_at = flowmaestro_now() - interval '1 minute' WHERE run_id = %s",
        parked("token").id,
    ),
    "lost-wake-children": lost_children,
    "lost-wake-signal": lost_signal,
    "lost-wake-cancel": set_run(
        "cancel_requested_at = flowmaestro_now() - interval '1 minute'", lambda: parked("token")
    ),
    "pending-count": on(
        "UPDATE executions_step SET pending = 7 WHERE run_id = %s", lambda: parked("children")
    ),
    "token-outcome": on(
        "UPDATE executions_waittoken SET completed_at = flowmaestro_now() WHERE run_id = %s",
        lambda: parked("token"),
    ),
    "left-children": set_run(
        "status = 'COMPLETED', finished_at = flowmaestro_now() - interval '1 minute'",
        lambda: parked("children"),
    ),
    "no-hook-run": set_run("hook_run = 'run_gone'"),
    "needs-attention": set_run("status = 'NEEDS_ATTENTION'", lambda: parked("token")),
}  # fmt: skip


@pytest.mark.parametrize("code", BREAKS)
def test_each_broken_invariant_is_found_and_named(executors, code):
    executor = executors()
    # Nobody must mend what is broken before it is looked at.
    executor.ticker.parts = tuple
    BREAKS[code]()
    found = findings()
    assert code in found
    assert found[code].count == 1 and len(found[code].examples) == 1
    assert found[code].message and found[code].remedy
    expected = "warning" if code == "needs-attention" else "error"
    assert found[code].severity == expected


def test_what_waits_for_workers_is_late_only_while_some_work(executor):
    run = until_status(waits.trigger("token").id, "WAITING")
    executor.ticker.parts = tuple
    execute(
        "UPDATE executions_run SET wake_at = flowmaestro_now() - interval '1 hour' WHERE id = %s",
        run.id,
    )
    WaitToken.objects.filter(run_id=run.id).update(timeout_at="2026-01-01T00:00:00Z")
    assert "late-timers" not in findings()
    execute("UPDATE executions_worker SET started_at = started_at - interval '1 day'")
    assert {"late-timers", "late-tokens"} <= findings().keys()


def test_runs_nobody_claims_are_told_but_not_those_of_held_queues(executor):
    executor.stop(0)
    child.trigger()
    assert findings()["nobody-works"].severity == Severity.WARNING
    execute(
        "UPDATE executions_worker SET dead_at = NULL, seen_at = flowmaestro_now(), "
        "started_at = started_at - interval '1 day'"
    )
    assert "late-runs" not in findings()
    execute("UPDATE executions_run SET due_at = due_at - interval '1 hour'")
    assert findings()["late-runs"].count == 1
    queues.pause("doctor.child")
    assert findings() == {}


def test_a_wait_that_the_code_gave_up_is_no_lost_wake(executor):
    @task("doctor.loser", retry=NO_RETRY)
    async def loser(payload: Any, ctx: Any) -> Any:
        token = await ctx.create_token("gate")
        one = asyncio.create_task(ctx.branch("x").wait_for_token(token))
        two = asyncio.create_task(ctx.branch("y").wait_for_signal("go"))
        _, pending = await asyncio.wait([one, two], return_when=asyncio.FIRST_COMPLETED)
        for each in pending:
            each.cancel()
        await ctx.wait_for_signal("end")

    run = until_status(loser.trigger().id, "WAITING")
    runs.signal(run.id, "go")

    def waits_again() -> bool:
        found = runs.retrieve(run.id)
        return found.status == "WAITING" and found.steps.filter(key="signal:end#1").exists()

    eventually(waits_again)
    tokens.complete(WaitToken.objects.get(run_id=run.id).id)
    eventually(waits_again)
    execute(
        "UPDATE executions_runevent SET at = at - interval '1 minute' WHERE run_id = %s", run.id
    )
    execute("UPDATE executions_waittoken SET completed_at = completed_at - interval '2 minutes'")
    assert Step.objects.get(run_id=run.id, key__contains="gate:wait").status == "WAITING"
    assert findings() == {}


def test_a_changed_audit_log_is_told(executor):
    runs.replay(ended().id, actor=Actor("me"))
    assert AuditEntry.objects.count() == 1
    assert "audit-chain" not in findings()
    execute("UPDATE executions_auditentry SET actor = 'you'")
    assert findings()["audit-chain"].examples == ("1",)


def test_a_missing_index_constraint_or_trigger_is_told(executor):
    try:
        with connection.cursor() as cursor:
            cursor.execute("ALTER INDEX run_due RENAME TO run_due_away")
            cursor.execute(
                "ALTER TABLE executions_run RENAME CONSTRAINT run_status_known TO known_away"
            )
            cursor.execute("ALTER TABLE executions_run DISABLE TRIGGER run_final_is_final")
        found = findings()["schema"]
        assert set(found.examples) == {"run_due", "run_status_known", "run_final_is_final"}
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER INDEX run_due_away RENAME TO run_due")
            cursor.execute(
                "ALTER TABLE executions_run RENAME CONSTRAINT known_away TO run_status_known"
            )
            cursor.execute("ALTER TABLE executions_run ENABLE TRIGGER run_final_is_final")
    assert "schema" not in findings()


def test_a_server_that_forgets_commits_is_told(executor):
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        found = findings()
        cursor.execute("RESET synchronous_commit")
    assert found["setting-synchronous-commit"].severity == Severity.ERROR


def test_the_command_exits_with_1_on_errors_and_0_on_warnings(executor):
    run = ended()
    out = io.StringIO()
    call_command("doctor", "--json", stdout=out)
    document = json.loads(out.getvalue())
    assert document["errors"] == 0
    RunEvent.objects.filter(run_id=run.id, seq=1).delete()
    out = io.StringIO()
    with pytest.raises(SystemExit) as left:
        call_command("doctor", stdout=out)
    assert left.value.code == 1
    assert "error: events-gap (1)" in out.getvalue() and run.id in out.getvalue()
