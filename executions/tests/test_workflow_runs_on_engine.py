"""Workflows on the real engine: stored steps, waits that park, a review answered from outside."""

from __future__ import annotations

from typing import Any

import pytest

from executions import runs, tokens, workflows
from executions.models import Run
from executions.orchestrator import orchestrator
from executions.tests.conftest import eventually, until_status
from executions.tests.flows import flow
from executions.tests.test_definitions import FILES, load, pins_for


def given(run: Run) -> Any:
    """What a run gave."""
    return run.output


def start(definition, **payload):
    return orchestrator.trigger({"workflowDefinition": definition, **payload}).id


def test_a_workflow_runs_and_its_metadata_tells_how(executor):
    definition = flow(
        {
            "a": ("llm", {"outputVariable": "x"}),
            "b": ("transform", {"operation": "custom", "expression": "x * 2"}),
            "c": "noop",
            "r": ("output", {"outputName": "r", "value": "{{b}}", "format": "json"}),
        },
        "a>b", "a>c", "b>r", "c>r",
    )  # fmt: skip
    run = until_status(start(definition, pins={"a": {"output": {"x": 21}}}), "COMPLETED", "FAILED")
    assert given(run)["outputs"] == {"r": 42}
    metadata = run.data.metadata
    assert metadata["status"] == "completed"
    assert metadata["executionId"] == run.pk
    assert set(metadata["completedNodes"]) == {"a", "b", "c", "r"}
    assert {step.key for step in run.steps.all()} >= {"a/run", "b/run", "c/run", "r/run"}


def test_a_failed_workflow_keeps_its_output(executor):
    definition = flow({"a": ("llm", {"retry": 1}), "r": ("output", {"value": "kept"})})
    run = until_status(start(definition, pins={"a": {"error": "no luck"}}), "COMPLETED", "FAILED")
    assert run.status == "FAILED"
    assert given(run)["outputs"] == {"output": "kept"}
    assert given(run)["nodes"]["a"]["error"]["message"] == "no luck"
    assert "no luck" in str(run.error)
    assert run.attempt == 1


def test_a_review_parks_the_run_and_its_answer_goes_on(executor):
    definition = flow(
        {
            "ask": ("humanReview", {"prompt": "Go?", "variableName": "go"}),
            "w": ("wait", {"duration": 50}),
            "r": ("output", {"outputName": "r", "value": "{{go}}"}),
        },
        "ask>w", "w>r",
    )  # fmt: skip
    run_id = start(definition)
    run = until_status(run_id, "WAITING")
    form = eventually(lambda: runs.retrieve(run_id).data.metadata.get("pauseContext"))
    assert run.data.metadata["status"] == "paused"
    tokens.complete(form["tokenId"], "yes")
    run = until_status(run_id, "COMPLETED", "FAILED")
    assert given(run)["outputs"] == {"r": "yes"}
    assert "pauseContext" not in run.data.metadata


def test_loops_cycles_and_joins_survive_being_parked_in_the_middle(executor):
    definition = flow(
        {
            "in": "input",
            "l": ("loop", {"arrayPath": "xs", "maxConcurrency": 2}),
            "nap": ("wait", {"duration": 300}),
            "mark": ("transform", {"transformType": "template", "template": "{{item}}"}),
            "again": ("variable", {"name": "n", "value": 1, "operation": "increment"}),
            "rest": ("wait", {"duration": 200}),
            "check": ("conditional", {"condition": "n >= 2"}),
            "r": ("output", {"outputName": "r", "value": "{{l.results}}", "format": "json"}),
        },
        "in>l", "l:body>nap", "nap>mark", "mark>l", "l:done>r",
        "in>again", "again>rest", "rest>check", "check:false>again", "check:true>r",
    )  # fmt: skip
    run = until_status(
        start(definition, inputs={"xs": ["a", "b", "c"]}), "COMPLETED", "FAILED", "NEEDS_ATTENTION",
        seconds=30,
    )  # fmt: skip
    assert run.status == "COMPLETED", run.error
    assert given(run)["outputs"] == {"r": ["a", "b", "c"]}
    assert given(run)["nodes"]["again"]["runs"] == 2


def test_another_worker_takes_a_run_over_and_repeats_no_finished_node(executors):
    first = executors()
    definition = flow(
        {
            "in": "input",
            "l": ("loop", {"arrayPath": "xs"}),
            "a": ("llm", {"outputVariable": "made"}),
            "ask": ("humanReview", {"variableName": "go"}),
            "r": ("output", {"outputName": "r", "value": "{{go}} {{l.iterations}}"}),
        },
        "in>l", "l:body>a", "a>l", "l:done>ask", "ask>r",
    )  # fmt: skip
    pins = {"a": {"output": {"made": 1}}}
    run_id = start(definition, inputs={"xs": [1, 2, 3]}, pins=pins)
    form = eventually(lambda: runs.retrieve(run_id).data.metadata.get("pauseContext"))
    first.stop(0)
    before = {step.key: step.finished_at for step in runs.retrieve(run_id).steps.all()}
    executors()
    tokens.complete(form["tokenId"], "yes")
    run = until_status(run_id, "COMPLETED", "FAILED", "NEEDS_ATTENTION", seconds=30)
    assert run.status == "COMPLETED", run.error
    assert given(run)["outputs"] == {"r": "yes 3"}
    after = {step.key: step.finished_at for step in run.steps.all()}
    assert all(after[key] == ended for key, ended in before.items() if ended is not None)
    assert run.data.metadata["completedNodes"] == ["in", "a", "l", "ask", "r"]


def test_a_stored_workflow_runs_by_its_id(executor):
    version = workflows.save_workflow("stored", flow({"r": ("output", {"value": "hi"})}))
    run = until_status(
        orchestrator.trigger({"workflowId": version.workflow_id}).id, "COMPLETED", "FAILED"
    )
    assert given(run)["outputs"] == {"output": "hi"}


@pytest.mark.skipif(not FILES, reason="the shared definitions are not here")
def test_every_shared_definition_runs_to_its_end_on_the_engine_with_pins(executor):
    handles = {}
    for path in FILES:
        definition = load(path)
        payload = {
            "workflowDefinition": definition,
            "inputs": {"request": "hello"},
            "pins": pins_for(definition),
        }
        handles[path.stem] = runs.trigger("orchestrator", payload)
    for name, handle in handles.items():
        result = handle.result(timeout=60)
        assert result["success"], name
        assert result["outputs"], name
        run = runs.retrieve(handle.id)
        done = {node for node, value in result["nodes"].items() if value["status"] == "completed"}
        assert set(run.data.metadata["completedNodes"]) == done, name
        events = runs.events(handle.id)
        assert [event.seq for event in events] == list(range(1, len(events) + 1)), name
