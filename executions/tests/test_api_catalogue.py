"""Templates, connections, node types and tasks over HTTP."""

from __future__ import annotations

import json

import pytest

from executions import connections, masking, workspaces
from executions.models import AuditEntry, Connection, Workflow
from executions.tests.callers import Caller
from executions.tests.people import person

SECRET = "hunter2-and-more"
NEW = {
    "name": "Shop", "provider": "http", "fields": {"host": "shop.example"},
    "secrets": {"apiKey": SECRET},
}  # fmt: skip


@pytest.fixture
def ada(db):
    """A caller who may do everything in a workspace."""
    return Caller(person("ada"))


# ---- templates ----------------------------------------------------------------------------------


def test_templates_are_listed_and_found(ada):
    found = ada.data("templates")
    slugs = [item["slug"] for item in found["items"]]
    assert slugs == sorted(slugs) and found["total"] == len(slugs) >= 3
    assert all(item["isAvailable"] and item["category"] and item["tags"] for item in found["items"])
    by_category = {
        category["name"]: [
            item["slug"] for item in ada.data("templates", category=category["name"])["items"]
        ]
        for category in ada.data("templates/categories")
    }
    assert sorted(slug for found in by_category.values() for slug in found) == slugs
    assert [item["slug"] for item in ada.data("templates", search="SHIPPING")["items"]] == [
        "sort-an-order"
    ]
    assert [item["slug"] for item in ada.data("templates", tag="wait")["items"]] == [
        "wait-and-recover"
    ]
    page = ada.data("templates", limit=2, offset=2)
    assert ([item["slug"] for item in page["items"]], page["page"]) == (slugs[2:4], 2)


def test_a_template_shows_its_definition_and_its_inputs(ada):
    shown = ada.data("templates/sort-an-order")
    assert [(field["name"], field["kind"]) for field in shown["inputs"]] == [("order", "json")]
    assert "add-up" in shown["definition"]["nodes"]
    for slug in ("nothing", "../settings"):
        assert ada.get(f"templates/{slug}").status_code == 404


def test_a_template_is_copied_under_a_free_name(ada):
    names = []
    for _ in range(3):
        answer = ada.post("templates/sort-an-order/copy", {"reason": "To try."})
        assert answer.status_code == 201
        data = answer.json()["data"]
        assert data["workflow"]["id"] == data["workflowId"]
        names.append(data["workflow"]["name"])
    assert names == ["Sort an order", "Sort an order (2)", "Sort an order (3)"]
    assert data["workflow"]["definition"] == ada.data("templates/sort-an-order")["definition"]
    assert AuditEntry.objects.filter(action="workflow.create", reason="To try.").count() == 3


def test_a_copy_may_be_given_a_name_that_is_free(ada):
    copy = "templates/sort-an-order/copy"
    assert ada.post(copy, {"name": "Mine"}).json()["data"]["workflow"]["name"] == "Mine"
    again = ada.post(copy, {"name": "Mine"})
    assert (again.status_code, again.json()["code"]) == (409, "name_taken")
    assert ada.post("templates/nothing/copy").status_code == 404


def test_a_template_that_cannot_run_here_is_shown_but_not_copied(ada, settings, tmp_path):
    settings.EXAMPLES_DIR = tmp_path
    definition = {"nodes": {"a": {"type": "nonsense"}}, "edges": []}
    (tmp_path / "bad.json").write_text(json.dumps({"name": "Bad", "definition": definition}))
    (tmp_path / "worse.json").write_text("{")
    shown = {item["slug"]: item for item in ada.data("templates")["items"]}
    assert (shown["bad"]["isAvailable"], shown["worse"]["isAvailable"]) == (False, False)
    assert "nonsense" in shown["bad"]["problem"]
    assert ada.data("templates/worse")["definition"] is None
    for slug in shown:
        assert ada.post(f"templates/{slug}/copy").status_code == 400
    assert not Workflow.objects.exists()


# ---- connections --------------------------------------------------------------------------------


def stored(caller, **more):
    """A connection that the caller has stored."""
    answer = caller.post("connections", {**NEW, **more})
    assert answer.status_code == 201, answer.content
    return answer.json()["data"]


def test_a_connection_is_stored_and_its_secrets_never_come_out(ada):
    made = stored(ada, reason="For the shop.")
    assert (made["name"], made["fields"], made["secrets"]) == (
        "Shop", {"host": "shop.example"}, ["apiKey"],
    )  # fmt: skip
    assert (made["workspace"], made["owner"], made["isShared"]) == (
        ada.workspace, ada.user.pk, False,
    )  # fmt: skip
    path = f"connections/{made['id']}"
    changed = ada.patch(path, {"secrets": {"other": "another-secret", "apiKey": None}})
    revoked = ada.post(f"{path}/revoke")
    for answer in (ada.get("connections"), ada.get(path), changed, revoked):
        assert answer.status_code == 200
        assert SECRET not in answer.content.decode()
        assert "another-secret" not in answer.content.decode()
    assert changed.json()["data"]["secrets"] == ["other"]
    assert SECRET not in json.dumps(list(AuditEntry.objects.values("before", "after")))
    assert AuditEntry.objects.get(action="connection.create").reason == "For the shop."


def test_a_connection_is_changed_revoked_and_removed(ada):
    made = stored(ada)
    path = f"connections/{made['id']}"
    changed = ada.patch(path, {"name": "Store", "fields": {"port": 1}}).json()["data"]
    assert (changed["name"], changed["fields"], changed["secrets"]) == (
        "Store", {"port": 1}, ["apiKey"],
    )  # fmt: skip
    with masking.hiding():
        found = connections.resolve(made["id"], workspace=ada.workspace)
    assert found.secrets == {"apiKey": SECRET}
    revoked = ada.post(f"{path}/revoke").json()["data"]
    assert (revoked["secrets"], revoked["revokedAt"] is None) == ([], False)
    assert ada.patch(path, {"name": "Again"}).status_code == 409
    assert ada.data("connections", includeRevoked="false")["items"] == []
    assert ada.delete(f"{path}?reason=Old.").status_code == 204
    assert not Connection.objects.exists()
    assert AuditEntry.objects.get(action="connection.delete").reason == "Old."


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": " x "}, None),
        ({"name": "\0"}, "name"),
        ({"provider": "a\tb"}, "provider"),
        ({"fields": [1]}, "fields"),
        ({"fields": {"a": [1]}}, "fields.a"),
        ({"fields": {"apiKey": "x"}}, "fields.apiKey"),
        ({"secrets": {"a": 1}}, "secrets.a"),
        ({"secrets": {"a": "abc"}}, "secrets.a"),
        ({"secrets": {"a\0": "abcdef"}}, "secrets"),
    ],
)
def test_a_connection_that_cannot_be_stored_is_refused_by_field(ada, body, field):
    answer = ada.post("connections", {**NEW, **body})
    if field is None:
        assert answer.status_code == 201
        assert answer.json()["data"]["name"] == "x"
        return
    assert answer.status_code == 400
    details = answer.json()["details"]
    assert field in (details.get("field"), *details)
    assert SECRET not in answer.content.decode()
    assert not Connection.objects.exists()


def test_shared_connections_are_seen_by_all_and_changed_by_who_sees_all(ada):
    row = connections.create("Common", "http", secrets={"apiKey": SECRET})
    stored(ada)
    path = f"connections/{row.id}"
    found = ada.data("connections")["items"]
    assert [(item["name"], item["isShared"]) for item in found] == [
        ("Shop", False), ("Common", True),
    ]  # fmt: skip
    for refused in (
        ada.patch(path, {"name": "Mine"}), ada.post(f"{path}/revoke"), ada.delete(path),
    ):  # fmt: skip
        assert refused.status_code == 409
    boss = Caller(person("boss", is_staff=True), all_workspaces=True)
    assert boss.patch(path, {"name": "Ours"}).json()["data"]["name"] == "Ours"
    assert boss.data("connections")["total"] == 2
    assert boss.delete(path).status_code == 204


def test_a_connection_of_another_workspace_is_not_there_nor_one_by_its_name(ada):
    made = stored(Caller(person("bo")))
    stored(ada, name="Mine")
    for reference in (made["id"], "Shop", "Mine", "conn_0"):
        path = f"connections/{reference}"
        for answer in (
            ada.get(path), ada.patch(path, {"name": "New"}), ada.delete(path),
            ada.post(f"{path}/revoke"),
        ):  # fmt: skip
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert Connection.objects.count() == 2


def test_members_use_connections_and_admins_keep_them(ada):
    team = workspaces.create("Team", owner=ada.user.pk).id
    bo = person("bo")
    workspaces.set_role(team, bo.pk, "member")
    member = Caller(bo, workspace=team)
    made = stored(Caller(ada.user, workspace=team))
    assert member.get(f"connections/{made['id']}").status_code == 200
    assert member.post("connections", {**NEW, "name": "x"}).status_code == 403
    assert member.delete(f"connections/{made['id']}").status_code == 403


# ---- node types and tasks -----------------------------------------------------------------------


def test_node_types_come_with_their_forms(ada):
    by_type = {each["type"]: each for each in ada.data("node-types")}
    assert {"http", "conditional", "humanReview", "loop"} <= by_type.keys()
    assert by_type["conditional"]["handles"] == ["true", "false"]
    assert "url" in by_type["http"]["config"]["properties"]
    synonym = by_type["conditional"]["synonyms"][0]
    assert ada.data(f"node-types/{synonym}") == by_type["conditional"]
    assert ada.get("node-types/nonsense").status_code == 404


def test_tasks_come_with_their_limits(ada):
    by_id = {each["id"]: each for each in ada.data("tasks")}
    assert {"orchestrator", "user-input", "long-running"} <= by_id.keys()
    assert by_id["orchestrator"]["maxAttempts"] == 1
    assert by_id["user-input"]["description"].startswith("Asks")
    assert ada.data("tasks/user-input") == by_id["user-input"]
    assert ada.get("tasks/nothing").status_code == 404
