"""Tests of parsing definitions."""

from __future__ import annotations

import pytest

from executions import nodes
from executions.rules.definition import InvalidDefinition, parse, read
from executions.tests.flows import flow


def codes(definition):
    return [issue.code for issue in read(definition, nodes.find)[1]]


def test_both_forms_give_the_same_graph():
    mapped = flow({"a": ("input", {"inputName": "x"}), "b": ("output", {"value": "1"})}, "a>b")
    listed = {
        "name": "test",
        "nodes": [
            {"id": "a", "type": "input", "data": {"inputName": "x", "label": "a"}},
            {"id": "b", "type": "output", "data": {"value": "1", "label": "b"}},
        ],
        "edges": mapped["edges"],
    }
    one, two = parse(mapped, nodes.find), parse(listed, nodes.find)
    assert list(one.nodes) == list(two.nodes) == ["a", "b"]
    assert one.edges == two.edges
    assert [node.name for node in two.nodes.values()] == ["a", "b"]
    assert one.nodes["a"].config.input_name == two.nodes["a"].config.input_name == "x"


def test_comments_and_their_edges_are_dropped():
    graph = parse(flow({"a": "noop", "c": "Comment", "b": "noop"}, "a>b", "c>b"), nodes.find)
    assert list(graph.nodes) == ["a", "b"]
    assert [edge.source for edge in graph.edges] == ["a"]


def test_two_edges_between_one_pair_stay_two():
    config = {"leftValue": "1", "rightValue": "1"}
    graph = parse(flow({"c": ("if", config), "b": "noop"}, "c:true>b", "c:false>b"), nodes.find)
    assert [edge.handle for edge in graph.edges] == ["true", "false"]


@pytest.mark.parametrize(
    ("definition", "code"),
    [
        (None, "INVALID_INPUT"),
        ([], "INVALID_INPUT"),
        ({}, "NO_NODES"),
        (flow({}), "NO_NODES"),
        (flow({"c": "comment"}), "NO_NODES"),
        (flow({"a": "teleport"}), "UNKNOWN_NODE_TYPE"),
        (flow({"a": "noop"}, "a>b"), "INVALID_EDGE_TARGET"),
        (flow({"a": "noop"}, "b>a"), "INVALID_EDGE_SOURCE"),
        ({"nodes": {"a": 1}, "edges": []}, "INVALID_NODE"),
        ({"nodes": {"a": {"config": {}}}, "edges": []}, "INVALID_NODE"),
        ({"nodes": {"a": {"type": "noop", "config": 3}}, "edges": []}, "INVALID_NODE"),
        ({"nodes": [{"type": "noop"}], "edges": []}, "INVALID_NODE"),
        ({"nodes": {"a/b": {"type": "noop"}}, "edges": []}, "INVALID_NODE"),
        ({"nodes": {"a": {"type": "noop"}}, "edges": [3]}, "INVALID_EDGE"),
        ({"nodes": {"a": {"type": "noop"}}, "edges": {}}, "INVALID_EDGE"),
        ({"nodes": {"a": {"type": "noop"}}, "edges": [{"source": []}]}, "INVALID_EDGE_SOURCE"),
        (
            {"nodes": [{"id": "a", "type": "noop"}, {"id": "a", "type": "noop"}], "edges": []},
            "DUPLICATE_NODE",
        ),
        (flow({"a": "noop"}, settings={"maxConcurrentNodes": 0}), "INVALID_SETTINGS"),
        (flow({"a": "noop"}, settings=[]), "INVALID_SETTINGS"),
        (flow({"a": ("noop", {}, {"onError": {"strategy": "hope"}})}), "INVALID_ON_ERROR"),
        (
            flow({"a": ("noop", {}, {"onError": {"strategy": "goto", "gotoNode": "x"}})}),
            "UNKNOWN_GOTO",
        ),
        (flow({"a": "http"}), "INVALID_CONFIG"),
        (flow({"a": "conditional"}), "INVALID_CONFIG"),
        (flow({"a": ("transform", {"operation": "twist"})}), "INVALID_CONFIG"),
        (flow({"a": ("noop", {"retry": {"maxAttempts": 0}})}), "INVALID_CONFIG"),
        (flow({"a": ("noop", {"timeout": -1})}), "INVALID_CONFIG"),
        (flow({"a": ("noop", {"text": "x" * 1_100_000})}), "TOO_LARGE"),
        (flow({f"n{i}": "noop" for i in range(2_001)}), "TOO_LARGE"),
    ],
)
def test_what_is_wrong_is_named_by_a_code(definition, code):
    graph, issues = read(definition, nodes.find)
    assert graph is None
    assert code in [issue.code for issue in issues]
    assert all(issue.message.endswith((".", "}")) or issue.message for issue in issues)


def test_a_deeply_nested_definition_is_refused():
    deep: dict = {}
    level = deep
    for _ in range(5_000):
        level["x"] = {}
        level = level["x"]
    assert codes(flow({"a": ("noop", deep)})) == ["TOO_DEEP"]


def test_all_errors_are_told_at_once_with_node_and_remedy():
    definition = flow({"a": "teleport", "b": "http"}, "a>b", "b>z")
    with pytest.raises(InvalidDefinition) as caught:
        parse(definition, nodes.find)
    assert {issue.code for issue in caught.value.issues} == {
        "UNKNOWN_NODE_TYPE",
        "INVALID_CONFIG",
        "INVALID_EDGE_TARGET",
    }
    assert "choose a type of the catalogue" in str(caught.value)
    assert caught.value.issues[0].as_json()["node"] == "a"


def test_the_config_of_a_pinned_node_is_not_checked():
    definition = flow({"a": "http"})
    assert parse(definition, nodes.find, pinned=frozenset({"a"})).nodes["a"].type == "http"


@pytest.mark.parametrize(
    ("kind", "config", "field", "value"),
    [
        ("conditional", {"condition": "a > 1"}, "expression", "a > 1"),
        ("if", {"conditionType": "expression", "expression": "a"}, "expression", "a"),
        ("switch", {"switchVariable": "x", "cases": ["a"]}, "expression", "{{x}}"),
        ("transform", {"transformType": "template", "template": "t"}, "operation", "template"),
        ("loop", {"collection": "{{xs}}"}, "array_path", "{{xs}}"),
        ("forEach", {"items": "{{xs}}"}, "loop_type", "forEach"),
        ("repeat", {"count": 3}, "loop_type", "count"),
        ("while", {"condition": "x"}, "loop_type", "while"),
        ("humanReview", {"reviewPrompt": "Ok?", "outputVariable": "o"}, "variable_name", "o"),
        ("shared-memory", {"operation": "set", "key": "k"}, "operation", "store"),
        ("delay", {"delayType": "duration", "duration": "10"}, "wait_type", "duration"),
        ("wait", {"duration": "{{t}}", "durationUnit": "timestamp"}, "wait_type", "until"),
        ("wait", {"triggerType": "webhook", "event": "signed"}, "wait_type", "event"),
        ("input", {"inputVariable": "x"}, "input_name", "x"),
        ("http", {"url": "u", "headers": {"A": "b"}}, "headers", (("A", "b"),)),
        ("http", {"url": "u", "headers": [{"key": "A", "value": "b"}]}, "headers", (("A", "b"),)),
    ],
)
def test_the_template_dialect_is_read_as_the_strict_one(kind, config, field, value):
    node = parse(flow({"n": (kind, config)}), nodes.find).nodes["n"]
    assert getattr(node.config, field) == value


def test_retry_and_timeout_are_read_from_the_config():
    config = {"retry": {"maxAttempts": 5, "minTimeoutInMs": 250}, "timeout": 1500}
    node = parse(flow({"n": ("noop", config)}), nodes.find).nodes["n"]
    assert node.retry is not None
    assert (node.retry.max_attempts, node.retry.min_timeout, node.timeout) == (5, 0.25, 1.5)
