"""Tests of the orchestrator on a context in memory."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from executions.orchestrator import WorkflowFailed, orchestrator
from executions.tests.fakes import FakeContext, FakeTokenResult
from executions.tests.flows import flow, run, statuses

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FAIL = {"error": "no luck"}


def out(value, name="result", **more):
    return ("output", {"outputName": name, "value": value, "format": "json", **more})


def test_a_workflow_gives_its_outputs_and_what_each_node_did():
    definition = flow(
        {
            "in": ("input", {"inputName": "xs"}),
            "double": (
                "transform",
                {"operation": "map", "inputData": "xs", "expression": "items.($ * 2)",
                 "outputVariable": "doubled"},
            ),
            "many": ("conditional", {"leftValue": "{{doubled.length}}", "operator": ">",
                                     "rightValue": "2"}),
            "yes": out("{{doubled}}"),
            "no": out("few"),
        },
        "in>double", "double>many", "many:true>yes", "many:false>no",
    )  # fmt: skip
    result = run(definition, inputs={"xs": [1, 2, 3]})
    assert result["success"]
    assert result["outputs"] == {"result": [2, 4, 6]}
    assert statuses(result)["no"] == "skipped"
    assert result["nodes"]["many"]["handle"] == "true"


def test_without_output_nodes_the_last_nodes_are_the_outputs():
    definition = flow(
        {"a": "noop", "b": ("variable", {"name": "x", "value": 1}), "c": "noop"}, "a>b", "a>c"
    )
    assert run(definition)["outputs"] == {"x": 1, "skipped": True}


def test_metadata_and_events_tell_what_happens():
    ctx = FakeContext()
    run(flow({"a": "noop", "b": out("1")}, "a>b"), ctx=ctx)
    assert ctx.metadata.values["status"] == "completed"
    assert ctx.metadata.values["executionId"] == "run_test"
    assert ctx.metadata.values["completedNodes"] == ["a", "b"]
    assert ctx.metadata.values["event"] == {"type": "completed"}
    assert [(kind, data.get("nodeId")) for kind, data in ctx.world.events] == [
        ("started", None),
        ("node_started", "a"),
        ("node_completed", "a"),
        ("node_started", "b"),
        ("node_completed", "b"),
        ("completed", None),
    ]


def test_an_unhandled_failure_fails_the_run_and_keeps_what_was_done():
    definition = flow({"a": "llm", "b": out("x", "b"), "c": out("y", "c")}, "a>b")
    with pytest.raises(WorkflowFailed) as caught:
        asyncio.run(
            orchestrator.function(
                {"workflowDefinition": definition, "pins": {"a": FAIL}}, FakeContext()
            )
        )
    assert caught.value.non_retryable
    result = caught.value.output
    assert result["error"] == str(caught.value)
    assert result["error"] == 'Workflow completed with 1 failed node: {"a": "no luck"}'
    assert result["outputs"] == {"c": "y"}
    assert statuses(result) == {"a": "failed", "b": "skipped", "c": "completed"}


def test_a_failing_node_is_tried_three_times_with_growing_delays():
    ctx = FakeContext()
    result = run(flow({"a": "llm"}), ctx=ctx, pins={"a": FAIL})
    assert result["nodes"]["a"]["attempts"] == 3
    assert ctx.world.backoffs == [1.0, 2.0]


def test_the_attempts_of_a_pin_answer_one_after_another():
    definition = flow({"a": ("llm", {"outputVariable": "r"}), "b": out("{{r}}")}, "a>b")
    result = run(definition, pins={"a": {"attempts": [FAIL, {"output": {"r": 7}}]}})
    assert result["outputs"] == {"result": 7}
    assert result["nodes"]["a"]["attempts"] == 2


def test_a_config_may_say_how_often_a_node_is_tried():
    definition = flow({"a": ("llm", {"retry": {"maxAttempts": 2, "minTimeoutInMs": 10}})})
    ctx = FakeContext()
    assert run(definition, ctx=ctx, pins={"a": FAIL})["nodes"]["a"]["attempts"] == 2
    assert ctx.world.backoffs == [0.01]


def test_a_pin_may_say_that_its_error_is_final():
    pins = {"a": {"error": {"message": "gone", "type": "Gone", "retryable": False}}}
    result = run(flow({"a": "llm"}), pins=pins)
    assert result["nodes"]["a"] == {
        "status": "failed", "attempts": 1, "error": {"message": "gone", "type": "Gone"},
    }  # fmt: skip


def test_a_node_over_its_time_limit_fails():
    definition = flow({"a": ("llm", {"timeout": 20, "retry": 1})})
    result = run(definition, pins={"a": {"output": 1, "delay_ms": 5000}})
    assert result["nodes"]["a"]["error"]["type"] == "TimeoutError"


def test_a_long_delay_of_a_pin_is_a_durable_sleep():
    ctx = FakeContext()
    assert run(flow({"a": "llm"}), ctx=ctx, pins={"a": {"output": 1, "delay_ms": 3000}})["success"]
    assert ctx.world.sleeps == {"a/delay": 3.0}


@pytest.mark.parametrize(
    ("on_error", "expected"),
    [
        ({"strategy": "continue"}, "no luck"),
        ({"strategy": "fallback", "fallbackValue": {"error": {"message": "spare"}}}, "spare"),
    ],
)
def test_a_failure_may_be_passed_over(on_error, expected):
    definition = flow(
        {"a": ("llm", {}, {"onError": on_error}), "b": out("{{a.error.message}}")}, "a>b"
    )
    result = run(definition, pins={"a": FAIL})
    assert result["success"]
    assert result["outputs"] == {"result": expected}
    assert result["nodes"]["a"]["handledError"]["message"] == "no luck"


def test_an_error_edge_and_goto_take_over():
    goto = {"onError": {"strategy": "goto", "gotoNode": "rescue"}}
    definition = flow(
        {"a": ("llm", {}, goto), "b": out("b", "b"), "rescue": out("{{a.error.message}}", "r")},
        "a>b",
    )
    result = run(definition, pins={"a": FAIL})
    assert result["success"]
    assert result["outputs"] == {"r": "no luck"}
    assert statuses(result) == {"a": "failed", "b": "skipped", "rescue": "completed"}
    caught = flow({"a": "llm", "b": out("{{a.error.message}}")}, "a:error>b")
    assert run(caught, pins={"a": FAIL})["outputs"] == {"result": "no luck"}


def test_pinned_conditions_and_routers_choose_as_the_node_would():
    definition = flow(
        {
            "c": ("conditional", {"condition": "x"}),
            "r": ("router", {"routes": ["one", "two"], "outputVariable": "way"}),
            "y": out("1", "y"), "n": out("1", "n"), "one": out("1", "one"), "two": out("1", "two"),
        },
        "c:true>y", "c:false>n", "c>r", "r:one>one", "r:two>two",
    )  # fmt: skip
    pins = {"c": {"output": {"conditionMet": False}}, "r": {"output": {"way": "two"}}}
    assert set(run(definition, pins=pins)["outputs"]) == {"n", "two"}
    pins = {"c": {"output": {}, "handle": "true"}, "r": {"output": {}, "handle": "one"}}
    assert set(run(definition, pins=pins)["outputs"]) == {"y", "one"}


def test_at_most_max_concurrent_nodes_run_at_once():
    listed = {f"n{number}": "llm" for number in range(12)}
    pins = {key: {"output": 1, "delay_ms": 5} for key in listed}
    for limit, most in ((3, 3), (1, 1)):
        ctx = FakeContext()
        run(flow(listed, settings={"maxConcurrentNodes": limit}), ctx=ctx, pins=pins)
        assert ctx.world.most_running == most


def test_the_active_time_of_a_run_may_be_limited():
    definition = flow({"a": "llm", "b": out("x")}, "a>b", settings={"timeout": 30})
    result = run(definition, pins={"a": {"output": 1, "delay_ms": 900}})
    assert not result["success"]
    assert "settings.timeout" in result["error"]
    assert statuses(result) == {"a": "not_run", "b": "not_run"}


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ({}, "names no workflow"),
        ({"workflowDefinition": flow({"a": "teleport"})}, "unknown type 'teleport'"),
        ({"workflowDefinition": flow({"a": "noop"}), "inputs": 3}, "inputs"),
        ({"workflowDefinition": flow({"a": "noop"}), "pins": {"z": FAIL}}, "'z'"),
        ({"workflowDefinition": flow({"a": "noop"}), "pins": {"a": {}}}, "output"),
        (3, "object"),
    ],
)
def test_a_payload_that_cannot_run_fails_with_the_reason(payload, text):
    ctx = FakeContext()
    with pytest.raises(WorkflowFailed, match=text) as caught:
        asyncio.run(orchestrator.function(payload, ctx))
    assert caught.value.output["success"] is False
    assert ctx.metadata.values["status"] == "failed"


def test_an_output_over_the_limit_is_refused_by_name():
    result = run(flow({"big": "llm"}), pins={"big": {"output": "x" * 1_000_001}})
    assert "'big'" in result["error"]
    assert result["nodes"]["big"]["attempts"] == 1


def test_a_context_over_the_limit_is_refused_by_name():
    listed = {f"n{number}": "llm" for number in range(52)}
    pins = {key: {"output": "x" * 990_000} for key in listed}
    result = run(flow(listed), pins=pins)
    assert not result["success"]
    assert "context" in result["error"]


def test_a_review_waits_and_its_answer_lands_under_both_names():
    ctx = FakeContext()
    ctx.world.answers["ask/answer"] = ["12"]
    definition = flow(
        {
            "ask": ("humanReview", {"prompt": "How many {{thing}}?", "variableName": "count",
                                    "outputVariable": "answer", "inputType": "number"}),
            "r": out(["{{count}}", "{{answer}}"]),
        },
        "ask>r",
    )  # fmt: skip
    result = run(definition, ctx=ctx, inputs={"thing": "boxes"})
    assert result["outputs"] == {"result": [12, 12]}
    paused = dict(ctx.world.events)["paused"]
    assert paused["prompt"] == "How many boxes?"
    assert paused["tokenId"] == "waitpoint_ask/answer"
    assert "pauseContext" not in ctx.metadata.values


def test_two_reviews_are_open_at_once_and_the_first_is_shown():
    definition = flow(
        {name: ("humanReview", {"prompt": name, "variableName": name}) for name in ("a", "b")}
    )

    async def go():
        ctx = FakeContext()
        task = asyncio.ensure_future(orchestrator.function({"workflowDefinition": definition}, ctx))
        while len(ctx.world.tokens) < 2:
            await asyncio.sleep(0)
        shown = dict(ctx.metadata.values)
        for token in ("waitpoint_a/answer", "waitpoint_b/answer"):
            ctx.world.tokens[token].set_result(FakeTokenResult(True, "ok"))
        return shown, await task, ctx

    shown, result, ctx = asyncio.run(go())
    assert shown["status"] == "paused"
    assert shown["pauseContext"]["nodeId"] == "a"
    assert [form["nodeId"] for form in shown["pauseContexts"]] == ["a", "b"]
    assert result["success"]
    assert ctx.metadata.values["status"] == "completed"


def test_an_answer_that_does_not_fit_leaves_the_question_open():
    ctx = FakeContext()
    ctx.world.answers = {"ask/answer": ["many"], "ask/answer-2": ["4"]}
    definition = flow({"ask": ("humanReview", {"variableName": "n", "inputType": "number"})})
    result = run(definition, ctx=ctx)
    assert result["nodes"]["ask"]["output"]["n"] == 4
    assert "answer_refused" in dict(ctx.world.events)


def test_a_review_that_nobody_answers_in_time_fails_or_takes_its_default():
    late = FakeTokenResult(False, error={"type": "timeout"})
    for more, success in (({}, False), ({"defaultValue": "no"}, True)):
        ctx = FakeContext()
        ctx.world.answers["ask/answer"] = [late]
        config = {"variableName": "v", "timeout": "24h", **more}
        assert run(flow({"ask": ("humanReview", config)}), ctx=ctx)["success"] is success


def test_a_review_whose_variable_was_given_asks_nobody():
    definition = flow({"ask": ("humanReview", {"variableName": "v"}), "r": out("{{v}}")}, "ask>r")
    assert run(definition, inputs={"v": "given"})["outputs"] == {"result": "given"}


def test_wait_sleeps_durably_and_reports():
    ctx = FakeContext()
    definition = flow(
        {"w": ("wait", {"durationValue": "{{n}}", "durationUnit": "days"}), "r": out("ok")}, "w>r"
    )
    result = run(definition, ctx=ctx, inputs={"n": 30})
    assert ctx.world.sleeps == {"w/sleep": 30 * 86400.0}
    assert result["nodes"]["w"]["output"]["waitType"] == "duration"


def each(items, *, body_edge=True, **config):
    return flow(
        {
            "l": ("loop", {"arrayPath": "xs", "outputVariable": "all", **config}),
            "b": ("transform", {"operation": "template", "template": "{{item}}-{{loop.index}}",
                                "outputVariable": "made"}),
            "r": out("{{l.results}}"),
        },
        "l:body>b", "b>l", "l:done>r",
    )  # fmt: skip


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_loop_runs_its_body_for_each_item(concurrency):
    ctx = FakeContext()
    result = run(each(None, maxConcurrency=concurrency), ctx=ctx, inputs={"xs": ["a", "b", "c"]})
    assert result["outputs"]["result"] == [{"made": "a-0"}, {"made": "b-1"}, {"made": "c-2"}]
    assert result["nodes"]["l"]["output"]["iterations"] == 3
    assert result["nodes"]["l"]["output"]["all"]["completed"] is True
    assert result["nodes"]["b"]["runs"] == 3
    assert "l[1]/b/run" in ctx.world.journal


def test_an_empty_array_runs_no_round():
    result = run(each(None), inputs={"xs": []})
    assert result["outputs"] == {"result": []}
    assert statuses(result)["b"] == "skipped"


def test_an_implicit_body_runs_per_item_and_the_rest_after():
    definition = flow(
        {
            "l": ("loop", {"collection": "{{xs}}", "itemVariable": "row"}),
            "b": ("variable", {"name": "last", "value": "{{row.n}}"}),
            "r": out("{{last}}"),
        },
        "l>b", "b>r",
    )  # fmt: skip
    result = run(definition, inputs={"xs": [{"n": 1}, {"n": 2}]})
    assert result["outputs"] == {"result": 2}
    assert result["nodes"]["b"]["runs"] == 2


def test_a_while_loop_sees_what_its_body_wrote():
    definition = flow(
        {
            "start": ("variable", {"name": "n", "value": 0}),
            "l": ("while", {"condition": "n < 4"}),
            "b": ("variable", {"name": "n", "value": 1, "operation": "increment"}),
            "r": out("{{n}}"),
        },
        "start>l", "l:body>b", "b>l", "l:done>r",
    )  # fmt: skip
    result = run(definition)
    assert result["outputs"] == {"result": 4}
    assert result["nodes"]["l"]["output"]["iterations"] == 4


def test_a_while_loop_stops_at_its_limit_and_says_so():
    definition = flow(
        {"l": ("while", {"condition": "true", "maxIterations": 5}), "b": "noop"}, "l:body>b", "b>l"
    )
    entry = run(definition)["nodes"]["l"]
    assert (entry["output"]["iterations"], entry["output"]["completed"]) == (5, False)
    assert "maxIterations" in entry["warnings"][0]


def test_a_count_loop_counts():
    definition = flow({"l": ("repeat", {"count": "{{n}}"}), "b": "noop"}, "l:body>b", "b>l")
    assert run(definition, inputs={"n": 3})["nodes"]["b"]["runs"] == 3


def test_nested_loops_nest():
    inner = {"arrayPath": "row", "itemVariable": "cell"}
    definition = flow(
        {
            "o": ("loop", {"arrayPath": "xs", "itemVariable": "row"}),
            "i": ("loop", inner),
            "b": ("transform", {"transformType": "template", "template": "{{cell}}{{row.length}}"}),
            "r": out("{{o.results}}"),
        },
        "o:body>i", "i:body>b", "b>i", "i:done>o", "o:done>r",
    )  # fmt: skip
    result = run(definition, inputs={"xs": [[1, 2], [3]]})
    assert [entry["results"] for entry in result["outputs"]["result"]] == [["12", "22"], ["31"]]


def test_a_failing_round_fails_the_loop_and_names_the_node():
    definition = each(None)
    definition["nodes"]["b"]["config"]["template"] = None
    result = run(definition, inputs={"xs": [1, 2]}, pins={"b": FAIL})
    assert not result["success"]
    assert '"b": "no luck"' in result["error"]
    assert statuses(result)["l"] == "failed"


def test_a_loop_over_no_array_says_what_it_found():
    result = run(each(None), inputs={"xs": "text"})
    assert "rather than an array" in result["error"]


def test_a_pin_in_a_loop_answers_every_round():
    result = run(each(None), inputs={"xs": [1, 2]}, pins={"b": {"output": {"made": "p"}}})
    assert result["outputs"]["result"] == [{"made": "p"}, {"made": "p"}]


def test_a_cycle_revises_until_its_condition_holds():
    definition = flow(
        {
            "in": "input",
            "draft": ("variable", {"name": "tries", "value": 1, "operation": "increment"}),
            "check": ("conditional", {"condition": "tries >= 3"}),
            "r": out("{{tries}}"),
        },
        "in>draft", "draft>check", "check:true>r", "check:false>draft",
    )  # fmt: skip
    ctx = FakeContext()
    assert run(definition, ctx=ctx)["outputs"] == {"result": 3}
    assert "draft~2/check/run" in ctx.world.journal


def test_a_review_in_a_cycle_asks_again_each_round():
    definition = flow(
        {
            "in": "input",
            "ask": ("humanReview", {"variableName": "verdict"}),
            "check": ("conditional", {"leftValue": "{{verdict}}", "rightValue": "yes"}),
            "r": out("done"),
        },
        "in>ask", "ask>check", "check:true>r", "check:false>ask",
    )  # fmt: skip
    ctx = FakeContext()
    ctx.world.answers = {"ask/answer": ["no"], "ask~1/ask/answer": ["yes"]}
    assert run(definition, ctx=ctx)["success"]


def test_inputs_are_also_called_trigger():
    definition = flow({"t": "trigger", "r": out("{{trigger.body.id}}")}, "t>r")
    assert run(definition, inputs={"body": {"id": 7}})["outputs"] == {"result": 7}


def test_only_listed_environment_variables_are_read(settings, monkeypatch):
    monkeypatch.setenv("SHOWN", "yes")
    monkeypatch.setenv("HIDDEN", "no")
    settings.FLOWMAESTRO = {"TEMPLATE_ENV": ("SHOWN",)}
    definition = flow({"r": out("{{env.SHOWN}} {{env.HIDDEN}}")})
    assert run(definition)["outputs"] == {"result": "yes {{env.HIDDEN}}"}


def test_shared_memory_is_seen_by_later_nodes():
    definition = flow(
        {
            "s": ("shared-memory", {"operation": "store", "key": "k", "value": "{{n}}"}),
            "a": ("shared-memory", {"operation": "append", "key": "list", "value": 1}),
            "r": out(["{{shared.k}}", "{{shared.list}}"]),
        },
        "s>a", "a>r",
    )  # fmt: skip
    assert run(definition, inputs={"n": 5})["outputs"] == {"result": [5, [1]]}


def test_a_replay_runs_no_finished_node_again():
    definition = flow(
        {"a": ("llm", {"outputVariable": "r"}), "b": "noop", "c": out("{{r}}")}, "a>b", "b>c"
    )
    ctx = FakeContext()
    first = run(definition, ctx=ctx, pins={"a": {"output": {"r": 1}}})
    again = ctx.replay()
    second = run(definition, ctx=again, pins={"a": {"output": {"r": 1}}})
    assert first == second
    assert again.world.bodies == []
    del again.world.journal["c/run"]
    third = again.replay()
    assert run(definition, ctx=third, pins={"a": {"output": {"r": 1}}}) == first
    assert third.world.bodies == ["c/run"]


def test_ten_thousand_rounds_cost_the_same_each():
    definition = flow(
        {"l": ("repeat", {"count": 2_000, "maxIterations": 10_000}), "b": "noop"}, "l:body>b", "b>l"
    )
    result = run(definition)
    assert result["nodes"]["b"]["runs"] == 2_000


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_an_example_runs(path):
    definition = json.loads(path.read_text())
    ctx = FakeContext()
    ctx.world.answers["review/answer"] = ["maybe"]
    ctx.world.answers["review/answer-2"] = ["yes"]
    pins = (
        {"health": {"output": {"answer": {"status": 200}}}} if "health" in str(definition) else {}
    )
    result = run(
        definition, ctx=ctx, pins={k: v for k, v in pins.items() if k in definition["nodes"]}
    )
    assert result["success"], result["error"]
    expected = {
        "check-and-approve": {
            "report": {"service": "http://127.0.0.1:8000", "status": 200, "verdict": "accepted"}
        },
        "sort-an-order": {
            "shipment": {"total": 330, "price": 297, "shipping": "van", "isLarge": True}
        },
    }
    if path.stem in expected:
        assert result["outputs"] == expected[path.stem]
    else:
        assert result["outputs"]["outcome"]["limit"] == 1
        assert "Invalid JSON" in result["outputs"]["outcome"]["report"]
