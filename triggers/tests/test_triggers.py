"""Triggers: what can be stored, who sees it, what changes, and what of it is written down."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from executions import access, connections, workflow_edits
from executions.audit import Actor
from executions.connections import ANYONE
from executions.connections.envelope import KeyMissing
from executions.errors import Conflict, Invalid, NotFound
from executions.models import AuditEntry, Run
from triggers import firing, triggers
from triggers.models import Firing, Schedule, Trigger
from triggers.tests.senders import event_trigger, inputs_of, send, someone, stored, webhook
from triggers.tidying import Tidying
from triggers.triggers import TriggerDisabled
from triggers.webhooks import sealing

pytestmark = pytest.mark.django_db

BOB = Actor("bob")
SCHEMA = {
    "type": "object",
    "properties": {
        "count": {"type": "integer", "minimum": 1},
        "to": {"type": "object", "properties": {"name": {"type": "string"}}},
    },
    "required": ["count"],
    "additionalProperties": False,
}


def make(type="manual", config=None, **more):
    return triggers.create(
        workflow=more.pop("workflow", None) or stored(f"w{Trigger.objects.count()}"), name="t",
        type=type, config={} if config is None else config, **more,
    ).trigger  # fmt: skip


# ---- store --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type", "config", "field"),
    [
        ("cron", {}, "type"),
        ("manual", [], "config"),
        ("manual", {"input": {}}, "config.input"),
        ("manual", {"inputs": []}, "config.inputs"),
        ("manual", {"inputSchema": {"type": "nonsense"}}, "config.inputSchema"),
        ("manual", {"inputSchema": {"$ref": "#/gone"}}, "config.inputSchema"),
        ("manual", {"inputs": {"text": "x" * 70_000}}, "config"),
        ("event", {}, "config.eventType"),
        ("event", {"eventType": ""}, "config.eventType"),
        ("event", {"eventType": "a", "filters": {"$where": 1}}, "config.filters.$where"),
        ("event", {"eventType": "a", "filters": []}, "config.filters"),
        ("schedule", {}, "config.cronExpression"),
        ("schedule", {"cronExpression": "61 * * * *"}, "config.cronExpression"),
        ("schedule", {"cronExpression": "0 0 30 2 *"}, "config.cronExpression"),
        ("schedule", {"cronExpression": "0 9 * * *", "timezone": "Mars/Base"}, "config.timezone"),
        ("schedule", {"cronExpression": "0 9 * * *", "enabled": "yes"}, "config.enabled"),
        ("webhook", {"authtype": "hmac"}, "config.authtype"),
        ("webhook", {"authType": "digest"}, "config.authType"),
        ("webhook", {"method": "HEAD"}, "config.method"),
        ("webhook", {"allowedOrigins": ["example.com"]}, "config.allowedOrigins.0"),
        ("webhook", {"payloadLimit": 0}, "config.payloadLimit"),
        ("webhook", {"authType": "bearer", "requireSignature": True}, "config.requireSignature"),
        ("webhook", {"customHeaders": {"a": "b"}}, "config.customHeaders"),
        ("webhook", {"signatureStyle": "github"}, "config.signatureStyle"),
        ("webhook", {"authType": "hmac", "signatureHeader": "a b"}, "config.signatureHeader"),
        ("webhook", {"authType": "bearer", "timestampHeader": "X-T"}, "config.timestampHeader"),
        (
            "webhook",
            {"authType": "hmac", "signatureStyle": "stripe", "deliveryIdHeader": "X-Id"},
            "config.deliveryIdHeader",
        ),
    ],
)
def test_a_config_that_cannot_be_is_refused_by_the_name_of_its_field(type, config, field):
    with pytest.raises(Invalid) as caught:
        make(type, config)
    assert caught.value.field == field
    assert not Trigger.objects.exists()


@pytest.mark.parametrize(
    "secret", ["short", "x" * 1001, "with\nline", "  padded-secret ", "ümlaut-secret", 7]
)
def test_a_secret_that_cannot_be_is_refused_and_not_repeated(secret):
    with pytest.raises(Invalid) as caught:
        make("webhook", {"authType": "bearer"}, secret=secret)
    assert caught.value.field == "secret"
    assert str(secret) not in str(caught.value)


def test_a_secret_of_standard_webhooks_is_base64():
    config = {"authType": "hmac", "signatureStyle": "standard"}
    with pytest.raises(Invalid, match="whsec_"):
        make("webhook", config, secret="not base64!")
    assert make("webhook", config, secret="whsec_c2VjcmV0LTEyMw==").key_id


def test_only_what_shows_a_secret_has_one():
    for type, config in (("webhook", {}), ("manual", {}), ("event", {"eventType": "a"})):
        found = triggers.create(workflow=stored(type), name="t", type=type, config=config)
        assert (found.secret, found.trigger.key_id) == (None, "")
        with pytest.raises(Invalid, match="no secret"):
            make(type, config, secret="a secret of ours")
    signed = triggers.create(
        workflow=stored("w"), name="t", type="webhook", config={"requireSignature": True}
    )
    assert sealing.secret_of(signed.trigger) == signed.secret


def test_what_is_stored_is_what_was_given():
    config = {"authType": "hmac", "allowedOrigins": ["https://A.example.com:443"], "method": "POST"}
    row = make("webhook", config)
    stored_config = Trigger.objects.get(pk=row.pk).config
    assert stored_config == {**config, "allowedOrigins": ["https://a.example.com"]}


def test_a_trigger_takes_a_workflow_of_its_workspace_or_a_shared_one():
    ada, bob = someone("ada"), someone("bob")
    own, foreign, shared = stored("a", owner=ada.pk), stored("b", owner=bob.pk), stored("c")
    for workflow in (own, shared):
        assert make(workflow=workflow, owner=ada.pk).workflow_id == workflow
    for workflow in (foreign, "workflow_" + "0" * 26, "x", own.replace("workflow", "version")):
        with pytest.raises(NotFound) as caught:
            make(workflow=workflow, owner=ada.pk)
        assert caught.value.field == "workflowId"


def test_the_database_keeps_its_rules():
    row = event_trigger()
    for broken in (
        {"type": "other"}, {"event_type": None}, {"deleted_at": row.created_at, "enabled": True},
    ):  # fmt: skip
        with pytest.raises(IntegrityError), transaction.atomic():
            Trigger.objects.filter(pk=row.pk).update(**broken)
    hook, _ = webhook(authType="bearer")
    with pytest.raises(IntegrityError), transaction.atomic():
        Trigger.objects.filter(pk=hook.pk).update(enabled=False, deleted_at=row.created_at)


# ---- who sees what ------------------------------------------------------------------------------


def test_a_trigger_of_another_workspace_is_not_there():
    ada, bob = someone("ada"), someone("bob")
    row = make(owner=ada.pk)
    theirs = make(owner=bob.pk).workspace_id
    acts = (
        lambda where: triggers.retrieve(row.id, workspace=where),
        lambda where: triggers.update(row.id, name="x", workspace=where),
        lambda where: triggers.enable(row.id, workspace=where),
        lambda where: triggers.disable(row.id, workspace=where),
        lambda where: triggers.delete(row.id, workspace=where),
        lambda where: triggers.rotate_secret(row.id, workspace=where),
        lambda where: triggers.execute(row.id, workspace=where),
        lambda where: triggers.deliveries(row.id, workspace=where),
    )
    for act in acts:
        for where in (theirs, None):
            with pytest.raises(NotFound):
                act(where)
    assert triggers.retrieve(row.id, workspace=ANYONE).id == row.id
    assert triggers.retrieve(row.id, workspace=row.workspace_id).name == "t"


def test_the_list_is_filtered_and_read_page_by_page():
    ada = someone("ada")
    workflow = stored("a", owner=ada.pk)
    rows = [make(owner=ada.pk, workflow=workflow) for _ in range(3)]
    event = event_trigger(owner=ada.pk)
    triggers.disable(rows[0].id)
    triggers.delete(rows[1].id)
    event_trigger()
    where = rows[0].workspace_id

    def ids(**more):
        return [row.id for row in triggers.list_triggers(workspace=where, **more)]

    assert ids() == [event.id, rows[2].id, rows[0].id]
    assert ids(limit=2) == [event.id, rows[2].id]
    assert ids(after=rows[2].id) == [rows[0].id]
    assert ids(workflow=workflow) == [rows[2].id, rows[0].id]
    assert ids(type="event") == [event.id]
    assert ids(enabled=False) == [rows[0].id]


# ---- change -------------------------------------------------------------------------------------


def test_only_what_is_given_changes():
    row = event_trigger(filters={"a": 1})
    triggers.update(row.id, name="other")
    now = triggers.retrieve(row.id, workspace=None)
    assert (now.name, now.config, now.enabled) == ("other", row.config, True)
    triggers.update(row.id, config={"eventType": "b"}, enabled=False)
    now = triggers.retrieve(row.id, workspace=None)
    assert (now.event_type, now.config, now.enabled) == ("b", {"eventType": "b"}, False)
    with pytest.raises(Invalid):
        triggers.update(row.id, config={"cronExpression": "* * * * *"})


def test_a_secret_comes_and_goes_with_the_config():
    row, _ = webhook()
    first = triggers.update(row.id, config={"authType": "bearer"})
    assert first.secret is not None
    assert triggers.update(row.id, config={"authType": "api_key"}).secret is None
    assert sealing.secret_of(Trigger.objects.get(pk=row.pk)) == first.secret
    given = triggers.update(row.id, secret="another-secret-1")
    assert given.secret == "another-secret-1"
    triggers.update(row.id, config={})
    assert Trigger.objects.get(pk=row.pk).key_id == ""


def test_a_style_that_the_secret_does_not_fit_wants_another():
    row, _ = webhook(authType="hmac", secret="no base64 here!")
    config = {"authType": "hmac", "signatureStyle": "standard"}
    with pytest.raises(Invalid) as caught:
        triggers.update(row.id, config=config)
    assert caught.value.field == "config.signatureStyle"
    assert (
        triggers.update(row.id, config=config, secret="whsec_c2VjcmV0").secret == "whsec_c2VjcmV0"
    )


def test_a_deleted_trigger_is_gone_with_its_secret_and_its_row_stays():
    row, _ = webhook(authType="bearer")
    triggers.delete(row.id)
    kept = Trigger.objects.get(pk=row.pk)
    assert (bytes(kept.sealed), kept.key_id, kept.enabled) == (b"", "", False)
    assert kept.deleted_at is not None
    with pytest.raises(NotFound):
        triggers.delete(row.id)
    with pytest.raises(NotFound):
        triggers.enable(row.id)


def test_rotating_is_for_those_that_show_a_secret():
    row, _ = webhook()
    with pytest.raises(Conflict, match="takes no secret"):
        triggers.rotate_secret(row.id)
    hook, _ = webhook(authType="bearer")
    with pytest.raises(Invalid):
        triggers.rotate_secret(hook.id, old_valid_for=timedelta(days=8))


def test_master_keys_are_changed_under_the_secrets(settings):
    old, new = ("old", b"1" * 32), ("new", b"2" * 32)
    settings.ENCRYPTION_KEYS = (old,)
    row, secret = webhook(authType="bearer")
    other, _ = webhook(authType="bearer")
    Trigger.objects.filter(pk=other.pk).update(wrapped_key=b"x" * 60)
    settings.ENCRYPTION_KEYS = (new, old)
    outcome = connections.rotate()
    assert (outcome["rotated"], list(outcome["failed"])) == (1, [other.pk])
    settings.ENCRYPTION_KEYS = (new,)
    assert sealing.secret_of(Trigger.objects.get(pk=row.pk)) == secret
    settings.ENCRYPTION_KEYS = (("lost", b"3" * 32),)
    with pytest.raises(KeyMissing):
        sealing.secret_of(Trigger.objects.get(pk=row.pk))
    answer = send(row, headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 503
    assert "KEY" not in answer.content.decode().upper()


def test_every_change_is_written_down_without_secrets():
    ada = someone("ada")
    found = triggers.create(
        workflow=stored("a", owner=ada.pk), name="hook", type="webhook", owner=ada.pk,
        config={"authType": "bearer"}, reason="new shop", actor=BOB,
    )  # fmt: skip
    row = found.trigger
    triggers.update(row.id, name="shop", actor=BOB)
    triggers.disable(row.id, reason="too loud", actor=BOB)
    triggers.disable(row.id, actor=BOB)
    triggers.enable(row.id, actor=BOB)
    rotated = triggers.rotate_secret(row.id, old_valid_for=timedelta(hours=1), actor=BOB)
    _, _, handle = triggers.execute(row.id, actor=BOB)
    triggers.delete(row.id, actor=BOB)
    entries = list(AuditEntry.objects.order_by("number"))
    assert [(entry.action, entry.reason) for entry in entries] == [
        ("trigger.create", "new shop"), ("trigger.update", ""), ("trigger.disable", "too loud"),
        ("trigger.enable", ""), ("trigger.rotate_secret", ""), ("trigger.execute", ""),
        ("trigger.delete", ""),
    ]  # fmt: skip
    assert {(entry.actor, entry.subject) for entry in entries} == {("bob", row.id)}
    assert (entries[1].before["name"], entries[1].after["name"]) == ("hook", "shop")
    assert entries[4].after["secretChanged"] is True
    assert entries[5].after == {"run": handle.id}
    text = json.dumps([[entry.before, entry.after] for entry in entries])
    assert found.secret not in text
    assert rotated.secret not in text


# ---- execute ------------------------------------------------------------------------------------


def test_a_trigger_of_any_type_is_executed_with_given_inputs_or_its_own():
    for type, config, own in (
        ("manual", {"inputs": {"a": 1}}, {"a": 1}),
        ("manual", {}, {}),
        ("webhook", {"authType": "bearer"}, {}),
        ("event", {"eventType": "e"}, {}),
        ("schedule", {"cronExpression": "0 9 * * *", "inputs": {"b": 2}}, {"b": 2}),
    ):
        row = make(type, config)
        for given, wanted in ((None, own), ({}, {}), ({"c": 3}, {"c": 3})):
            _, inputs, handle = triggers.execute(row.id, given)
            assert inputs == inputs_of(handle.id) == wanted
            assert Run.objects.get(pk=handle.id).source == row.id
        assert triggers.retrieve(row.id, workspace=None).fired == 3


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({}, "inputs"),
        ({"count": 0}, "inputs.count"),
        ({"count": "7"}, "inputs.count"),
        ({"count": 1, "to": {"name": 5}}, "inputs.to.name"),
        ({"count": 1, "more": 1}, "inputs"),
        ([], "inputs"),
        ("text", "inputs"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_by_name(inputs, field):
    row = make(config={"inputSchema": SCHEMA})
    with pytest.raises(Invalid) as caught:
        triggers.execute(row.id, inputs)
    assert caught.value.field == field
    assert not Run.objects.exists()


def test_inputs_that_fit_start_the_workflow_and_own_ones_have_to_fit_too():
    row = make(config={"inputSchema": SCHEMA, "inputs": {"count": "seven"}})
    triggers.execute(row.id, {"count": 7, "to": {"name": "Ada"}})
    with pytest.raises(Invalid, match=r"inputs\.count"):
        triggers.execute(row.id)


def test_a_schema_that_takes_for_ever_is_stopped():
    schema = {"properties": {"a": {"pattern": "^(a+)+$"}}}
    row = make(config={"inputSchema": schema})
    with pytest.raises(Invalid, match="longer than its limit"):
        triggers.execute(row.id, {"a": "a" * 40 + "!"})


def test_inputs_may_be_required():
    row = make(config={"requireInputs": True, "inputs": {"a": 1}})
    with pytest.raises(Invalid, match="takes inputs"):
        triggers.execute(row.id)
    with pytest.raises(Invalid, match="takes inputs"):
        triggers.execute(row.id, {})
    assert triggers.execute(row.id, {"a": 2})[1] == {"a": 2}


def test_a_disabled_trigger_is_not_executed():
    row = make()
    triggers.disable(row.id)
    with pytest.raises(TriggerDisabled):
        triggers.execute(row.id)
    triggers.enable(row.id)
    triggers.execute(row.id)


# ---- counts -------------------------------------------------------------------------------------


def test_firings_are_added_up_and_the_count_stays_the_same():
    first, second = make(), make()
    for _ in range(5):
        firing.note(first.id, run="run_1")
    firing.note(first.id, error="It broke.")
    firing.note(second.id, run="run_2")

    def told():
        rows = [triggers.retrieve(row.id, workspace=None) for row in (first, second)]
        return [(row.fired, row.fired_at) for row in rows]

    before = told()
    assert [count for count, _ in before] == [5, 1]
    with connection.cursor() as cursor:
        assert Tidying().tick(cursor) is False
    assert not Firing.objects.exists()
    assert told() == before
    now = triggers.retrieve(first.id, workspace=None)
    assert (now.trigger_count, now.last_error) == (5, "It broke.")
    assert now.last_error_at is not None
    firing.note(first.id, run="run_3")
    assert triggers.retrieve(first.id, workspace=None).fired == 6


def test_a_deleted_workflow_switches_off_whatever_starts_it():
    someone_ = someone("ada")
    caller = access.of_user(someone_)
    workflow = stored("gone", owner=someone_.pk)
    of = {"workflow": workflow, "owner": someone_.pk}
    rows = [
        make("event", {"eventType": "paid"}, **of),
        make("schedule", {"cronExpression": "* * * * *"}, **of),
        make("webhook", **of),
    ]
    other = make()
    workflow_edits.delete(caller, workflow)
    live = Trigger.objects.filter(enabled=True)
    assert [row.pk for row in live] == [other.pk]
    assert not Schedule.objects.get(external_id=rows[1].pk).is_active
    assert AuditEntry.objects.filter(action="trigger.disable", actor="ada").count() == len(rows)
    assert send(rows[2], {}).status_code == 403
    with pytest.raises(NotFound, match="no workflow"):
        triggers.enable(rows[0].pk)
