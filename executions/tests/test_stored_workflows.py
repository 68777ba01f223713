"""Stored workflows: runs that point at a version, workflows that start others, triggered runs."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model

from executions import runs, workflow_runs, workflows
from executions.errors import NotFound
from executions.models import Run, WorkflowVersion
from executions.runs import RunFailed
from executions.testing import Engine

ECHO: dict[str, Any] = {
    "name": "Echo",
    "nodes": {
        "in": {"type": "input", "name": "In", "config": {"inputName": "word"}},
        "out": {"type": "output", "config": {"outputName": "said", "value": "{{word}}!"}},
    },
    "edges": [{"id": "e", "source": "in", "target": "out"}],
    "entryPoint": "in",
}


def calling(reference: dict[str, Any]) -> dict[str, Any]:
    """A workflow whose only work is another one."""
    return {
        "name": "Caller",
        "nodes": {
            "in": {"type": "input", "config": {"inputName": "name"}},
            "call": {
                "type": "subworkflow",
                "config": {**reference, "inputs": {"word": "{{name}}"}, "outputVariable": "sub"},
            },
            "out": {"type": "output", "config": {"outputName": "got", "value": "{{sub.said}}"}},
        },
        "edges": [
            {"id": "a", "source": "in", "target": "call"},
            {"id": "b", "source": "call", "target": "out"},
        ],
        "entryPoint": "in",
    }


def test_a_run_points_at_the_version_it_was_started_with(engine: Engine) -> None:
    first = workflows.save_workflow("Echo", ECHO)
    handle = workflow_runs.start_stored(first.workflow_id, inputs={"word": "hi"})
    changed = {**ECHO, "nodes": {**ECHO["nodes"], "out": {
        "type": "output", "config": {"outputName": "said", "value": "changed"},
    }}}  # fmt: skip
    second = workflows.save_workflow("Echo", changed)
    assert engine.result(handle)["outputs"] == {"said": "hi!"}
    assert handle.retrieve().definition_id == first.pk
    newest = workflow_runs.start_stored(first.workflow_id, inputs={"word": "hi"})
    assert engine.result(newest)["outputs"] == {"said": "changed"}
    assert newest.retrieve().definition_id == second.pk


@pytest.mark.parametrize("by", ["workflowId", "versionId", "workflowName"])
def test_a_workflow_runs_another_as_a_child(engine: Engine, by: str) -> None:
    version = workflows.save_workflow("Echo", ECHO)
    reference = {
        "workflowId": {"workflowId": version.workflow_id},
        "versionId": {"workflowId": version.pk},
        "workflowName": {"workflowName": "Echo"},
    }[by]
    handle = workflow_runs.start(calling(reference), inputs={"name": "Ada"})
    assert engine.result(handle)["outputs"] == {"got": "Ada!"}
    child = Run.objects.get(parent_id=handle.id)
    assert (child.task, child.definition_id) == ("orchestrator", version.pk)


def test_the_end_of_a_workflow_that_fails_is_told_to_the_one_that_ran_it(engine: Engine) -> None:
    failing = {
        **ECHO,
        "nodes": {
            **ECHO["nodes"],
            "bad": {
                "type": "transform",
                "config": {"operation": "parseJSON", "inputData": "word", "outputVariable": "x"},
            },
        },
        "edges": [*ECHO["edges"], {"id": "f", "source": "in", "target": "bad"}],
    }
    version = workflows.save_workflow("Failing", failing)
    handle = workflow_runs.start(
        calling({"workflowId": version.workflow_id}), inputs={"name": "no json"}
    )
    with pytest.raises(RunFailed, match=r"'Failing' .* ended FAILED"):
        engine.result(handle)


def test_a_workflow_of_somebody_else_looks_absent(engine: Engine) -> None:
    users = get_user_model().objects
    ada, bob = users.create(username="ada"), users.create(username="bob")
    version = workflows.save_workflow("Echo", ECHO, owner=ada.pk)
    with pytest.raises(NotFound, match="There is no workflow"):
        workflow_runs.start_stored(version.workflow_id, owner=bob.pk)
    handle = workflow_runs.start(calling({"workflowId": version.workflow_id}), owner=bob.pk)
    with pytest.raises(RunFailed, match="There is no workflow"):
        engine.result(handle)


def test_a_workflow_that_calls_itself_ends_with_a_sentence(engine: Engine) -> None:
    version = workflows.save_workflow("Caller", calling({"workflowName": "Caller"}))
    handle = workflow_runs.start_stored(version.workflow_id, inputs={"name": "again"})
    with pytest.raises(RunFailed, match="ended FAILED"):
        engine.result(handle)
    last = Run.objects.filter(root_id=handle.id).order_by("id").last()
    assert last is not None
    assert "started each other 10 times over" in last.error["message"]
    assert Run.objects.filter(root_id=handle.id).count() == 11


def test_a_crash_while_the_other_workflow_runs_starts_it_once(engine: Engine) -> None:
    version = workflows.save_workflow("Echo", ECHO)
    handle = workflow_runs.start(
        calling({"workflowId": version.workflow_id}), inputs={"name": "Ada"}
    )
    engine.crash(after="call/version")
    assert engine.result(handle)["outputs"] == {"got": "Ada!"}
    assert Run.objects.filter(parent_id=handle.id).count() == 1


# ---- triggered-workflow -------------------------------------------------------------------------


def test_a_triggered_run_runs_the_workflow_as_a_child_and_records_its_result(
    engine: Engine,
) -> None:
    version = workflows.save_workflow("Echo", ECHO)
    handle = runs.trigger(
        "triggered-workflow",
        {"triggerId": "t1", "workflowId": version.workflow_id, "triggerPayload": {"word": "hi"}},
        tags=["nightly"],
    )
    result = engine.result(handle)
    child = Run.objects.get(parent_id=handle.id)
    assert result == {"success": True, "executionId": child.id, "outputs": {"said": "hi!"}}
    assert child.tags == ["nightly"]
    metadata = handle.retrieve().data.metadata
    assert metadata["triggerId"] == "t1"
    assert metadata["status"] == "completed"
    assert metadata["executionId"] == child.id


def test_a_triggered_run_fails_with_its_workflow(engine: Engine) -> None:
    broken = {**ECHO, "nodes": {"in": ECHO["nodes"]["in"], "out": {
        "type": "transform", "config": {"operation": "map", "inputData": "word",
                                        "expression": "x", "outputVariable": "y"},
    }}}  # fmt: skip
    version = workflows.save_workflow("Broken", broken)
    handle = runs.trigger(
        "triggered-workflow",
        {"workflowId": version.workflow_id, "triggerPayload": {"word": "hi"}},
    )
    with pytest.raises(RunFailed, match="array"):
        engine.result(handle)
    run = handle.retrieve()
    assert run.output["success"] is False
    assert run.data.metadata["status"] == "failed"


@pytest.mark.parametrize(
    ("payload", "message"),
    [({}, "workflowId"), ({"workflowId": "workflow_x"}, "There is no workflow")],
)
def test_a_triggered_run_without_a_workflow_says_so(
    engine: Engine, payload: dict[str, Any], message: str
) -> None:
    with pytest.raises(RunFailed, match=message):
        engine.result(runs.trigger("triggered-workflow", payload))


def test_an_import_of_what_is_there_already_makes_no_version(db: None) -> None:
    first, is_new = workflows.import_workflow("Echo", ECHO)
    again, is_newer = workflows.import_workflow("Echo", ECHO)
    assert (is_new, is_newer) == (True, False)
    assert first == again
    assert WorkflowVersion.objects.count() == 1
