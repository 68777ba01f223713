"""What only the real engine shows: active time over crashes, warnings while a run goes on."""

from __future__ import annotations

import pytest

from executions import tokens, workflow_runs
from executions.models import Run
from executions.orchestrator import orchestrator
from executions.runs import RunFailed
from executions.testing import Engine
from executions.tests.conftest import until_status
from executions.tests.flows import flow

CHAIN = flow(
    {
        "a": ("llm", {}),
        "w": ("wait", {"durationValue": 1, "durationUnit": "hours"}),
        "b": ("llm", {}),
        "o": ("output", {"outputName": "o", "value": "{{b}}", "format": "json"}),
    },
    "a>w", "w>b", "b>o", settings={"timeout": 60_000},
)  # fmt: skip
PINS = {"a": {"output": 1}, "b": {"output": 2}}


def begin(engine, definition, **payload):
    return engine.trigger(orchestrator, {"workflowDefinition": definition, **payload})


def test_waiting_does_not_use_up_the_active_time(engine: Engine) -> None:
    handle = begin(engine, CHAIN, pins=PINS)
    engine.run_until_idle()
    engine.advance(hours=2)
    assert engine.result(handle)["outputs"] == {"o": 2}


@pytest.mark.parametrize("after", ["a/run", "w/plan", "b/run"])
def test_a_run_with_a_time_limit_goes_on_after_a_crash(engine: Engine, after: str) -> None:
    handle = begin(engine, CHAIN, pins=PINS)
    engine.crash(after=after)
    engine.run_until_idle()
    engine.advance(hours=2)
    assert engine.result(handle)["outputs"] == {"o": 2}


def test_active_time_counts_over_all_stays_in_memory(executor) -> None:
    definition = flow(
        {
            "ask": ("humanReview", {"variableName": "go"}),
            "b": "llm",
            "o": ("output", {"outputName": "o", "value": "kept"}),
        },
        "ask>b", settings={"timeout": 60_000},
    )  # fmt: skip
    pins = {"b": {"output": 1, "delay_ms": 900}}
    run_id = orchestrator.trigger({"workflowDefinition": definition, "pins": pins}).id
    run = until_status(run_id, "WAITING")
    # As if it had been at work for a minute before this wait.
    Run.objects.filter(pk=run_id).update(active_ms=60_000)
    tokens.complete(run.data.metadata["pauseContext"]["tokenId"], "yes")
    run = until_status(run_id, "COMPLETED", "FAILED", "TIMED_OUT", "NEEDS_ATTENTION")
    assert run.status == "FAILED"
    assert "settings.timeout" in run.output["error"]
    assert run.output["outputs"] == {"o": "kept"}
    assert run.output["nodes"]["b"]["status"] == "not_run"


def test_a_run_over_its_active_time_ends_with_what_it_has(executor) -> None:
    definition = flow(
        {"a": "llm", "o": ("output", {"outputName": "o", "value": "kept"})},
        settings={"timeout": 150},
    )
    pins = {"a": {"output": 1, "delay_ms": 990}}
    run_id = orchestrator.trigger({"workflowDefinition": definition, "pins": pins}).id
    run = until_status(run_id, "COMPLETED", "FAILED", "TIMED_OUT")
    assert run.status == "FAILED"
    assert "settings.timeout" in str(run.error)
    assert run.output["outputs"] == {"o": "kept"}


def test_a_nodes_warnings_are_shown_while_the_run_goes_on(engine: Engine) -> None:
    definition = flow(
        {"t": ("templateOutput", {"template": "{{gone}}"}), "ask": ("humanReview", {})}, "t>ask"
    )
    handle = begin(engine, definition)
    engine.run_until_idle()
    run = handle.retrieve()
    assert run.status == "WAITING"
    state = workflow_runs.describe(run)["nodes"]["t"]
    assert state["warnings"] == ["{{gone}} names nothing in this run."]


@pytest.mark.parametrize("after", ["in/run", "l[0]/b/run", "l[1]/b/run", "j/run", "ask/form"])
def test_a_crash_repeats_no_finished_node(engine: Engine, after: str) -> None:
    definition = flow(
        {
            "in": "input",
            "l": ("loop", {"arrayPath": "xs"}),
            "b": ("llm", {}),
            "j": "llm",
            "ask": ("humanReview", {"variableName": "go"}),
            "o": ("output",
             {"outputName": "o", "format": "json", "value": ["{{l.results}}", "{{go}}"]}),
        },
        "in>l", "l:body>b", "b>l", "in>j", "l:done>ask", "j>ask", "ask>o",
    )  # fmt: skip
    pins = {"b": {"output": "x"}, "j": {"output": 1}}
    handle = begin(engine, definition, pins=pins, inputs={"xs": [1, 2, 3]})
    engine.crash(after=after)
    engine.run_until_idle()
    tokens.complete(engine.token(handle).id, "yes")
    assert engine.result(handle)["outputs"] == {"o": [["x", "x", "x"], "yes"]}
    steps = handle.retrieve().steps.all()
    assert {step.attempt for step in steps if step.key.endswith("/run")} == {1}


def test_a_failed_workflow_ends_failed_with_its_outputs(engine: Engine) -> None:
    definition = flow({"a": ("llm", {"retry": 1}), "o": ("output", {"value": "kept"})})
    handle = begin(engine, definition, pins={"a": {"error": "no luck"}})
    with pytest.raises(RunFailed, match="no luck"):
        engine.result(handle)
    assert handle.retrieve().output["outputs"] == {"output": "kept"}
