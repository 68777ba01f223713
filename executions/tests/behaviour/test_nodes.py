"""Reviews, waits, memory, variables, and pins that stand in for any node."""

from __future__ import annotations

import pytest

from executions.tests.behaviour.test_values import INPUTS
from executions.tests.fakes import FakeContext, FakeTokenResult
from executions.tests.flows import flow, run, statuses


def review(config, answers=(), inputs=None, **more):
    ctx = FakeContext()
    for number, answer in enumerate(answers, start=1):
        key = "ask/answer" if number == 1 else f"ask/answer-{number}"
        ctx.world.answers[key] = [answer]
    definition = flow(
        {"ask": ("humanReview", config), "o": ("output", {"outputName": "o", "format": "json",
         "value": ["{{verdict}}", "{{ask.verdict}}", "{{also}}"]})},
        "ask>o",
    )  # fmt: skip
    return ctx, run(definition, ctx=ctx, inputs=inputs or {}, **more)


BOTH = {"variableName": "verdict", "outputVariable": "also"}


@pytest.mark.parametrize(
    ("config", "answers", "value"),
    [
        ({}, ["yes"], "yes"), ({"inputType": "text"}, [5], "5"),
        ({"inputType": "number"}, ["4.0"], 4), ({"inputType": "number"}, ["many", "7"], 7),
        ({"inputType": "boolean"}, ["1"], True), ({"inputType": "boolean"}, [False], False),
        ({"inputType": "json"}, ['{"ok": true}'], {"ok": True}),
        ({"inputType": "json"}, [{"ok": 1}], {"ok": 1}), ({"inputType": "json"}, [[1]], [1]),
        ({}, [{"response": "inner", "variableName": "verdict", "submittedAt": 1}], "inner"),
        ({"inputType": "number", "validation": {"min": 1, "max": 5}}, ["9", 0, "3"], 3),
        ({"validation": {"pattern": "^(approve|reject)$"}}, ["perhaps", "reject"], "reject"),
        ({"required": False}, [""], ""), ({}, ["", "said"], "said"),
        ({"required": False, "defaultValue": "{{n}}!"}, [], "3!"),
        ({"timeout": 1000, "defaultValue": "late"}, [FakeTokenResult(False)], "late"),
    ],
)  # fmt: skip
def test_a_review_gives_the_answer_under_both_names(config, answers, value):
    _, result = review({**BOTH, "prompt": "Go?", **config}, answers, {"n": 3})
    assert result["success"], result.get("error")
    assert result["outputs"]["o"] == [value, value, value]


@pytest.mark.parametrize("pin", [{"verdict": "no"}, {"also": "no"}, "no"])
def test_a_pinned_review_answers_as_the_real_one_does(pin):
    _, result = review(BOTH, pins={"ask": {"output": pin}})
    found = [value for value in result["outputs"]["o"] if "{{" not in str(value)]
    assert set(found) == {"no"} and len(found) >= 2


def test_an_answer_to_one_question_does_not_answer_another():
    ctx = FakeContext()
    ctx.world.answers = {"a/answer": ["yes"], "b/answer": ["no"]}
    definition = flow(
        {"a": ("humanReview", {"reviewPrompt": "Send?"}),
         "b": ("humanReview", {"reviewPrompt": "Delete?"}),
         "o": ("output", {"outputName": "o", "value": ["{{a.userResponse}}", "{{userResponse}}"]})},
        "a>b", "b>o",
    )  # fmt: skip
    assert run(definition, ctx=ctx)["outputs"]["o"] == ["yes", "no"]


@pytest.mark.parametrize(
    ("before", "inputs", "asked"),
    [
        (("variable", {"name": "verdict", "value": "set"}), {}, False),
        ("noop", {"verdict": "set"}, False),
        # A key of some node's output is no answer.
        (("transform", {"transformType": "template", "template": {"verdict": "set"}}), {}, True),
    ],
)
def test_what_was_given_answers_a_review(before, inputs, asked):
    ctx = FakeContext()
    ctx.world.answers["ask/answer"] = ["set"]
    definition = flow({"p": before, "ask": ("humanReview", BOTH)}, "p>ask")
    entry = run(definition, ctx=ctx, inputs=inputs)["nodes"]["ask"]["output"]
    assert (entry["verdict"], entry["_humanReviewMetadata"]["asked"]) == ("set", asked)


@pytest.mark.parametrize(
    ("config", "seconds"),
    [
        ({"duration": 250}, 0.25),
        ({"duration": "24h"}, 86400),
        ({"duration": "1h 30m"}, 5400),
        ({"duration": "2 days"}, 172800),
        ({"duration": "500 ms"}, 0.5),
        ({"durationValue": 2, "durationUnit": "days"}, 172800),
        ({"durationValue": "{{n}}", "durationUnit": "Minutes"}, 180),
        ({"durationValue": 1, "durationUnit": "week"}, 604800),
        ({"delayType": "fixed", "duration": "5", "durationUnit": "seconds"}, 5),
        ({"delayType": "relative", "delay": 3}, 3),
        ({"duration": 0}, None),
    ],
)
def test_a_wait_lasts_as_long_as_is_written(config, seconds):
    ctx = FakeContext()
    result = run(flow({"w": ("wait", config)}), ctx=ctx, inputs=INPUTS)
    assert result["success"], result.get("error")
    assert ctx.world.sleeps.get("w/sleep") == seconds


@pytest.mark.parametrize(
    ("config", "output", "shared"),
    [
        ({"operation": "store", "key": "k", "value": "{{n}}"}, {"stored": True}, 3),
        (
            {"operation": "set", "key": "{{key}}", "value": {"a": "{{text}}"}},
            {"key": "k"},
            {"a": "hi"},
        ),
        ({"operation": "append", "key": "k", "value": 1}, {"stored": True}, [1]),
        ({"operation": "get", "key": "k"}, {"key": "k", "value": None}, "{{shared.k}}"),
        ({"memoryKey": "k", "value": "x", "outputVariable": "v"}, {"v": "x"}, "x"),
    ],
)
def test_shared_memory_keeps_values_for_the_run(config, output, shared):
    definition = flow(
        {"m": ("shared-memory", config), "o": ("output", {"outputName": "o", "format": "json",
                                                          "value": "{{shared.k}}"})},
        "m>o",
    )  # fmt: skip
    result = run(definition, inputs=INPUTS)
    assert result["nodes"]["m"]["output"].items() >= output.items()
    assert result["outputs"] == {"o": shared}


@pytest.mark.parametrize(
    ("config", "value"),
    [
        ({"variableName": "v", "value": "{{n}}"}, 3),
        ({"name": "v", "value": {"x": ["{{text}}"]}}, {"x": ["hi"]}),
        ({"assignments": [{"name": "v", "value": 1}, {"key": "w", "value": 2}]}, 1),
        ({"variables": {"v": None}}, None),
        ({"name": "v", "operation": "append", "value": 1}, [1]),
        ({"name": "v", "operation": "increment"}, 1),
        ({"name": "v", "operation": "increment", "value": "2.5"}, 2.5),
    ],
)
@pytest.mark.parametrize("pinned", [False, True])
def test_a_variable_is_seen_by_all_pinned_or_not(config, value, pinned):
    definition = flow(
        {"s": ("variable", config),
         "o": ("output", {"outputName": "o", "format": "json", "value": "{{variables.v}}"})},
        "s>o",
    )  # fmt: skip
    pins = {"s": {"output": {"v": value}}} if pinned else {}
    assert run(definition, inputs=INPUTS, pins=pins)["outputs"] == {"o": value}


@pytest.mark.parametrize(
    ("pin", "status", "attempts"),
    [
        ({"output": 1}, "completed", 1), ({"output": None}, "completed", 1),
        ({"error": "x"}, "failed", 3),
        ({"error": {"message": "x", "retryable": False}}, "failed", 1),
        ({"attempts": [{"error": "x"}, {"output": 1}]}, "completed", 2),
        ({"attempts": [{"error": "x"}]}, "failed", 3),
        ({"attempts": [{"error": "x"}, {"error": "y"}, {"output": 1}]}, "completed", 3),
        ({"attempts": [{"error": "x"}, {"error": {"message": "y", "retryable": False}}]}, "failed",
         2),
        ({"output": 1, "delay_ms": 1}, "completed", 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["llm", "noop", "wait", "humanReview"])
def test_a_pin_stands_in_for_any_node(kind, pin, status, attempts):
    entry = run(flow({"a": (kind, {"duration": 1})}), pins={"a": pin})["nodes"]["a"]
    assert (entry["status"], entry["attempts"]) == (status, attempts)


def test_nodes_of_both_forms_and_dialects_work_together():
    listed = {
        "name": "list", "settings": {"maxConcurrentNodes": 2},
        "nodes": [
            {"id": "c", "type": "Comment", "data": {"label": "why"}},
            {"id": "i", "type": "input", "data": {"label": "In", "inputVariable": "n"}},
            {"id": "q", "type": "if", "data": {"condition": "n > 1"}},
            {"id": "y", "type": "templateOutput", "data": {"template": "{{n}} is big"}},
        ],
        "edges": [
            {"id": "1", "source": "i", "target": "q"}, {"id": "2", "source": "c", "target": "q"},
            {"id": "3", "source": "q", "target": "y", "sourceHandle": "true"},
        ],
    }  # fmt: skip
    result = run(listed, inputs={"n": 5})
    assert result["outputs"] == {"output": "5 is big"}
    assert set(statuses(result)) == {"i", "q", "y"}
