"""Executions over HTTP."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from executions import runs, workflow_runs
from executions.models import Run
from executions.registry import task
from executions.tests.callers import JSON, Caller
from executions.tests.conftest import until_status
from executions.tests.flows import flow
from executions.tests.people import REVIEW, SUM, person, until_asked


@task("api.plain")
async def plain(payload, ctx):
    """A task that is no workflow."""


@pytest.fixture
def ada(transactional_db):
    """A caller without special rights."""
    return Caller(person("ada"))


def test_a_definition_runs_and_its_nodes_and_outputs_can_be_read(ada, executor):
    run_id = ada.start(SUM, inputs={"a": 2, "b": 3})
    until_status(run_id, "COMPLETED")
    answer = ada.get(f"executions/{run_id}").json()
    assert answer["success"] is True
    shown = answer["data"]
    assert (shown["status"], shown["isFinal"], shown["error"]) == ("COMPLETED", True, None)
    assert shown["outputs"] == {"sum": 5}
    assert shown["inputs"] == {"a": 2, "b": 3}
    assert {node: entry["status"] for node, entry in shown["nodes"].items()} == {
        "add": "completed",
        "end": "completed",
    }
    assert Run.objects.get(pk=run_id).owner == ada.user


def test_pins_stand_in_for_nodes_and_are_shown(ada, executor):
    run_id = ada.start(SUM, pins={"add": {"output": {"add": 7}}})
    until_status(run_id, "COMPLETED")
    shown = ada.get(f"executions/{run_id}").json()["data"]
    assert shown["pins"] == {"add": {"output": {"add": 7}}}
    assert shown["nodes"]["add"]["pinned"] is True


def test_a_failed_run_names_the_failing_node(ada, executor):
    definition = flow({"a": ("llm", {"retry": 1}), "b": "noop"}, "a>b")
    run_id = ada.start(definition, pins={"a": {"error": "no luck"}})
    until_status(run_id, "FAILED")
    shown = ada.get(f"executions/{run_id}").json()["data"]
    assert "no luck" in shown["error"]
    assert shown["nodes"]["a"]["status"] == "failed"
    assert shown["nodes"]["b"]["status"] == "skipped"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "workflowDefinition"),
        ({"workflowDefinition": None}, "workflowDefinition"),
        ({"workflowDefinition": {"nodes": {}}}, "workflowDefinition"),
        ({"workflowDefinition": {"nodes": {"a": {"type": "nonsense"}}}}, "workflowDefinition"),
        ({"workflowDefinition": SUM, "inputs": [1]}, "inputs"),
        ({"workflowDefinition": SUM, "pins": {"nobody": {"output": 1}}}, "pins.nobody"),
        ({"workflowDefinition": SUM, "pins": {"add": {}}}, "pins.add"),
        ({"workflowDefinition": SUM, "inputs": {"a": "\0"}}, "payload"),
    ],
)
def test_what_cannot_run_is_refused_by_name_and_nothing_is_written(ada, body, field):
    answer = ada.post("workflows/execute", body)
    assert answer.status_code == 400
    refused = answer.json()
    assert refused["success"] is False
    assert field in (refused["details"].get("field"), *refused["details"])
    assert refused["error"]
    assert not Run.objects.exists()


def test_an_invalid_definition_comes_back_with_each_issue(ada):
    definition = {"nodes": {"a": {"type": "nonsense"}}, "edges": [{"source": "a", "target": "b"}]}
    answer = ada.post("workflows/execute", {"workflowDefinition": definition}).json()
    assert answer["code"] == "invalid_definition"
    assert {issue["node"] for issue in answer["details"]["issues"]} >= {"a"}
    assert len(answer["details"]["issues"]) == 2


def test_the_log_is_read_with_a_cursor_and_says_when_it_is_over(ada, executor):
    run_id = ada.start(SUM, inputs={"a": 1, "b": 1})
    until_status(run_id, "COMPLETED")
    cursor, seen, last = 0, [], False
    while not last:
        page = ada.get(f"executions/{run_id}/events", after=cursor, limit=7).json()["data"]
        seen += page["events"]
        cursor, last = page["cursor"], page["isFinal"]
    assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
    assert seen[-1]["type"] == "run.completed"
    assert {"node_started", "node_completed"} <= {event["type"] for event in seen}
    after = ada.get(f"executions/{run_id}/events", after=cursor).json()["data"]
    assert (after["events"], after["cursor"], after["isFinal"]) == ([], cursor, True)


def test_the_log_of_an_open_run_is_not_over(ada):
    run_id = ada.start(SUM)
    page = ada.get(f"executions/{run_id}/events").json()["data"]
    assert [event["type"] for event in page["events"]] == ["run.queued"]
    assert (page["status"], page["isFinal"]) == ("QUEUED", False)


def test_a_review_takes_the_first_answer_that_fits(ada, executor):
    run_id = ada.start(REVIEW, inputs={"name": "Bo"})
    (review,) = until_asked(run_id)["reviews"]
    assert review["prompt"] == "How many for Bo?"
    assert review["rules"] == "a number, at least 1, at most 5"

    for wrong, reason in ((9, "above the most"), ("many", "not a number"), (None, "required")):
        refused = ada.post(f"executions/{run_id}/submit-response", {"response": wrong})
        assert refused.status_code == 400
        assert reason in refused.json()["error"]
        assert refused.json()["details"] == {"field": "response"}

    body = {"response": "4", "tokenId": review["tokenId"]}
    assert ada.post(f"executions/{run_id}/submit-response", body).status_code == 200
    assert until_status(run_id, "COMPLETED").output["outputs"] == {"count": 4}

    again = ada.post(f"executions/{run_id}/submit-response", body)
    assert (again.status_code, again.json()["code"]) == (409, "token_closed")
    blind = ada.post(f"executions/{run_id}/submit-response", {"response": 2})
    assert (blind.status_code, blind.json()["code"]) == (409, "no_open_review")


def test_an_answer_that_is_json_text_arrives_as_it_was_meant(ada, executor):
    definition = flow({"ask": ("humanReview", {"prompt": "?", "inputType": "json"})})
    run_id = ada.start(definition)
    until_asked(run_id)
    ada.post(f"executions/{run_id}/submit-response", {"response": '"quoted"'})
    outputs = until_status(run_id, "COMPLETED").output["outputs"]
    assert outputs["userResponse"] == "quoted"


def test_a_token_of_another_run_is_not_found(ada, executor):
    first, second = ada.start(REVIEW), ada.start(REVIEW)
    token = until_asked(first)["reviews"][0]["tokenId"]
    until_asked(second)
    body = {"response": 2, "tokenId": token}
    assert ada.post(f"executions/{second}/submit-response", body).status_code == 404
    assert ada.post(f"executions/{first}/submit-response", body).status_code == 200


def test_a_waiting_run_is_cancelled_once(ada, executor):
    run_id = ada.start(REVIEW)
    until_asked(run_id)
    answer = ada.post(f"executions/{run_id}/cancel", {"reason": "Not needed."})
    assert answer.status_code == 200
    until_status(run_id, "CANCELED")
    shown = ada.get(f"executions/{run_id}").json()["data"]
    assert (shown["error"], shown["reviews"]) == ("Not needed.", [])
    assert shown["nodes"]["ask"]["status"] == "stopped"
    assert shown["nodes"]["end"]["status"] == "not_run"
    assert ada.post(f"executions/{run_id}/cancel").status_code == 409


@pytest.mark.parametrize("depth", [300, 900, 100_000])
def test_a_body_nested_too_deeply_is_refused(ada, depth):
    for body in ("[" * depth, f'{{"workflowDefinition": {"[" * depth}{"]" * depth}}}'):
        answer = ada.send("workflows/execute", body)
        assert answer.status_code == 400
        assert answer.json()["success"] is False
    assert not Run.objects.exists()


def test_inputs_nested_too_deeply_are_refused(ada):
    for depth in (150, 300, 900, 960, 980):
        inputs = f'{{"x": {"[" * depth}{"]" * depth}}}'
        body = f'{{"workflowDefinition": {json.dumps(SUM)}, "inputs": {inputs}}}'
        answer = ada.send("workflows/execute", body)
        assert answer.status_code in (202, 400), depth


def test_a_body_over_the_limit_is_refused_as_too_large(ada, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    answer = ada.send("workflows/execute", json.dumps({"workflowDefinition": "x" * 100}))
    assert answer.status_code == 413
    refused = answer.json()
    assert (refused["success"], refused["code"], refused["details"]) == (False, "too_large", {})
    assert "100 bytes" in refused["error"]


def test_the_list_holds_runs_of_every_task(ada):
    run_id = runs.trigger(plain, {}, owner=ada.user.pk).id
    (item,) = ada.get("executions").json()["data"]["items"]
    assert (item["executionId"], item["task"]) == (run_id, "api.plain")
    assert item["workflowName"] is None


def test_the_list_is_read_page_by_page(ada):
    mine = [ada.start(SUM) for _ in range(3)]
    Caller(person("bo")).start(SUM)
    first = ada.get("executions", limit=2).json()["data"]
    assert [item["executionId"] for item in first["items"]] == sorted(mine, reverse=True)[:2]
    assert first["items"][0]["workflowName"] == "test"
    assert first["hasMore"] is True
    rest = ada.get("executions", limit=2, after=first["next"]).json()["data"]
    assert [item["executionId"] for item in rest["items"]] == [min(mine)]
    assert (rest["hasMore"], rest["next"]) == (False, None)
    assert ada.get("executions", limit=0).status_code == 400


ROUTES = [
    ("get", "executions/{}"),
    ("get", "executions/{}/events"),
    ("post", "executions/{}/submit-response"),
    ("post", "executions/{}/cancel"),
]


@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_a_run_of_somebody_else_is_not_there(ada, method, route):
    run_id = Caller(person("bo")).start(SUM)
    nobodys = workflow_runs.start(SUM).id
    for path in (run_id, nobodys, "run_0"):
        answer = getattr(ada, method)(route.format(path), **_body(method))
        assert answer.status_code == 404, path
        assert answer.json()["code"] == "not_found"
    assert runs.retrieve(run_id).status == "QUEUED"


def _body(method):
    return {"data": {"response": 1}} if method == "post" else {}


def test_a_key_for_all_workspaces_sees_and_cancels_the_runs_of_everybody(ada):
    run_id = ada.start(SUM)
    boss = person("boss", is_staff=True)
    assert Caller(boss).get(f"executions/{run_id}").status_code == 404
    staff = Caller(boss, all_workspaces=True)
    assert staff.get(f"executions/{run_id}").status_code == 200
    assert staff.get("executions").json()["data"]["items"][0]["executionId"] == run_id
    assert staff.post(f"executions/{run_id}/cancel").status_code == 200
    assert "boss" in runs.retrieve(run_id).error["message"]


def test_nothing_is_told_to_strangers(transactional_db):
    client = Client()
    for path in ("executions", "executions/run_0", "executions/run_0/events"):
        assert client.get(f"/api/{path}").status_code == 401
    for path in ("workflows/execute", "executions/run_0/cancel"):
        assert client.post(f"/api/{path}", {}, content_type=JSON).status_code == 401


def test_a_session_starts_runs_only_with_its_csrf_token(transactional_db):
    client = Client(enforce_csrf_checks=True)
    client.force_login(person("ada"))
    body = {"workflowDefinition": SUM}
    assert client.post("/api/workflows/execute", body, content_type=JSON).status_code == 403
    assert not Run.objects.exists()
    client.get("/")
    token = client.cookies["csrftoken"].value
    answer = client.post(
        "/api/workflows/execute", body, content_type=JSON, headers={"X-CSRFToken": token}
    )
    assert answer.status_code == 202
