"""The lists of the admin: filters, search, pages by key, and a bound on what they may ask."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from executions import queues, runs
from executions.admin import bounded, searching
from executions.audit import Actor
from executions.models import Run, RunData
from executions.rules.ids import first_id
from executions.tests.admin_pages import LIST, fails, list_of, plain, text_of
from executions.tests.people import person


@pytest.fixture
def boss(transactional_db):
    """A browser in which a superuser is logged in."""
    client = Client()
    client.force_login(person("boss", is_staff=True, is_superuser=True))
    return client


def listed(client, **query):
    """The ids of the runs on a page of the list, in its order."""
    text = text_of(client.get(LIST, query))
    known = Run.objects.values_list("pk", flat=True)
    places = {pk: text.find(f'value="{pk}"') for pk in known}
    return [pk for pk in sorted(places, key=lambda pk: places[pk]) if places[pk] >= 0]


def test_runs_are_filtered_by_status_task_tag_and_queue_and_by_several_at_once(boss):
    first = runs.trigger(plain, 1, tags=["red", "blue"]).id
    second = runs.trigger(plain, 2, tags=["red"], queue="slow").id
    third = runs.trigger(fails, 3).id
    runs.cancel(second)
    assert listed(boss) == [third, second, first]
    assert listed(boss, status="CANCELED") == [second]
    assert listed(boss, task="admin.plain") == [second, first]
    assert listed(boss, tag="red") == [second, first]
    assert listed(boss, tag="blue") == [first]
    assert listed(boss, tag="re") == []
    assert listed(boss, queue="slow") == [second]
    assert listed(boss, task="admin.plain", status="QUEUED", tag="red") == [first]


def test_runs_are_filtered_by_the_time_of_their_ids(boss):
    today = runs.trigger(plain, 1).id
    day = datetime(2025, 3, 1, tzinfo=UTC)
    old = first_id("run", day)
    Run.objects.filter(pk=runs.trigger(plain, 2).id).update(id=old)
    assert listed(boss, created_from="2025-03-01T00:00", created_to="2025-03-02T00:00") == [old]
    assert listed(boss, created_from="2025-03-01T01:00+01:00", created_to="2025-03-02") == [old]
    assert listed(boss, created_from="2025-03-01T00:00:00.001") == [today]
    assert listed(boss, created_to="2025-03-01") == []
    with CaptureQueriesContext(connection) as queries:
        boss.get(LIST, {"created_from": "2025-03-01"})
    assert not [query for query in queries if '"created_at" >=' in query["sql"]]


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "0001-01-01T00:00+14:00", "\0"])
def test_what_is_no_time_finds_nothing_and_says_so(boss, text):
    runs.trigger(plain, 1)
    answer = text_of(boss.get(LIST, {"created_from": text + "x"}))
    assert "is no time such as" in answer
    assert listed(boss, created_from=text + "x") == []


def test_runs_are_searched_by_the_beginning_of_an_id(boss):
    first = runs.trigger(plain, 1).id
    second = runs.trigger(plain, 2).id
    assert listed(boss, q=first) == [first]
    assert listed(boss, q=f"  {first[:-3]} ") == [first]
    assert listed(boss, q="run_") == [second, first]
    assert listed(boss, q="run_%") == []


def test_runs_are_searched_by_what_their_payload_holds(boss):
    ada = runs.trigger(plain, {"customer": {"name": 'Ada "the" Älteste', "n": 7}}).id
    bob = runs.trigger(plain, {"customer": {"name": "Bob_100%", "n": 7}, "list": [1, 2]}).id
    assert listed(boss, q="Älteste") == [ada]
    assert listed(boss, q='Ada "the"') == [ada]
    assert listed(boss, q='"name":"Bob') == [bob]
    assert listed(boss, q="_100%") == [bob]
    assert listed(boss, q="b_b") == []
    assert listed(boss, q='{"customer": {"n": 7}}') == [bob, ada]
    assert listed(boss, q='{"list": [2]}') == [bob]
    assert listed(boss, q='{"customer": {"n": 8}}') == []
    assert listed(boss, q="Älteste", task="admin.fails") == []
    assert listed(boss, q='{"customer": {"n": 7}}', status="CANCELED") == []


def test_a_search_reads_so_many_payloads_and_goes_on_where_it_stopped(boss, monkeypatch):
    monkeypatch.setattr(searching, "WINDOW", 2)
    oldest = runs.trigger(plain, "needle").id
    for number in range(4):
        runs.trigger(plain, number)
    answer = boss.get(LIST, {"q": "needle"})
    for _ in range(2):
        assert oldest not in text_of(answer)
        assert "goes on" in text_of(answer)
        answer = boss.get(LIST + answer.context["cl"].older_url)
    assert f'value="{oldest}"' in text_of(answer)
    assert answer.context["cl"].older_url == ""


def test_a_list_is_read_forth_and_back_by_key_and_never_skips_rows(boss, monkeypatch):
    monkeypatch.setattr("executions.admin.runs.RunAdmin.list_per_page", 2)
    ids = sorted((runs.trigger(plain, number).id for number in range(5)), reverse=True)

    def shown(answer):
        return [row.pk for row in answer.context["cl"].result_list]

    with CaptureQueriesContext(connection) as queries:
        first = boss.get(LIST, {"task": "admin.plain"})
        second = boss.get(LIST + first.context["cl"].older_url)
        third = boss.get(LIST + second.context["cl"].older_url)
    assert [shown(first), shown(second), shown(third)] == [ids[:2], ids[2:4], ids[4:]]
    assert not [query for query in queries if "OFFSET" in query["sql"]]
    assert third.context["cl"].older_url == ""
    assert first.context["cl"].newer_url == first.context["cl"].first_url == ""
    back = boss.get(LIST + third.context["cl"].newer_url)
    assert shown(back) == ids[2:4]
    assert shown(boss.get(LIST + back.context["cl"].newer_url)) == ids[:2]
    assert "task=admin.plain" in second.context["cl"].first_url
    assert "older_than" not in second.context["cl"].first_url


def test_a_new_search_or_filter_begins_on_the_first_page(boss):
    run_id = runs.trigger(plain, 1).id
    text = text_of(boss.get(LIST, {"older_than": run_id + "z", "task": "admin.plain"}))
    assert run_id in text
    assert 'name="older_than"' not in text


@pytest.mark.parametrize("key", ["", "'", "\0", "x" * 3000, "run_"])
@pytest.mark.parametrize("model", ["run", "auditentry", "queue", "workflowversion"])
def test_a_key_that_is_none_is_no_error(boss, model, key):
    queues.pause("slow", reason="Why not.", actor=Actor("tests"))
    for side in ("older_than", "newer_than"):
        assert boss.get(list_of(model), {side: key}).status_code == 200


def test_a_question_that_takes_too_long_is_given_up_and_says_what_helps(boss, monkeypatch):
    run_id = runs.trigger(plain, {"a": 1}).id
    monkeypatch.setattr(bounded, "SECONDS", 0.05)
    slow = "(SELECT true FROM pg_sleep(5) WHERE payload IS NOT NULL)"
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE executions_rundata RENAME TO kept")
        cursor.execute(f"CREATE VIEW executions_rundata AS SELECT * FROM kept WHERE {slow}")
    try:
        text = text_of(boss.get(LIST, {"q": "needle"}))
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP VIEW executions_rundata")
            cursor.execute("ALTER TABLE kept RENAME TO executions_rundata")
    assert "narrow it by time or task" in text
    assert f'value="{run_id}"' not in text
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone()[0] == "0"


def test_the_bound_ends_with_its_block_also_inside_a_transaction(db):
    with connection.cursor() as cursor:
        with bounded.bounded(1.5):
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone()[0] == "1500ms"
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone()[0] == "0"


def test_whole_tables_are_never_selected_with_one_click(boss):
    kept = [runs.trigger(plain, number).id for number in range(3)]
    data = {"action": "cancel", "_selected_action": kept[:1], "select_across": "1"}
    asked = boss.post(LIST, data, follow=True)
    assert [row.pk for row in asked.context["rows"]] == kept[:1]


def test_tokens_are_filtered_by_tag_and_time(boss):
    from executions import tokens

    token = tokens.create(tags=["door"])
    other = tokens.create()
    text = text_of(boss.get(list_of("waittoken"), {"tag": "door"}))
    assert token.id in text
    assert other.id not in text
    soon = datetime.now(UTC) + timedelta(hours=1)
    later = text_of(boss.get(list_of("waittoken"), {"created_from": soon.isoformat()}))
    assert token.id not in later


def test_a_payload_that_jsonb_cannot_hold_does_not_break_the_search(boss):
    run_id = runs.trigger(plain, {"a": 1}).id
    RunData.objects.filter(run_id=run_id).update(payload={"a": 1})
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE executions_rundata SET payload = %s::json WHERE run_id = %s",
            ['{"a": 1, "big": 1e200000}', run_id],
        )
    text = text_of(boss.get(LIST, {"q": '{"a": 1}'}))
    assert f'value="{run_id}"' not in text
    assert "cannot be compared" in text
