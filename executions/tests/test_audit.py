"""The audit log: who changed what and why, numbered, chained, and never changed."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection, transaction

from executions import audit, queues, runs, tokens
from executions.audit import Actor
from executions.engine.connections import parameters
from executions.engine.context import Context
from executions.errors import Conflict, Invalid
from executions.models import AuditEntry, Run
from executions.registry import task
from executions.tests.bodies import ONCE
from executions.tests.conftest import eventually

BOB = Actor("bob")


@task("audit.echo", retry=ONCE)
async def echo(payload, ctx: Context):
    return payload


def entries() -> list[tuple[str, str, str, str, Any, Any]]:
    return [
        (entry.actor, entry.action, entry.subject, entry.reason, entry.before, entry.after)
        for entry in AuditEntry.objects.order_by("number")
    ]


# ---- what is written ----------------------------------------------------------------------------


def run_of(status: str) -> str:
    run_id = echo.trigger(1, delay=3600 if status == "DELAYED" else None).id
    if status == "NEEDS_ATTENTION":
        Run.objects.filter(pk=run_id).update(status=status)
    elif status == "PAUSED":
        runs.pause(run_id)
    return run_id


@pytest.mark.parametrize(
    ("change", "status"),
    [("cancel", "QUEUED"), ("terminate", "QUEUED"), ("pause", "DELAYED"), ("resume", "PAUSED"),
     ("release", "NEEDS_ATTENTION")],
)  # fmt: skip
def test_a_change_of_a_run_is_recorded_with_its_actor_and_reason(db, change, status):
    run_id = run_of(status)
    getattr(runs, change)(run_id, reason="because", actor=BOB)
    assert entries() == [("bob", f"run.{change}", run_id, "because", {"status": status}, {})]


def test_a_rescheduled_run_is_recorded(db):
    run_id = run_of("DELAYED")
    runs.reschedule(run_id, "2h", reason="later", actor=BOB)
    assert entries()[0][:4] == ("bob", "run.reschedule", run_id, "later")


def test_a_replay_is_recorded_with_the_new_run(db):
    run_id = run_of("QUEUED")
    handle = runs.replay(run_id, reason="again", actor=BOB)
    ((actor, action, subject, reason, _, after),) = entries()
    assert (actor, action, subject, reason) == ("bob", "run.replay", run_id, "again")
    assert after["run"] == handle.id


def test_a_completed_token_is_recorded(db):
    token = tokens.create()
    tokens.complete(token.id, "yes", reason="on the phone", actor=BOB)
    assert entries()[0][:4] == ("bob", "token.complete", token.id, "on the phone")


def test_changes_of_queues_are_recorded_with_what_was_and_what_is(db):
    queues.pause("q", reason="fire", actor=BOB)
    queues.resume("q", reason="out", actor=BOB)
    queues.set_limit("q", 3, reason="slow", actor=BOB)
    queues.reset_limit("q", actor=BOB)
    assert entries() == [
        ("bob", "queue.pause", "q", "fire", {"paused": False}, {"paused": True}),
        ("bob", "queue.resume", "q", "out", {"paused": True}, {"paused": False}),
        ("bob", "queue.limit", "q", "slow", {"limit": None}, {"limit": 3}),
        ("bob", "queue.limit", "q", "", {"limit": 3}, {"limit": None}),
    ]


def test_a_user_of_the_site_is_recorded_with_the_primary_key_and_outlived(db):
    user = get_user_model().objects.create(username="anna")
    runs.cancel(run_of("QUEUED"), actor=Actor.of(user))
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.user_id) == ("anna", user.pk)
    user.delete()
    assert AuditEntry.objects.get().user_id == entry.user_id
    assert audit.broken_links() == []


def test_what_code_does_by_itself_is_not_recorded(db):
    runs.cancel(run_of("QUEUED"), reason="by code")
    tokens.complete(tokens.create().id)
    queues.pause("q", reason="by code")
    assert entries() == []


def test_what_was_refused_is_not_recorded(db):
    run_id = run_of("QUEUED")
    runs.terminate(run_id)
    for change in (runs.cancel, runs.terminate, runs.pause, runs.resume, runs.release):
        with pytest.raises(Conflict):
            change(run_id, actor=BOB)
    token = tokens.create()
    tokens.complete(token.id)
    with pytest.raises(Conflict):
        tokens.complete(token.id, actor=BOB)
    with pytest.raises(Conflict):
        queues.resume("q", actor=BOB)
    assert entries() == []


@pytest.mark.parametrize("reason", ["x" * 2001, "nul\0", "\ud800", "", 7])
def test_a_reason_is_text_of_at_most_two_thousand_characters(db, reason):
    run_id, token = run_of("QUEUED"), tokens.create()
    for change in (
        lambda: runs.cancel(run_id, reason=reason, actor=BOB),
        lambda: tokens.complete(token.id, reason=reason, actor=BOB),
        lambda: queues.pause("q", reason=reason, actor=BOB),
        lambda: runs.replay(run_id, reason=reason, actor=BOB),
    ):
        with pytest.raises(Invalid) as refusal:
            change()
        assert refusal.value.field == "reason"
    assert entries() == []
    assert runs.retrieve(run_id).status == "QUEUED"
    assert tokens.retrieve(token.id).status == "WAITING"
    assert queues.list_queues() == []


def test_an_entry_vanishes_with_the_change_that_is_rolled_back(transactional_db):
    run_id = run_of("QUEUED")
    with pytest.raises(RuntimeError), transaction.atomic():
        runs.cancel(run_id, actor=BOB)
        raise RuntimeError
    assert entries() == []
    runs.cancel(run_id, actor=BOB)
    assert [entry.number for entry in AuditEntry.objects.all()] == [1]


# ---- it stays -----------------------------------------------------------------------------------


def some_entries(count: int) -> None:
    for number in range(count):
        audit.record(BOB, "test", f"subject {number}", reason="r", before={"n": number})


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE executions_auditentry SET reason = 'another' WHERE number = 2",
        "UPDATE executions_auditentry SET actor = actor",
        "DELETE FROM executions_auditentry WHERE number = 3",
        "DELETE FROM executions_auditentry",
    ],
)
def test_the_database_refuses_to_change_or_delete_an_entry(db, statement):
    some_entries(3)
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        connection.cursor().execute(statement)
    assert AuditEntry.objects.count() == 3


def test_what_an_entry_claims_of_its_place_and_time_is_not_believed(db):
    some_entries(2)
    AuditEntry.objects.create(
        number=77, at="2001-01-01T00:00:00Z", actor="eve", action="a", subject="s", hash="h",
        previous_hash="p",
    )  # fmt: skip
    newest = AuditEntry.objects.order_by("-number")[0]
    assert newest.number == 3
    assert newest.at.year > 2001
    assert newest.hash != "h"
    assert audit.broken_links() == []


@pytest.mark.parametrize(
    ("tampering", "broken"),
    [
        ("UPDATE executions_auditentry SET reason = 'another' WHERE number = 2", [2]),
        ("UPDATE executions_auditentry SET before = '{}' WHERE number = 1", [1]),
        ("UPDATE executions_auditentry SET user_id = 5 WHERE number = 4", [4]),
        ("DELETE FROM executions_auditentry WHERE number = 2", [3]),
        ("DELETE FROM executions_auditentry WHERE number = 1", [2]),
        ("UPDATE executions_auditentry e SET reason = 'x', hash = 'x' WHERE number = 3", [3, 4]),
    ],
)
def test_whoever_gets_around_the_database_is_found_out(db, tampering, broken):
    some_entries(4)
    assert audit.broken_links() == []
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE executions_auditentry DISABLE TRIGGER audit_stays")
        cursor.execute(tampering)
        cursor.execute("ALTER TABLE executions_auditentry ENABLE TRIGGER audit_stays")
    assert audit.broken_links() == broken


def test_the_chain_does_not_depend_on_a_sessions_time_zone_or_style(db):
    some_entries(3)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TimeZone = 'Asia/Tokyo'; SET LOCAL DateStyle = 'German'")
        cursor.execute("SET LOCAL extra_float_digits = 0")
    assert audit.broken_links() == []


def test_those_who_write_at_once_make_one_chain_without_a_gap(transactional_db):
    def write() -> None:
        try:
            some_entries(10)
        finally:
            connection.close()

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = AuditEntry.objects.order_by("number").values_list("number", flat=True)
    assert list(numbers) == list(range(1, 61))
    assert audit.broken_links() == []


@pytest.mark.parametrize("change", [runs.cancel, runs.terminate])
def test_whoever_waits_for_the_row_of_a_child_keeps_nobody_from_the_log(transactional_db, change):
    """Two who end a parent and its child at once would wait for each other."""
    parent = echo.trigger(1).id
    child = echo.trigger(1).id
    Run.objects.filter(pk=child).update(parent_id=parent, parent_close="TERMINATE")

    def end() -> None:
        try:
            change(parent, actor=BOB)
        finally:
            connection.close()

    with (
        psycopg.connect(**parameters()) as holder,
        psycopg.connect(**parameters(), autocommit=True) as watcher,
    ):
        holder.execute("SELECT FROM executions_run WHERE id = %s FOR UPDATE", [child])
        ending = threading.Thread(target=end)
        ending.start()
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        eventually(lambda: watcher.execute(waits).fetchone()[0])
        free = watcher.execute("SELECT pg_try_advisory_xact_lock(7305142)").fetchone()
        holder.rollback()
        ending.join()
    assert free == (True,)
    assert [entry[1] for entry in entries()] == [f"run.{change.__name__}"]
