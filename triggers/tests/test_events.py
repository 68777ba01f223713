"""Events: who hears one, what starts, and that all of it is the publisher's transaction."""

from __future__ import annotations

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from executions.errors import Invalid, TooLarge
from executions.models import Run
from triggers import triggers
from triggers.events import publish_event
from triggers.models import Firing, Receipt, Trigger
from triggers.tests.senders import event_trigger, someone, started

pytestmark = pytest.mark.django_db


def test_every_trigger_that_listens_starts_its_workflow_with_the_payload(engine):
    first, second = event_trigger(), event_trigger()
    event_trigger("order.lost")
    found = publish_event("order.paid", {"order": 7}, source="shop")
    assert list(found.runs) == [first.id, second.id]
    for trigger_id, run_id in found.runs.items():
        run = Run.objects.get(pk=run_id)
        assert (run.task, run.source) == ("triggered-workflow", trigger_id)
        assert engine.result(run_id)["outputs"] == {"order": 7}
        assert run.data.metadata["event"] == "order.paid"
        assert run.data.metadata["source"] == "shop"
    assert triggers.retrieve(first.id, workspace=None).fired == 1


def test_an_event_without_anybody_who_hears_it_is_no_error():
    assert publish_event("nobody.hears").runs == {}


@pytest.mark.parametrize(
    ("config", "heard"),
    [
        ({}, True),
        ({"source": "shop"}, True),
        ({"source": "till"}, False),
        ({"filters": {}}, True),
        ({"filters": {"order.total": {"$gte": 100}}}, True),
        ({"filters": {"order.total": {"$gt": 100}}}, False),
        ({"filters": {"labels": "vip"}}, True),
        ({"filters": {"gone": "x"}}, False),
    ],
)
def test_triggers_hear_what_fits_their_filter(config, heard):
    trigger = event_trigger(**config)
    payload = {"order": {"total": 100}, "labels": ["new", "vip"]}
    found = publish_event("order.paid", payload, source="shop")
    assert list(found.runs) == ([trigger.id] if heard else [])


def test_disabled_and_deleted_triggers_hear_nothing():
    first, second = event_trigger(), event_trigger()
    triggers.disable(first.id)
    triggers.delete(second.id)
    assert publish_event("order.paid").runs == {}


def test_an_event_is_heard_in_its_own_workspace_only():
    ada, bob = someone("ada"), someone("bob")
    own = event_trigger(owner=ada.pk)
    event_trigger(owner=bob.pk)
    shared = event_trigger()
    assert list(publish_event("order.paid", workspace=own.workspace_id).runs) == [own.id]
    assert list(publish_event("order.paid").runs) == [shared.id]


def test_an_event_of_a_transaction_that_is_rolled_back_never_was():
    event_trigger()
    with pytest.raises(LookupError), transaction.atomic():
        assert len(publish_event("order.paid", id="e-1").runs) == 1
        raise LookupError
    assert (started(), Firing.objects.count(), Receipt.objects.count()) == (0, 0, 0)
    assert publish_event("order.paid", id="e-1").is_repeated is False


def test_an_event_with_an_id_is_published_once_per_workspace():
    ada = someone("ada")
    own, shared = event_trigger(owner=ada.pk), event_trigger()
    first = publish_event("order.paid", id="e-1")
    again = publish_event("order.paid", {"other": 1}, id="e-1")
    assert again.runs == first.runs == {shared.id: again.runs[shared.id]}
    assert (first.is_repeated, again.is_repeated) == (False, True)
    theirs = publish_event("order.paid", id="e-1", workspace=own.workspace_id)
    assert list(theirs.runs) == [own.id]
    assert started() == 2


def test_a_trigger_that_cannot_start_keeps_no_other_from_it(monkeypatch):
    from executions import runs

    first, second, third = event_trigger(), event_trigger(), event_trigger()
    trigger = runs.trigger

    def break_second(task, payload, **options):
        if options["source"] == second.id:
            raise Invalid("It does not want to.")
        return trigger(task, payload, **options)

    monkeypatch.setattr(runs, "trigger", break_second)
    found = publish_event("order.paid", {"a": 1})
    assert list(found.runs) == [first.id, third.id]
    assert found.failed == {second.id: "It does not want to."}
    assert Firing.objects.get(trigger=second).error == "It does not want to."
    assert triggers.retrieve(second.id, workspace=None).fired == 0


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": 7}, "name"),
        ({"payload": [1]}, "payload"),
        ({"payload": {"a": float("nan")}}, "payload"),
        ({"payload": {"a": "\0"}}, "payload"),
        ({"source": ""}, "source"),
        ({"id": "x" * 300}, "id"),
    ],
)
def test_what_is_no_event_is_refused_by_name(given, field):
    event_trigger()
    with pytest.raises(Invalid) as caught:
        publish_event(**{"name": "order.paid", **given})
    assert caught.value.field == field
    assert started() == 0


def test_an_event_has_a_limit():
    deep: object = 1
    for _ in range(200):
        deep = {"a": deep}
    with pytest.raises(Invalid, match="nested"):
        publish_event("order.paid", {"a": deep})
    with pytest.raises(TooLarge):
        publish_event("order.paid", {"a": "x" * 4_000_000})


def test_ten_thousand_triggers_for_other_events_are_not_looked_at():
    listening = event_trigger("order.paid")
    columns = ", ".join(
        field.column for field in Trigger._meta.concrete_fields
        if field.column not in ("id", "event_type")
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO triggers_trigger (id, event_type, {columns}) "
            f"SELECT 'trigger_' || n, 'event.' || n, {columns} "
            "FROM triggers_trigger, generate_series(1, 10000) n"
        )
        cursor.execute("ANALYZE triggers_trigger")
    with CaptureQueriesContext(connection) as queries:
        assert list(publish_event("order.paid").runs) == [listening.id]
    select = next(q["sql"] for q in queries if 'FROM "triggers_trigger"' in q["sql"])
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT TEXT) {select}")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "trigger_of_event" in plan
    assert "Seq Scan" not in plan
