"""Triggers and events over HTTP."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.test import Client

from executions.models import AuditEntry, Run
from triggers.models import Trigger
from triggers.tests.senders import event_trigger, send, someone, started, stored

pytestmark = pytest.mark.django_db

SCOPES = ("read", "trigger", "cancel", "complete", "replay", "admin")


class Caller:
    """Somebody who calls the API with a key."""

    def __init__(self, user, scopes=("*",), **more):
        self.user = user
        key_model = apps.get_model("flowmaestro", "ApiKey")
        _, key = key_model.issue(user, name="test", scopes=list(scopes), **more)
        self._client = Client(headers={"Authorization": f"Bearer {key}"})

    def call(self, method, path, data=None, **query):
        """A request to /api/…"""
        if method == "get":
            return self._client.get(f"/api/{path}", query)
        return getattr(self._client, method)(
            f"/api/{path}", {} if data is None else data, content_type="application/json"
        )

    def make(self, type="manual", config=None, **more):
        """A trigger of a workflow of one's own, as the API shows it."""
        workflow = stored(f"w{Trigger.objects.count()}", owner=self.user.pk)
        body = {"workflowId": workflow, "name": "t", "triggerType": type, **more}
        answer = self.call("post", "triggers", {**body, "config": config or {}})
        assert answer.status_code == 201, answer.content
        return answer.json()["data"]


@pytest.fixture
def ada():
    return Caller(someone("ada"))


def test_a_webhook_is_made_used_changed_and_deleted(ada, settings):
    made = ada.make("webhook", {"authType": "bearer"})
    assert made["webhookUrl"] == f"{settings.PUBLIC_URL}/webhooks/{made['id']}"
    assert made["secret"]
    path = f"triggers/{made['id']}"
    shown = ada.call("get", path).json()["data"]
    assert "secret" not in shown
    assert (shown["hasSecret"], shown["enabled"], shown["triggerCount"]) == (True, True, 0)
    answer = send(made["id"], {"a": 1}, {"Authorization": f"Bearer {made['secret']}"})
    execution = ada.call("get", f"executions/{answer.json()['executionId']}").json()["data"]
    assert execution["task"] == "triggered-workflow"
    assert ada.call("get", path).json()["data"]["triggerCount"] == 1
    rotated = ada.call("post", f"{path}/rotate-secret", {"oldValidForSeconds": 60}).json()["data"]
    assert rotated["secret"] != made["secret"]
    assert rotated["oldSecretUntil"] is not None
    for method in ("put", "patch"):
        changed = ada.call(method, path, {"name": method, "enabled": False}).json()["data"]
        assert (changed["name"], changed["enabled"], changed["secret"]) == (method, False, None)
    log = ada.call("get", f"{path}/deliveries").json()["data"]
    assert [item["status"] for item in log["items"]] == [202]
    assert log["items"][0]["executionId"] == execution["executionId"]
    assert ada.call("delete", path).status_code == 204
    assert ada.call("get", path).status_code == 404
    actions = AuditEntry.objects.order_by("number").values_list("action", flat=True)
    assert list(actions) == [
        "trigger.create", "trigger.rotate_secret", "trigger.update", "trigger.update",
        "trigger.delete",
    ]  # fmt: skip


def test_a_schedule_tells_when_it_fires_next(ada):
    made = ada.make("schedule", {"cronExpression": "0 9 * * *", "timezone": "Europe/Oslo"})
    info = ada.call("get", f"triggers/{made['id']}").json()["data"]["scheduleInfo"]
    assert (info["cron"], info["timezone"], info["active"]) == ("0 9 * * *", "Europe/Oslo", True)
    assert info["nextScheduledAt"] is not None
    assert info["scheduleId"] == made["scheduleId"]


def test_a_manual_trigger_is_executed(ada):
    schema = {"properties": {"count": {"type": "integer"}}}
    made = ada.make("manual", {"inputs": {"count": 1}, "inputSchema": schema})
    path = f"triggers/{made['id']}/execute"
    for body, inputs in (({}, {"count": 1}), ({"inputs": {"count": 2}}, {"count": 2})):
        answer = ada.call("post", path, body)
        assert answer.status_code == 202
        data = answer.json()["data"]
        assert data == {
            "executionId": data["executionId"], "workflowId": made["workflowId"],
            "triggerId": made["id"], "status": "QUEUED", "inputs": inputs,
        }  # fmt: skip
    answer = ada.call("post", path, {"inputs": {"count": "x"}})
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": "inputs.count"})
    ada.call("patch", f"triggers/{made['id']}", {"enabled": False})
    answer = ada.call("post", path, {})
    assert (answer.status_code, answer.json()["code"]) == (409, "trigger_disabled")


def test_the_list_is_filtered_and_read_page_by_page(ada):
    first, second = ada.make(), ada.make("event", {"eventType": "a"}, enabled=False)
    Caller(someone("bob")).make()

    def ids(**query):
        data = ada.call("get", "triggers", **query).json()["data"]
        return [item["id"] for item in data["items"]], data["next"]

    assert ids() == ([second["id"], first["id"]], None)
    assert ids(limit=1) == ([second["id"]], second["id"])
    assert ids(limit=1, after=second["id"]) == ([first["id"]], None)
    assert ids(type="event") == ids(enabled="false") == ([second["id"]], None)
    assert ids(workflowId=first["workflowId"]) == ([first["id"]], None)
    for wrong in ({"limit": 0}, {"limit": 1000}, {"type": "cron"}, {"enabled": "perhaps"}):
        assert ada.call("get", "triggers", **wrong).status_code == 400


def test_what_is_wrong_is_named(ada):
    workflow = stored("own", owner=ada.user.pk)
    good = {
        "workflowId": workflow,
        "name": "t",
        "triggerType": "event",
        "config": {"eventType": "a"},
    }
    for wrong, field in (
        ({"name": ""}, "name"),
        ({"triggerType": "cron"}, "triggerType"),
        ({"config": []}, "config"),
        ({"config": {"eventType": "a", "x": 1}}, "config.x"),
        ({"secret": "a secret of ours"}, "secret"),
    ):
        answer = ada.call("post", "triggers", {**good, **wrong})
        assert answer.status_code == 400
        details = answer.json()["details"]
        assert field in (details.get("field"), *details), details
    assert ada.call("post", "triggers", {**good, "workflowId": "x"}).status_code == 404
    assert not Trigger.objects.exists()


ROUTES = [
    ("get", "triggers", "read", 200),
    ("post", "triggers", "admin", 400),
    ("get", "triggers/{}", "read", 200),
    ("put", "triggers/{}", "admin", 200),
    ("patch", "triggers/{}", "admin", 200),
    ("post", "triggers/{}/execute", "trigger", 202),
    ("post", "triggers/{}/rotate-secret", "admin", 200),
    ("get", "triggers/{}/deliveries", "read", 200),
    ("post", "events", "trigger", 400),
    ("delete", "triggers/{}", "admin", 204),
]


@pytest.mark.parametrize(("method", "route", "scope", "status"), ROUTES)
def test_every_verb_takes_its_scope_and_only_that(ada, method, route, scope, status):
    made = ada.make("webhook", {"authType": "bearer"})
    path = route.format(made["id"])
    without = Caller(ada.user, [each for each in SCOPES if each != scope])
    answer = without.call(method, path)
    assert answer.status_code == 403
    assert repr(scope) in answer.json()["error"]
    assert Client().generic(method.upper(), f"/api/{path}").status_code == 401
    stranger = Caller(someone("bob"))
    if "{}" in route:
        assert stranger.call(method, path).status_code == 404
    assert Caller(ada.user, [scope]).call(method, path).status_code == status


def test_staff_with_a_key_for_all_sees_and_changes_the_triggers_of_everybody(ada):
    made = ada.make()
    boss = Caller(someone("boss", is_staff=True), all_workspaces=True)
    assert boss.call("get", f"triggers/{made['id']}").status_code == 200
    assert made["id"] in [
        item["id"] for item in boss.call("get", "triggers").json()["data"]["items"]
    ]
    assert boss.call("patch", f"triggers/{made['id']}", {"enabled": False}).status_code == 200


# ---- events -------------------------------------------------------------------------------------


def test_an_event_is_published_in_the_workspace_of_the_caller(ada):
    trigger = event_trigger(owner=ada.user.pk, filters={"total": {"$gt": 10}})
    event_trigger()
    body = {"name": "order.paid", "payload": {"total": 11}, "source": "shop", "id": "e-1"}
    answer = ada.call("post", "events", body)
    assert answer.status_code == 202
    data = answer.json()["data"]
    assert data["triggers"] == {trigger.id: data["runs"][0]}
    assert (data["failed"], data["isRepeated"]) == ({}, False)
    assert Run.objects.get(pk=data["runs"][0]).owner_id == ada.user.pk
    again = ada.call("post", "events", body).json()["data"]
    assert again == {**data, "isRepeated": True}
    assert started() == 1
    small = ada.call("post", "events", {"name": "order.paid", "payload": {"total": 10}})
    assert small.json()["data"]["runs"] == []
    assert Caller(someone("bob")).call("post", "events", body).json()["data"]["runs"] == []


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "a", "payload": []}, {"name": 5}, []])
def test_an_event_that_is_none_is_refused(ada, body):
    answer = ada.call("post", "events", body)
    if body == {"name": 5}:
        assert answer.status_code == 202
        return
    assert answer.status_code == 400


def test_a_member_of_the_workspace_sees_and_executes_its_triggers(ada):
    from executions import workspaces

    made = ada.make()
    bob = someone("bob")
    workspaces.set_role(made["workspace"], bob.pk, "member")
    member = Caller(bob, workspace=made["workspace"])
    assert member.call("get", f"triggers/{made['id']}").status_code == 200
    assert member.call("post", f"triggers/{made['id']}/execute").status_code == 202
    assert member.call("delete", f"triggers/{made['id']}").status_code == 403
