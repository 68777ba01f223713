"""The admin's pages of queues, workers and the audit log."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client

from executions import queues, runs
from executions.admin import audit as audit_page
from executions.admin import bounded
from executions.audit import Actor
from executions.models import AuditEntry, Run, Worker
from executions.tests.admin_pages import do, list_of, page_of, plain, text_of
from executions.tests.people import person


@pytest.fixture
def boss(transactional_db):
    """A browser in which a superuser is logged in."""
    client = Client()
    client.force_login(person("boss", is_staff=True, is_superuser=True))
    return client


def shown(answer, name):
    """The row of a queue as the list shows it."""
    rows = {row.name: row for row in answer.context["cl"].result_list}
    return rows[name]


def test_queues_show_their_limit_and_what_is_in_them(boss):
    queues.set_limit("slow", 3)
    for number in range(3):
        runs.trigger(plain, number, queue="slow")
    answer = boss.get(list_of("queue"))
    assert "3 (set by an operator)" in text_of(answer)
    assert shown(answer, "slow").counts.queued == 3
    assert shown(answer, "slow").counts.executing == 0
    assert "open" in text_of(boss.get(page_of("slow", "queue")))


def test_a_queue_is_paused_and_resumed(boss):
    queues.set_limit("slow", 3)
    text_of(do(boss, "pause", "slow", model="queue"))
    assert queues.retrieve("slow").paused_at is not None
    assert "paused" in text_of(boss.get(page_of("slow", "queue")))
    text_of(do(boss, "resume", "slow", model="queue"))
    assert queues.retrieve("slow").paused_at is None
    actions = list(AuditEntry.objects.values_list("actor", "action", "subject", "reason"))
    assert actions == [
        ("boss", "queue.resume", "slow", "Because."),
        ("boss", "queue.pause", "slow", "Because."),
    ]


def test_a_refusal_of_a_queue_is_shown(boss):
    queues.pause("slow")
    text = do(boss, "pause", "slow", model="queue").content.decode()
    assert "is paused already" in text


@pytest.mark.parametrize(("given", "limit"), [("7", 7), ("", None)])
def test_a_limit_is_set_and_reset(boss, given, limit):
    queues.set_limit("slow", 3)
    do(boss, "limit", "slow", model="queue", limit=given)
    assert queues.retrieve("slow").concurrency_limit == limit
    assert AuditEntry.objects.first().after == {"limit": limit}
    do(boss, "reset", "slow", model="queue")
    queue = queues.retrieve("slow")
    assert (queue.concurrency_limit, queue.is_overridden) == (queue.declared_limit, False)


@pytest.mark.parametrize("given", ["0", "-1", "100001", "many", "1.5", "9" * 400])
def test_a_limit_that_is_none_is_refused(boss, given):
    queues.set_limit("slow", 3)
    answer = do(boss, "limit", "slow", model="queue", limit=given)
    assert answer.status_code in (200, 400)
    assert answer.redirect_chain == []
    assert queues.retrieve("slow").concurrency_limit == 3


def test_a_queue_of_any_name_has_a_page(boss):
    name = "a/b?c=<d>&e é"
    queues.pause(name)
    assert page_of(name, "queue") in text_of(boss.get(list_of("queue")))
    text_of(do(boss, "resume", name, model="queue"))
    assert queues.retrieve(name).paused_at is None


def test_workers_show_whether_they_live_and_what_they_hold(boss, executor):
    worker = executor.ticker.worker_id
    run_id = runs.trigger(plain, 1, delay="1h").id
    Run.objects.filter(pk=run_id).update(
        status="EXECUTING", worker=worker, claim="00000000-0000-0000-0000-000000000001"
    )
    gone = Worker.objects.create(id="worker_gone", host="elsewhere", pid=1, process_started=1)
    Worker.objects.filter(pk=gone.pk).update(seen_at="2026-01-01T00:00Z")
    answer = boss.get(list_of("worker"))
    states = {row.pk: row for row in answer.context["cl"].result_list}
    assert states[worker].held == 1
    assert states[gone.pk].held == 0
    text = text_of(answer)
    assert "alive" in text
    assert "silent" in text
    assert page_of(run_id) in text_of(boss.get(page_of(worker, "worker")))
    Worker.objects.filter(pk=gone.pk).update(dead_at="2026-01-02T00:00Z")
    assert "dead" in text_of(boss.get(list_of("worker"), {"q": "worker_gone"}))


@pytest.fixture
def entries(boss):
    """Two entries by two people about two things."""
    run_id = runs.trigger(plain, 1).id
    runs.pause(run_id, reason="Too loud.", actor=Actor("Ada"))
    queues.pause("slow", reason="Too fast.", actor=Actor("Bo"))
    return run_id


@pytest.mark.parametrize(
    "query", [{"action": "run.pause"}, {"actor": "Ada"}, {"subject": None}, {"actor": " Ada "}]
)
def test_entries_are_filtered_by_action_actor_and_subject(boss, entries, query):
    query = {name: entries if value is None else value for name, value in query.items()}
    text = text_of(boss.get(list_of("auditentry"), query))
    assert "Too loud." in text
    assert "Too fast." not in text
    assert page_of(entries) in text


def test_an_entry_shows_what_was_before_and_after(boss, entries):
    number = AuditEntry.objects.get(action="queue.pause").pk
    text = text_of(boss.get(page_of(number, "auditentry")))
    assert "&quot;paused&quot;: true" in text
    assert AuditEntry.objects.get(pk=number).hash in text


def test_the_log_says_whether_its_chain_holds(boss, entries):
    assert "The chain of the log is whole." in text_of(boss.get(list_of("auditentry")))
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE executions_auditentry DISABLE TRIGGER audit_stays")
        cursor.execute("UPDATE executions_auditentry SET reason = 'Never.' WHERE number = 1")
        cursor.execute("ALTER TABLE executions_auditentry ENABLE TRIGGER audit_stays")
    assert "The chain is broken at 1" in text_of(boss.get(list_of("auditentry")))


def test_a_log_too_long_to_check_is_still_listed(boss, entries, monkeypatch):
    monkeypatch.setattr(bounded, "SECONDS", 0.05)
    function = "executions_audit_hash(e executions_auditentry)"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_functiondef('executions_audit_hash'::regproc)")
        kept = cursor.fetchone()[0]
        cursor.execute(
            f"CREATE OR REPLACE FUNCTION {function} RETURNS text LANGUAGE sql STABLE AS "
            "$$ SELECT pg_sleep(5)::text $$"
        )
        try:
            assert audit_page.chain()["look"] == "unknown"
            assert "Too loud." in text_of(boss.get(list_of("auditentry")))
        finally:
            cursor.execute(kept)
