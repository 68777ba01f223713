"""Workflows over HTTP: kept in versions, checked, copied, taken out of use; each for its own."""

from __future__ import annotations

import threading
from importlib import import_module

import pytest
from django.db import connection
from django.test import Client

from executions import runs, workflow_runs, workflows, workspaces
from executions.errors import NotFound
from executions.models import AuditEntry, Run, Workflow, WorkflowVersion
from executions.rules.ids import new_id
from executions.tests.callers import Caller
from executions.tests.conftest import until_status
from executions.tests.flows import flow
from executions.tests.people import REVIEW, SUM, person, until_asked
from executions.verification import verify

OTHER = flow({"a": "noop"}, description="Does nothing.")
BAD = {"nodes": {"a": {"type": "nonsense"}}, "edges": [{"source": "a", "target": "b"}]}


@pytest.fixture
def ada(transactional_db):
    """A caller who may do everything in a workspace."""
    return Caller(person("ada"))


def made(caller, name="Sum", definition=SUM, **more):
    """A workflow that the caller has stored."""
    answer = caller.post("workflows", {"name": name, "definition": definition, **more})
    assert answer.status_code == 201, answer.content
    return answer.json()["data"]


# ---- create and look ----------------------------------------------------------------------------


def test_a_workflow_is_stored_with_its_definition_and_read_again(ada):
    stored = made(ada, description="Adds.")
    assert (stored["name"], stored["description"], stored["version"]) == ("Sum", "Adds.", 1)
    assert (stored["workspaceId"], stored["isShared"]) == (ada.workspace, False)
    assert stored["definition"] == SUM
    assert ada.data(f"workflows/{stored['id']}") == stored
    (item,) = ada.data("workflows")["items"]
    assert item == {key: value for key, value in stored.items() if key != "definition"}


def test_a_description_is_taken_from_the_definition_unless_one_is_given(ada):
    assert made(ada, "one", OTHER)["description"] == "Does nothing."
    assert made(ada, "two", OTHER, description="")["description"] == ""


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": "x"}, "definition"),
        ({"name": " ", "definition": SUM}, "name"),
        ({"name": "x" * 256, "definition": SUM}, "name"),
        ({"name": "x\ty", "definition": SUM}, "name"),
        ({"name": "x", "definition": [1]}, "definition"),
        ({"name": "x", "definition": None}, "definition"),
        ({"name": "x", "definition": SUM, "description": "d" * 1001}, "description"),
        ({"name": "x", "definition": {**SUM, "note": "\0"}}, "definition"),
        ({"name": "x", "definition": SUM, "reason": "r" * 2001}, "reason"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_field(ada, body, field):
    answer = ada.post("workflows", body)
    assert answer.status_code == 400
    details = answer.json()["details"]
    assert field in (details.get("field"), *details)
    assert not Workflow.objects.exists()


def test_a_definition_that_cannot_run_is_not_stored(ada):
    answer = ada.post("workflows", {"name": "x", "definition": BAD})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_definition")
    assert {issue["node"] for issue in answer.json()["details"]["issues"]} >= {"a"}
    assert not Workflow.objects.exists()


def test_a_definition_over_the_limit_is_too_large(ada, settings):
    limit = settings.FLOWMAESTRO.OUTPUT_LIMIT
    answer = ada.post("workflows", {"name": "x", "definition": {**SUM, "note": "x" * limit}})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_workspace_has_one_workflow_of_a_name_and_another_workspace_its_own(ada):
    made(ada)
    again = ada.post("workflows", {"name": "Sum", "definition": SUM})
    assert (again.status_code, again.json()["code"]) == (409, "name_taken")
    made(Caller(person("bo")))
    assert Workflow.objects.filter(name="Sum").count() == 2


def test_the_list_is_read_by_pages_and_searched(ada):
    for name in ("alpha", "beta", "gamma"):
        made(ada, name, description=f"about {name}")
    ada.patch(f"workflows/{Workflow.objects.get(name='alpha').id}", {"description": "newest"})
    first = ada.data("workflows", limit=2)
    assert [item["name"] for item in first["items"]] == ["alpha", "gamma"]
    assert (first["total"], first["page"], first["hasMore"]) == (3, 1, True)
    rest = ada.data("workflows", limit=2, offset=2)
    assert [item["name"] for item in rest["items"]] == ["beta"]
    assert (rest["total"], rest["page"], rest["hasMore"]) == (3, 2, False)
    assert [item["name"] for item in ada.data("workflows", search="ABOUT g")["items"]] == ["gamma"]
    assert ada.get("workflows", limit=101).status_code == 400


# ---- change -------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["put", "patch"])
def test_another_definition_becomes_a_new_version_and_the_same_one_does_not(ada, verb):
    stored = made(ada)
    change = getattr(ada, verb)
    path = f"workflows/{stored['id']}"
    same = change(path, {"definition": SUM, "name": "Total"}).json()["data"]
    assert (same["name"], same["version"]) == ("Total", 1)
    other = change(path, {"definition": OTHER}).json()["data"]
    assert (other["name"], other["version"], other["definition"]) == ("Total", 2, OTHER)
    assert other["updatedAt"] > stored["updatedAt"]
    listed = ada.data(f"{path}/versions")
    assert [item["number"] for item in listed["items"]] == [2, 1]
    old = ada.data(f"{path}/versions/{stored['versionId']}")
    assert old == ada.data(f"{path}/versions/1")
    assert old["definition"] == SUM


def test_who_edited_an_old_version_is_told(ada):
    stored = made(ada)
    path = f"workflows/{stored['id']}"
    assert ada.put(path, {"definition": OTHER, "baseVersion": 1}).status_code == 200
    late = ada.put(path, {"definition": REVIEW, "baseVersion": 1})
    assert (late.status_code, late.json()["code"]) == (409, "changed_meanwhile")
    assert ada.data(path)["definition"] == OTHER


def test_a_change_that_cannot_be_made_changes_nothing(ada):
    stored = made(ada)
    made(ada, "Taken")
    path = f"workflows/{stored['id']}"
    assert ada.put(path, {"name": "Taken", "definition": OTHER}).status_code == 409
    assert ada.put(path, {"name": "New", "definition": BAD}).status_code == 400
    assert ada.data(path) == stored


def test_versions_are_read_on_from_the_oldest_shown(ada):
    stored = made(ada)
    path = f"workflows/{stored['id']}"
    for number in range(4):
        ada.put(path, {"definition": {**SUM, "description": str(number)}})
    first = ada.data(f"{path}/versions", limit=2)
    assert ([item["number"] for item in first["items"]], first["next"]) == ([5, 4], 4)
    rest = ada.data(f"{path}/versions", limit=3, before=first["next"])
    assert ([item["number"] for item in rest["items"]], rest["hasMore"]) == ([3, 2, 1], False)


def test_an_old_version_comes_back_as_the_newest(ada):
    stored = made(ada)
    path = f"workflows/{stored['id']}"
    ada.put(path, {"definition": OTHER})
    answer = ada.post(f"{path}/versions/1/revert")
    assert answer.status_code == 201
    assert (answer.json()["data"]["version"], answer.json()["data"]["definition"]) == (3, SUM)
    assert ada.post(f"{path}/versions/9/revert").status_code == 404
    assert ada.post(f"{path}/versions/x/revert").status_code == 404


def test_a_deleted_workflow_is_gone_but_its_runs_go_on(ada, executor):
    stored = made(ada, "Ask", REVIEW)
    path = f"workflows/{stored['id']}"
    run_id = ada.post(f"{path}/execute", {"inputs": {"name": "Bo"}}).json()["data"]["executionId"]
    until_asked(run_id)
    assert ada.delete(path).status_code == 204
    for answer in (ada.get(path), ada.post(f"{path}/execute"), ada.delete(path)):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert ada.data("workflows")["items"] == []
    with pytest.raises(NotFound):
        workflow_runs.start_stored(stored["id"], workspace=ada.workspace)
    ada.post(f"executions/{run_id}/submit-response", {"response": 3})
    assert until_status(run_id, "COMPLETED").output["outputs"] == {"count": 3}
    assert [report.verdict for report in verify()] == ["ok"]
    # Its name is free again.
    assert made(ada, "Ask")["id"] != stored["id"]


def test_each_change_is_in_the_audit_log_with_who_made_it_and_why(ada):
    stored = made(ada, reason="Needed.")
    path = f"workflows/{stored['id']}"
    ada.put(path, {"definition": OTHER, "reason": "Shorter."})
    ada.put(path, {"definition": OTHER})
    ada.post(f"{path}/versions/1/revert", {"reason": "Longer."})
    ada.delete(f"{path}?reason=Done.")
    entries = AuditEntry.objects.filter(subject=stored["id"]).order_by("number")
    assert [(entry.action, entry.reason, entry.user_id) for entry in entries] == [
        ("workflow.create", "Needed.", ada.user.pk),
        ("workflow.update", "Shorter.", ada.user.pk),
        ("workflow.revert", "Longer.", ada.user.pk),
        ("workflow.delete", "Done.", ada.user.pk),
    ]
    assert (entries[1].before["version"], entries[1].after["version"]) == (1, 2)


# ---- whose they are -----------------------------------------------------------------------------


def test_a_workflow_of_another_workspace_is_not_there(ada):
    stored = made(Caller(person("bo")))
    path = f"workflows/{stored['id']}"
    for answer in (
        ada.get(path),
        ada.put(path, {"name": "Mine"}),
        ada.delete(path),
        ada.get(f"{path}/versions"),
        ada.get(f"{path}/versions/1"),
        ada.post(f"{path}/versions/1/revert"),
        ada.post(f"{path}/validate"),
        ada.post(f"{path}/execute"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert Workflow.objects.get(pk=stored["id"]).name == "Sum"
    assert not Run.objects.exists()


def test_a_run_of_another_workspace_does_not_get_at_a_workflow_by_its_id(ada, executor):
    stored = made(ada)
    bo = person("bo")
    for reference in (stored["id"], stored["versionId"]):
        run_id = runs.trigger("orchestrator", {"workflowId": reference}, owner=bo.pk).id
        run = until_status(run_id, "FAILED", "COMPLETED")
        assert (run.status, run.output["outputs"]) == ("FAILED", {})
        assert "no workflow" in run.error["message"]
    mine = runs.trigger("orchestrator", {"workflowId": stored["id"]}, owner=ada.user.pk).id
    assert until_status(mine, "FAILED", "COMPLETED").output["nodes"]


def test_a_shared_workflow_is_used_by_all_and_changed_by_who_sees_all(ada, executor):
    version = workflows.save_workflow("Common", SUM)
    path = f"workflows/{version.workflow_id}"
    assert ada.data(path)["isShared"] is True
    answer = ada.post(f"{path}/execute", {"inputs": {"a": 1, "b": 2}, "wait": 10})
    assert answer.json()["data"]["outputs"] == {"sum": 3}
    assert Run.objects.get().workspace_id == ada.workspace
    for refused in (ada.put(path, {"name": "Mine"}), ada.delete(path)):
        assert (refused.status_code, refused.json()["code"]) == (409, "shared_workflow")
    boss = Caller(person("boss", is_staff=True), all_workspaces=True)
    assert boss.put(path, {"name": "Ours"}).json()["data"]["name"] == "Ours"


def test_who_sees_all_runs_a_workflow_where_it_belongs(ada, executor):
    stored = made(ada)
    boss = Caller(person("boss", is_staff=True), all_workspaces=True)
    answer = boss.post(
        f"workflows/{stored['id']}/execute", {"inputs": {"a": 1, "b": 2}, "wait": 10}
    )
    run = Run.objects.get(pk=answer.json()["data"]["executionId"])
    assert (run.workspace_id, run.owner, run.status) == (ada.workspace, boss.user, "COMPLETED")


def test_a_viewer_looks_and_a_member_runs_but_only_an_admin_edits(ada):
    team = workspaces.create("Team", owner=ada.user.pk).id
    stored = made(Caller(ada.user, workspace=team))
    path = f"workflows/{stored['id']}"
    expected = {"viewer": (200, 403, 403), "member": (200, 202, 403), "admin": (200, 202, 200)}
    bo = person("bo")
    for role, statuses in expected.items():
        workspaces.set_role(team, bo.pk, role)
        caller = Caller(bo, workspace=team)
        answers = (
            caller.get(path), caller.post(f"{path}/execute"), caller.put(path, {"name": "New"}),
        )  # fmt: skip
        assert tuple(answer.status_code for answer in answers) == statuses, role


def test_a_signed_in_user_works_in_the_workspace_that_they_name(ada):
    team = workspaces.create("Team", owner=ada.user.pk).id
    client = Client()
    client.force_login(ada.user)
    body = {"name": "Ours", "definition": SUM}
    answer = client.post(
        "/api/workflows", body, content_type="application/json", headers={"X-Workspace-Id": team}
    )
    assert answer.json()["data"]["workspaceId"] == team
    found = client.get("/api/workflows", headers={"X-Workspace-Id": team}).json()["data"]
    assert [item["name"] for item in found["items"]] == ["Ours"]
    assert client.get("/api/workflows").json()["data"]["items"] == []


# ---- check --------------------------------------------------------------------------------------


def test_validation_says_what_to_change_and_stores_nothing(ada):
    answer = ada.post("workflows/validate", {"workflowDefinition": BAD}).json()["data"]
    assert answer["isValid"] is False
    assert {"code", "node", "severity", "message"} == set(answer["issues"][0])
    assert {issue["node"] for issue in answer["issues"]} >= {"a"}
    warned = flow({"l": ("loop", {"arrayPath": "xs"}), "b": "noop"}, "l>b")
    answer = ada.post("workflows/validate", {"workflowDefinition": warned}).json()["data"]
    assert answer["isValid"] is True
    assert {issue["severity"] for issue in answer["issues"]} == {"warning"}
    assert not Workflow.objects.exists() and not Run.objects.exists()


@pytest.mark.parametrize("nonsense", [{}, {"nodes": 1}, {"nodes": {"a": None}}, {"nodes": [[]]}])
def test_validation_of_nonsense_is_a_verdict_too(ada, nonsense):
    answer = ada.post("workflows/validate", {"workflowDefinition": nonsense})
    assert (answer.status_code, answer.json()["data"]["isValid"]) == (200, False)


def test_a_stored_workflow_is_checked_as_it_is_or_as_it_is_to_become(ada):
    path = f"workflows/{made(ada)['id']}/validate"
    assert ada.post(path).json()["data"] == {"isValid": True, "issues": []}
    verdict = ada.post(path, {"workflowDefinition": BAD}).json()["data"]
    assert verdict["isValid"] is False


# ---- from before a name was one workflow's -------------------------------------------------------


def test_of_several_workflows_of_a_name_the_one_that_was_saved_to_keeps_it(db):
    migration = import_module("executions.migrations.0015_add_workflow_edits")
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX workflow_name_once")
        mine = workspaces.personal(person("ada").pk)
        ids = [
            Workflow.objects.create(id=new_id("workflow"), name=name, workspace=where).id
            for name, where in [("a", None), ("a", None), ("a", mine), ("a", None), ("b", None)]
        ]
        cursor.execute(migration.ONE_OF_A_NAME)
    names = dict(Workflow.objects.values_list("id", "name"))
    assert [names[each] for each in ids] == [f"a ({ids[0]})", f"a ({ids[1]})", "a", "a", "b"]


# ---- at the same moment -------------------------------------------------------------------------


def test_first_saves_of_one_name_at_one_moment_make_one_workflow(transactional_db):
    at_once, failures = threading.Barrier(8), []

    def save(number):
        at_once.wait()
        try:
            workflows.save_workflow("Twice", flow({f"n{number}": "noop"}))
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=save, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    workflow = Workflow.objects.get(name="Twice")
    numbers = WorkflowVersion.objects.filter(workflow=workflow).values_list("number", flat=True)
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_edits_at_one_moment_are_versions_one_after_the_other(ada):
    stored = made(ada)
    at_once, answers = threading.Barrier(4), []

    def edit(number):
        at_once.wait()
        body = {"definition": {**SUM, "description": f"by {number}"}}
        answers.append(ada.put(f"workflows/{stored['id']}", body).status_code)
        connection.close()

    threads = [threading.Thread(target=edit, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 4
    assert [version.number for version in WorkflowVersion.objects.all()] == [5, 4, 3, 2, 1]
