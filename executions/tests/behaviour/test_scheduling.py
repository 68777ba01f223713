"""Joins, skips, failures and what onError makes of them, on whole runs."""

from __future__ import annotations

import pytest

from executions.tests.fakes import FakeContext
from executions.tests.flows import flow, run, statuses

FAIL = {"error": {"message": "no luck", "retryable": False}}
IF = ("conditional", {"leftValue": "{{x}}", "operator": "==", "rightValue": "1"})
SWITCH = ("switch", {"expression": "{{x}}", "cases": ["a", "b"]})


def out(value, name="result", **more):
    return ("output", {"outputName": name, "value": value, "format": "json", **more})


def on_error(strategy, **more):
    return {"onError": {"strategy": strategy, **more}}


def ran(result):
    """The nodes that completed."""
    return {node for node, status in statuses(result).items() if status == "completed"}


@pytest.mark.parametrize(
    ("nodes", "edges", "pins", "completed", "success"),
    [
        # A join whose last open edge dies after the others completed.
        ({"a": "llm", "c": IF, "b": "noop", "j": "noop"}, "a>j c:true>b b>j", {}, "acj", True),
        # The same with a failure instead of a skip.
        ({"a": "noop", "b": "llm", "j": "noop"}, "a>j b>j", {"b": FAIL}, "aj", False),
        # A join of a failure and what the failure skipped.
        ({"b": "llm", "s": "noop", "j": "noop"}, "b>s s>j b>j", {"b": FAIL}, "", False),
        # The skip goes on down a chain and stops at a join that something else feeds.
        ({"c": IF, "p": "noop", "q": "noop", "k": "noop", "j": "noop"},
         "c:true>p p>q q>j k>j", {}, "ckj", True),
        # A diamond whose both sides are skipped.
        ({"c": IF, "p": "noop", "q": "noop", "j": "noop"}, "c:true>p c:true>q p>j q>j", {},
         "c", True),
        # Both outcomes of a condition at one node.
        ({"c": IF, "j": "noop"}, "c:true>j c:false>j", {}, "cj", True),
        # Two edges of one pair, of which one is dead in either case.
        ({"s": SWITCH, "j": "noop"}, "s:a>j s:b>j", {}, "s", True),
        # An edge without a handle beside the two ways.
        ({"c": IF, "y": "noop", "n": "noop", "l": "noop"}, "c:true>y c:false>n c>l", {}, "cnl",
         True),
        # A join of both ways comes after whichever was taken.
        ({"c": IF, "y": "noop", "n": "noop", "j": "noop"}, "c:true>y c:false>n y>j n>j", {},
         "cnj", True),
        # A condition behind a condition.
        ({"c": IF, "d": IF, "y": "noop", "n": "noop", "j": "noop"},
         "c:false>d d:true>y d:false>n c:true>j y>j n>j", {}, "cdnj", True),
        # An error edge joins with the ordinary way.
        ({"a": "llm", "b": "noop", "r": "noop", "j": "noop"}, "a>b a:error>r b>j r>j",
         {"a": FAIL}, "rj", True),
        ({"a": "llm", "b": "noop", "r": "noop", "j": "noop"}, "a>b a:error>r b>j r>j",
         {"a": {"output": 1}}, "abj", True),
        # Several failures, one of which is handled.
        ({"a": "llm", "r": "noop", "b": "llm", "k": "noop"}, "a:error>r b>k",
         {"a": FAIL, "b": FAIL}, "r", False),
        # Nobody leads to a goto's target but the failure.
        ({"a": ("llm", {}, on_error("goto", gotoNode="r")), "b": "noop", "r": "noop"}, "a>b",
         {"a": {"output": 1}}, "ab", True),
        ({"a": ("llm", {}, on_error("goto", gotoNode="r")), "b": "noop", "r": "noop"}, "a>b",
         {"a": FAIL}, "r", True),
        # goto to a node that the ordinary way reaches as well.
        ({"a": ("llm", {}, on_error("goto", gotoNode="j")), "b": "noop", "j": "noop"},
         "a>b b>j", {"a": FAIL}, "j", True),
        ({"a": ("llm", {}, on_error("goto", gotoNode="r")), "e": "noop", "r": "noop"},
         "a:error>e", {"a": FAIL}, "er", True),
        # The strategies go before an error edge.
        ({"a": ("llm", {}, on_error("continue")), "b": "noop", "e": "noop"}, "a>b a:error>e",
         {"a": FAIL}, "ab", True),
        ({"a": ("llm", {}, on_error("fallback", fallbackValue=1)), "b": "noop", "e": "noop"},
         "a>b a:error>e", {"a": FAIL}, "ab", True),
        ({"a": ("llm", {}, on_error("fail")), "b": "noop"}, "a>b", {"a": FAIL}, "", False),
        # A failed condition that is passed over does not hold; a failed switch takes its default.
        ({"c": (*IF, on_error("continue")), "y": "noop", "n": "noop"}, "c:true>y c:false>n",
         {"c": FAIL}, "cn", True),
        ({"c": (*IF, on_error("fallback", fallbackValue={"conditionMet": True})), "y": "noop",
          "n": "noop"}, "c:true>y c:false>n", {"c": FAIL}, "cy", True),
        ({"s": (*SWITCH, on_error("continue")), "y": "noop", "n": "noop"}, "s:a>y s:default>n",
         {"s": FAIL}, "sn", True),
        # A node without edges runs beside the rest.
        ({"a": "noop", "b": "noop", "z": "noop"}, "a>b", {}, "abz", True),
    ],
)  # fmt: skip
def test_what_runs_after_skips_and_failures(nodes, edges, pins, completed, success):
    pins = {"a": {"output": 1}, **pins} if nodes.get("a") == "llm" else pins
    result = run(flow(nodes, *edges.split()), inputs={"x": "2"}, pins=pins)
    assert ran(result) == set(completed)
    assert result["success"] is success
    assert result["status"] == ("completed" if success else "failed")
    assert set(statuses(result).values()) <= {"completed", "failed", "skipped"}


def test_the_error_names_every_failing_node_and_keeps_what_came_out():
    definition = flow(
        {"a": "llm", "b": "llm", "c": "llm", "o": out("{{c}}", "o"), "p": out("{{a}}", "p")},
        "c>o", "a>p",
    )  # fmt: skip
    result = run(definition, pins={"a": FAIL, "b": FAIL, "c": {"output": 3}})
    assert result["error"] == (
        'Workflow completed with 2 failed nodes: {"a": "no luck", "b": "no luck"}'
    )
    assert result["outputs"] == {"o": 3}


def test_a_handled_failure_leaves_its_error_where_the_output_would_be():
    definition = flow(
        {"a": ("llm", {"outputVariable": "r"}, on_error("continue")), "o": out("{{a.error.type}}")},
        "a>o",
    )
    result = run(definition, pins={"a": {"error": {"message": "m", "type": "Gone"}}})
    assert result["nodes"]["a"]["output"] == {"error": {"message": "m", "type": "Gone"}}
    assert result["outputs"] == {"result": "Gone"}


def test_a_fallback_is_a_template_like_any_other_value():
    fallback = on_error("fallback", fallbackValue={"r": "{{spare}}", "text": "for {{spare}}"})
    definition = flow({"a": ("llm", {}, fallback), "o": out(["{{r}}", "{{text}}"])}, "a>o")
    result = run(definition, pins={"a": FAIL}, inputs={"spare": 7})
    assert result["outputs"] == {"result": [7, "for 7"]}


@pytest.mark.parametrize(
    "on",
    [
        "continue",
        {"strategy": "continue"},
        {"errorStrategy": "continue"},
    ],
)
def test_on_error_is_understood_in_each_form(on):
    listed = {
        "name": "list",
        "nodes": [
            {"id": "a", "type": "llm", "data": {"label": "A", "onError": on}},
            {"id": "b", "type": "output", "data": {"outputName": "o",
             "value": "{{a.error.message}}"}},
        ],
        "edges": [{"id": "e", "source": "a", "target": "b"}],
    }  # fmt: skip
    assert run(listed, pins={"a": FAIL})["outputs"] == {"o": "no luck"}


def test_a_slow_branch_does_not_hold_back_a_fast_one():
    # A batch that waits for all of its nodes would start `after` last.
    definition = flow({"slow": "llm", "fast": "noop", "after": "noop"}, "fast>after")
    pins = {"slow": {"output": 1, "delay_ms": 120}}

    ctx = FakeContext()
    run(definition, ctx=ctx, pins=pins)
    ended = [data["nodeId"] for kind, data in ctx.world.events if kind == "node_completed"]
    assert ended == ["fast", "after", "slow"]


@pytest.mark.parametrize(
    ("retry", "attempts", "backoffs"),
    [
        (None, 3, [1.0, 2.0]),
        (1, 1, []),
        (False, 1, []),
        ({"maxAttempts": 4}, 4, [1.0, 2.0, 4.0]),
        ({"maxRetries": 1}, 2, [1.0]),
        ({"max_attempts": 3, "factor": 3, "minTimeoutInMs": 100}, 3, [0.1, 0.3]),
        ({"attempts": 3, "initialDelay": 2, "maxDelay": 3}, 3, [2.0, 3.0]),
        ({"enabled": False}, 1, []),
    ],
)
def test_a_node_is_tried_as_its_policy_says(retry, attempts, backoffs):

    ctx = FakeContext()
    config = {} if retry is None else {"retry": retry}
    result = run(flow({"a": ("llm", config)}), ctx=ctx, pins={"a": {"error": "no luck"}})
    assert result["nodes"]["a"]["attempts"] == attempts
    assert ctx.world.backoffs == pytest.approx(backoffs)


def test_a_policy_may_stand_beside_the_config():
    definition = flow({"a": ("llm", {}, {"retry": {"maxAttempts": 2}, "timeout": 20})})
    result = run(definition, pins={"a": {"output": 1, "delay_ms": 900}})
    assert result["nodes"]["a"]["error"]["type"] == "TimeoutError"
    assert result["nodes"]["a"]["attempts"] == 2


def test_a_configuration_error_is_not_tried_again():
    definition = flow({"a": ("transform", {"operation": "map", "inputData": "x", "expression": "y",
                                           "retry": 5})})  # fmt: skip
    assert run(definition, inputs={"x": 1})["nodes"]["a"]["attempts"] == 1


@pytest.mark.parametrize(
    ("nodes", "edges", "outputs"),
    [
        ({"a": out("1", "x"), "b": out("2", "x"), "c": out("3", "y")}, "", {"x": 2, "y": 3}),
        ({"a": out("1", "x"), "b": "noop"}, "a>b", {"x": 1}),
        ({"a": ("variable", {"name": "n", "value": 1}), "b": ("llm", {})}, "", {"n": 1, "b": 5}),
        ({"l": ("loop", {"count": 2}), "b": ("noop", {})}, "l:body>b b>l",
         {"iterations": 2, "results": [{"skipped": True}] * 2, "completed": True}),
        ({"a": ("variable", {"name": "n", "operation": "increment"}),
          "c": ("conditional", {"condition": "n > 2"})}, "a>c c:false>a",
         {"conditionMet": True, "branch": "true", "expression": "n > 2"}),
    ],
)  # fmt: skip
def test_the_outputs_are_those_of_the_output_nodes_or_of_the_last(nodes, edges, outputs):
    result = run(
        flow(nodes, *edges.split()), pins={"b": {"output": 5}} if "llm" in str(nodes) else {}
    )
    assert result["outputs"] == outputs


@pytest.mark.parametrize(
    ("entry", "order"),
    [(None, ["a", "b", "c"]), ("b", ["b", "c", "a"]), ("nobody", ["a", "b", "c"])],
)
def test_a_ring_begins_at_its_entry_point(entry, order):

    ctx = FakeContext()
    definition = flow(
        {"a": "noop", "b": "noop", "c": "noop"}, "a>b", "b>c", "c>a",
        settings={"maxRounds": 1}, entryPoint=entry,
    )  # fmt: skip
    run(definition, ctx=ctx)
    begun = [data["nodeId"] for kind, data in ctx.world.events if kind == "node_started"]
    assert begun[:3] == order
