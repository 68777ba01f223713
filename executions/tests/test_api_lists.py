"""Lists of executions over HTTP, and what is told of one: nodes, steps, log."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from executions import runs
from executions.inspection.run_logs import Level, level_of, sentence
from executions.models import Run, RunEvent
from executions.rules.ids import new_id
from executions.tests.callers import Caller
from executions.tests.conftest import until_status
from executions.tests.flows import flow
from executions.tests.people import REVIEW, SUM, person, until_asked

FAILING = flow(
    {"a": ("llm", {"retry": 1}), "b": "noop", "c": ("llm", {"retry": 1})}, "a>b", name="Failing"
)


@pytest.fixture
def ada(transactional_db):
    """A caller who may do everything in a workspace."""
    return Caller(person("ada"))


def ids(caller, **query):
    """The ids of the executions in a list."""
    return [item["executionId"] for item in caller.data("executions", **query)["items"]]


# ---- the list -----------------------------------------------------------------------------------


def test_executions_are_found_by_what_they_are(ada, executor):
    stored = ada.post("workflows", {"name": "Sum", "definition": SUM}).json()["data"]
    path = f"workflows/{stored['id']}"
    first = ada.post(f"{path}/execute", {"inputs": {"a": 1, "b": 1}, "wait": 10}).json()["data"]
    ada.put(path, {"definition": {**SUM, "description": "changed"}})
    second = ada.post(f"{path}/execute", {"delay": "1h", "tags": ["t", "u"]}).json()["data"]
    third = ada.start(FAILING, pins={"a": {"error": "no"}, "c": {"output": 1}})
    until_status(third, "FAILED")
    fourth = runs.trigger(
        "user-input", {}, owner=ada.user.pk, source="sched_1", delay="1h"
    ).id  # fmt: skip
    first, second = first["executionId"], second["executionId"]

    assert ids(ada) == [fourth, third, second, first]
    assert ids(ada, workflowId=stored["id"]) == [second, first]
    assert ids(ada, status="COMPLETED") == [first]
    assert ids(ada, status="delayed, failed") == [fourth, third, second]
    assert ids(ada, task="user-input") == [fourth]
    assert ids(ada, tag="u") == [second]
    assert ids(ada, tag="v") == []
    assert ids(ada, source="sched_1") == ids(ada, triggerId="sched_1") == [fourth]
    assert ids(ada, status="DELAYED", tag="t", workflowId=stored["id"]) == [second]
    assert ids(Caller(person("bo")), workflowId=stored["id"]) == []

    shown = {item["executionId"]: item for item in ada.data("executions")["items"]}
    assert [shown[run]["workflowName"] for run in (first, second, third, fourth)] == [
        "test", "Sum", "Failing", None,
    ]  # fmt: skip
    assert (shown[second]["workflowId"], shown[second]["tags"]) == (stored["id"], ["t", "u"])
    assert shown[first]["versionId"] == stored["versionId"]
    assert (shown[fourth]["source"], shown[fourth]["isFinal"]) == ("sched_1", False)
    assert "no" in shown[third]["error"]


def test_executions_are_found_by_when_they_were_made(ada):
    now = timezone.now()
    made = [ada.start(SUM) for _ in range(3)]
    for hours, run_id in zip((3, 2, 1), made, strict=True):
        then = now - timedelta(hours=hours, minutes=1)
        Run.objects.filter(pk=run_id).update(created_at=then)
    since, until = ((now - timedelta(hours=hours)).isoformat() for hours in (3, 2))
    # Their ids say that they were made just now, as those of a clock that is wrong would.
    assert ids(ada, createdAfter=since, createdBefore=now.isoformat()) == made[:0:-1]
    assert ids(ada, createdAfter=since, createdBefore=until) == [made[1]]
    assert ids(ada, createdBefore="1970-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"status": "DONE"}, "status"),
        ({"status": "FAILED,"}, "status"),
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"createdAfter": "yesterday"}, "createdAfter"),
        ({"createdAfter": "0001-01-01T00:00:00Z"}, "createdAfter"),
        ({"createdBefore": "9999-12-31T23:59:59-12:00"}, "createdBefore"),
    ],
)
def test_a_filter_that_does_not_fit_is_refused_by_name(ada, query, field):
    answer = ada.get("executions", **query)
    assert answer.status_code == 400
    details = answer.json()["details"]
    assert field in (details.get("field"), *details)


# ---- one execution ------------------------------------------------------------------------------


def test_the_nodes_of_a_stored_workflow_are_known_before_it_runs(ada):
    stored = ada.post("workflows", {"name": "Sum", "definition": SUM}).json()["data"]
    run_id = ada.post(f"workflows/{stored['id']}/execute").json()["data"]["executionId"]
    found = ada.data(f"executions/{run_id}/nodes")
    assert (found["status"], found["isFinal"], found["cursor"]) == ("QUEUED", False, 1)
    assert found["nodes"] == {
        "add": {"name": "add", "type": "transform", "status": "pending"},
        "end": {"name": "end", "type": "output", "status": "pending"},
    }
    assert ada.data(f"executions/{run_id}")["workflowName"] == "Sum"


def test_the_nodes_show_what_each_came_to(ada, executor):
    run_id = ada.start(FAILING, pins={"a": {"error": "no luck"}, "c": {"output": 1}})
    until_status(run_id, "FAILED")
    nodes = ada.data(f"executions/{run_id}/nodes")["nodes"]
    assert nodes["a"]["error"]["message"] == "no luck"
    assert (nodes["a"]["status"], nodes["a"]["attempts"]) == ("failed", 1)
    assert (nodes["c"]["output"], nodes["c"]["pinned"]) == (1, True)
    assert nodes["b"]["status"] == "skipped"


def test_the_steps_are_read_in_parts(ada, executor):
    run_id = ada.start(SUM, inputs={"a": 1, "b": 1})
    until_status(run_id, "COMPLETED")
    first = ada.data(f"executions/{run_id}/steps", limit=1)
    assert ([step["key"] for step in first["items"]], first["next"]) == (["add/run"], 1)
    rest = ada.data(f"executions/{run_id}/steps", after=first["next"])
    assert ([step["key"] for step in rest["items"]], rest["hasMore"]) == (["end/run"], False)
    assert {step["status"] for step in rest["items"]} == {"COMPLETED"}
    assert [step["place"] for step in first["items"] + rest["items"]] == [1, 2]


def test_the_log_says_what_happened_by_level_and_node(ada, executor):
    run_id = ada.start(FAILING, pins={"a": {"error": "no luck"}, "c": {"output": 1}})
    until_status(run_id, "FAILED")
    log = ada.data(f"executions/{run_id}/logs", limit=1000)
    assert log["hasMore"] is False
    assert [entry["seq"] for entry in log["items"]] == sorted(
        entry["seq"] for entry in log["items"]
    )
    assert "metadata" not in {entry["type"] for entry in log["items"]}
    errors = ada.data(f"executions/{run_id}/logs", level="error")["items"]
    assert errors == [entry for entry in log["items"] if entry["level"] == "error"]
    assert [entry["type"] for entry in errors] == ["step.failed", "node_failed", "run.failed"]
    assert errors[1]["message"] == "Node 'a' failed: no luck"
    about = ada.data(f"executions/{run_id}/logs", nodeId="b")["items"]
    assert [(entry["message"], entry["nodeId"]) for entry in about] == [
        ("Node 'b' was skipped.", "b")
    ]
    for level in Level:
        assert {entry["level"] for entry in ada.data(
            f"executions/{run_id}/logs", level=level, limit=1000
        )["items"]} <= {level}  # fmt: skip
    assert ada.get(f"executions/{run_id}/logs", level="loud").status_code == 400
    assert ada.get(f"executions/{run_id}/logs", limit=1001).status_code == 400


def test_the_log_is_read_on_with_a_cursor(ada, executor):
    run_id = ada.start(REVIEW)
    until_asked(run_id)
    seen, cursor, more = [], 0, True
    while more:
        part = ada.data(f"executions/{run_id}/logs", after=cursor, limit=3)
        seen += part["items"]
        cursor, more = part["cursor"], part["hasMore"]
    assert seen == ada.data(f"executions/{run_id}/logs", limit=1000)["items"]
    assert "Node 'ask' waits." in [entry["message"] for entry in seen]


def test_every_event_has_a_level_and_a_sentence():
    for type, data, level, words in (
        ("run.canceled", {"error": {"message": "No."}}, "info", "The run was cancelled: No."),
        ("answer_refused", {"nodeId": "n", "reason": "Too much."}, "warning",
         "Node 'n' refused an answer: Too much."),
        ("step.retrying", {"key": "a/run"}, "warning", "Step 'a/run': retrying."),
        ("what a task emits", None, "info", "what a task emits."),
    ):  # fmt: skip
        event = RunEvent(run_id=new_id("run"), seq=1, type=type, data=data)
        assert (level_of(event), sentence(event)) == (level, words)


def test_a_run_of_somebody_else_tells_nothing(ada):
    run_id = Caller(person("bo")).start(SUM)
    for what in ("nodes", "steps", "logs", "events"):
        for path in (run_id, "run_0"):
            assert ada.get(f"executions/{path}/{what}").status_code == 404


def test_a_cursor_that_is_none_is_refused(ada):
    answer = ada.get("executions", after="zzz")
    assert (answer.status_code, answer.json()["details"]["field"]) == (400, "after")
