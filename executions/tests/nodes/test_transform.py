"""Tests of transform."""

from __future__ import annotations

import time

import pytest

from executions.nodes import BadConfig
from executions.tests.nodes.calls import output

PEOPLE = [{"name": "Ann", "age": 30}, {"name": "Bo", "age": 20}, {"name": "Cy"}]


def transform(operation, data=None, expression=None, names=None, **more):
    config = {"operation": operation, "inputData": data, "expression": expression, **more}
    return output("transform", config, **(names or {}))


@pytest.mark.parametrize(
    ("operation", "expression", "expected"),
    [
        ("map", "items.name", ["Ann", "Bo", "Cy"]),
        ("filter", "age > 25", {"name": "Ann", "age": 30}),
        ("filter", "age > 10", PEOPLE[:2]),
        ("filter", "age > 99", None),
        ("reduce", "$sum(items.age)", 50),
        ("sort", "age", [PEOPLE[1], PEOPLE[0], PEOPLE[2]]),
        ("custom", "$count(people) * 2", 6),
        ("custom", "$data[0].name", "Ann"),
        ("passthrough", None, PEOPLE),
        ("extract", None, PEOPLE),
    ],
)
def test_arrays_are_reshaped(operation, expression, expected):
    assert transform(operation, "people", expression, {"people": PEOPLE}) == expected


def test_the_data_may_be_a_path_a_reference_or_a_template():
    names = {"o": {"xs": [3, 1, 2]}}
    for data in ("o.xs", "${o.xs}", "{{o.xs}}"):
        assert transform("passthrough", data, None, names) == [3, 1, 2]


def test_merge_adds_arrays_and_spreads_objects():
    assert transform("merge", "a", "${b}", {"a": {"x": 1}, "b": {"q": 2}}) == {"x": 1, "q": 2}
    assert transform("merge", "a", "${b} ${c}", {"a": [1], "b": [2], "c": 3}) == [1, 2]
    config = {"transformType": "merge", "sources": ["a", "b"], "outputVariable": "m"}
    assert output("transform", config, a=[1], b=[2]) == {"m": [1, 2]}


def test_extract_follows_a_path_and_gives_null_when_it_breaks():
    names = {"o": {"a": {"b": 1}}}
    assert transform("extract", "o", "a.b", names) == 1
    assert transform("extract", "o", "a.z.b", names) is None


def test_xml_becomes_objects():
    xml = '<r id="1"><v>a</v><v>b</v></r>'
    assert transform("parseXML", "x", None, {"x": xml}) == {"r": {"id": "1", "v": ["a", "b"]}}


@pytest.mark.parametrize(
    "xml",
    [
        '<!DOCTYPE r [<!ENTITY a "b">]><r>&a;</r>',
        "<a>" * 5_000,
        "<a><b></a>",
        "no xml",
    ],
)
def test_xml_that_is_broken_or_dangerous_is_refused(xml):
    with pytest.raises(BadConfig, match="Invalid XML"):
        transform("parseXML", "x", None, {"x": xml})


def test_json_text_is_parsed():
    assert transform("parseJSON", "x", None, {"x": '{"a": 1}'}) == {"a": 1}
    with pytest.raises(BadConfig, match="Invalid JSON"):
        transform("parseJSON", "x", None, {"x": "{"})


def test_aggregates_count_and_add_up():
    config = {
        "transformType": "aggregate",
        "operations": ["count", "sum", "average", {"type": "max", "field": "age", "as": "oldest"}],
        "inputData": "people",
    }
    assert output("transform", config, people=PEOPLE) == {
        "count": 3, "sum": {"age": 50}, "average": {"age": 25.0}, "oldest": 30,
    }  # fmt: skip


def test_templates_are_filled_and_read_as_json():
    config = {"transformType": "template", "template": '{"n": "{{n}}"}', "outputVariable": "r"}
    assert output("transform", config, n=3) == {"r": {"n": "3"}}


def test_flatten_opens_one_level():
    assert transform("flatten", "x", None, {"x": [1, [2, [3]]]}) == [1, 2, [3]]


@pytest.mark.parametrize(
    ("operation", "expression", "expected"),
    [
        ("map", "x => x * 2", [6, 2, 4]),
        ("map", "(x, i) => x + i;", [3, 2, 4]),
        ("filter", "x => x > least", [3, 2]),
        ("reduce", "(a, b) => a + b", 6),
        ("reduce", "(a, b) => a.concat([b * 2]), []", [6, 2, 4]),
        ("sort", "(a, b) => b - a", [3, 2, 1]),
    ],
)
def test_arrow_functions_work_as_in_javascript(operation, expression, expected):
    assert transform(operation, "xs", expression, {"xs": [3, 1, 2], "least": 1}) == expected


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("x => x.y.z", "reading 'z'"),
        ("x => ", "SyntaxError"),
        ("x => { while (true) {} }", "longer than its limit"),
        ("'=>'", "not a function"),
    ],
)
def test_a_failing_arrow_function_is_a_clear_error(expression, reason, monkeypatch):
    monkeypatch.setattr("executions.nodes.expressions.TIME_LIMIT_SECONDS", 1.0)
    with pytest.raises(BadConfig, match=reason):
        transform("map", "xs", expression, {"xs": [{}]})


def test_what_is_no_array_is_named():
    with pytest.raises(BadConfig, match="requires array input"):
        transform("map", "x", "items", {"x": 1})


@pytest.mark.parametrize(
    "expression", ["$sum(", "$nothing()", "1/0", "($f := function(){$f()}; $f())"]
)
def test_a_failing_expression_is_a_clear_error(expression, monkeypatch):
    monkeypatch.setattr("executions.nodes.expressions.TIME_LIMIT_SECONDS", 1.0)
    with pytest.raises(BadConfig, match="JSONata"):
        transform("custom", None, expression)


def test_an_endless_expression_is_stopped(monkeypatch):
    monkeypatch.setattr("executions.nodes.expressions.TIME_LIMIT_SECONDS", 0.5)
    begun = time.monotonic()
    with pytest.raises(BadConfig, match="JSONata"):
        transform("custom", None, "$sum([1..9000000].($ * $ * $))")
    assert time.monotonic() - begun < 30
