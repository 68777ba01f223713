"""Tests of input, output, templateOutput, conditional, switch, trigger, variable and the rest."""

from __future__ import annotations

import pytest

from executions import nodes
from executions.nodes import BadConfig
from executions.tests.nodes.calls import call, output, result


def test_input_hands_on_one_input_or_all():
    assert output("input", {"inputName": "x"}, x=1, y=2) == {"x": 1}
    assert output("input", {}, x=1, y=2) == {"x": 1, "y": 2}
    assert output("input", {"inputName": "a", "inputVariable": "b"}, b=1) == {"a": 1, "b": 1}


def test_an_input_that_is_not_given_takes_its_default():
    config = {"inputName": "x", "inputType": "json", "defaultValue": '{"a": 1}'}
    assert output("input", config) == {"x": {"a": 1}}
    assert output("input", {"inputName": "x", "required": True}) == {"x": None}


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("string", "n={{n}}", "n=3"),
        ("string", "{{n}}", "3"),
        ("string", "{{o}}", '{"k":"v"}'),
        ("json", "{{o}}", {"k": "v"}),
        ("json", "{{text}}", {"a": 1}),
        ("json", '{"q": "{{quote}}"}', {"q": 'a "b"'}),
        ("json", "plain", "plain"),
        ("json", {"deep": ["{{n}}"]}, {"deep": [3]}),
        ("number", "{{n}}", 3),
        ("number", " 4.5 ", 4.5),
        ("number", "none", None),
        ("boolean", "{{yes}}", True),
        ("boolean", "false", False),
        ("boolean", "", False),
    ],
)
def test_output_gives_its_value_in_the_wanted_format(kind, value, expected):
    config = {"outputName": "r", "value": value, "format": kind}
    inputs = {"n": 3, "o": {"k": "v"}, "text": '{"a":1}', "yes": True, "quote": 'a "b"'}
    assert output("output", config, **inputs) == {"r": expected}


def test_template_output_writes_markdown_or_safe_html():
    config = {"outputName": "doc", "template": "# {{t}}"}
    assert output("templateOutput", config, t="Hi") == {"doc": "# Hi"}
    html = output("templateOutput", {**config, "outputFormat": "html"}, t="<b>x</b>")["doc"]
    assert html == "<h1>&lt;b&gt;x&lt;/b&gt;</h1>\n"


def test_conditional_compares_or_evaluates():
    found = result("conditional", {"leftValue": "{{n}}", "operator": ">", "rightValue": 2}, n=3)
    assert found.handle == "true"
    assert found.output == {
        "conditionMet": True, "branch": "true", "leftValue": "3", "rightValue": "2",
        "operator": ">",
    }  # fmt: skip
    found = result("if", {"condition": "n > 5", "outputVariable": "big"}, n=3)
    assert (found.handle, found.output["big"]) == ("false", False)


def test_a_name_missing_in_a_comparison_is_empty_text():
    config = {"leftValue": "{{nobody.mail}}", "operator": "==", "rightValue": ""}
    assert result("conditional", config).handle == "true"


def test_a_condition_that_is_no_expression_says_so():
    with pytest.raises(BadConfig, match="not an expression"):
        output("conditional", {"condition": "a => b"})


@pytest.mark.parametrize(
    ("value", "handle"),
    [("gold", "gold"), ("GOLD", "gold"), ("silver-2", "silver*"), ("5.0", "5"), ("tin", "rest")],
)
def test_switch_leaves_by_its_first_match(value, handle):
    config = {
        "expression": "{{v}}",
        "cases": [{"value": "gold"}, {"value": "silver*"}, {"value": 5}],
        "defaultCase": "rest",
    }
    found = result("switch", config, v=value)
    assert found.handle == handle
    assert found.output["evaluatedExpression"] == value


def test_trigger_hands_on_what_started_the_run():
    assert output("trigger", {"triggerType": "webhook"}, a=1) == {"a": 1}
    assert output("trigger", {"outputVariable": "event"}, a=1) == {"event": {"a": 1}}
    assert output("trigger", {"outputVariable": "event"}, event={"b": 2}) == {"event": {"b": 2}}


def test_variable_sets_appends_and_increments():
    assert result("variable", {"name": "x", "value": "{{n}}"}, n=3).variables == {"x": 3}
    config = {"name": "xs", "value": 2, "operation": "append"}
    assert result("variable", config, xs=[1]).variables == {"xs": [1, 2]}
    config = {"name": "n", "operation": "increment"}
    assert result("variable", config, n=3).variables == {"n": 4}
    listed = {"variables": [{"name": "a", "value": 1}, {"name": "b", "value": 2}]}
    assert output("variable", listed) == {"a": 1, "b": 2}


@pytest.mark.parametrize("kind", ["annotation", "label", "group", "note"])
def test_annotations_pass_through(kind):
    assert output(kind, {"text": "hello"}) == {}


@pytest.mark.parametrize("kind", ["noop", "skip", "placeholder"])
def test_places_kept_free_are_skipped(kind):
    assert output(kind, {}) == {"skipped": True}


def test_types_are_found_by_any_name_in_any_case():
    assert nodes.find("IF") is nodes.find("conditional")
    assert nodes.find("kbQuery") is nodes.find("knowledgeBaseQuery")
    assert nodes.find("no such") is None


def test_every_type_describes_itself_and_has_a_schema():
    for spec in nodes.catalogue():
        assert spec.description.endswith("."), spec.type
        assert spec.config.model_json_schema()["type"] == "object"
        assert (spec.run is None) == bool(spec.missing), spec.type


def test_a_type_that_runs_replaces_its_declaration_but_not_the_other_way_round():
    spec = nodes.find("noop")
    assert spec is not None
    with pytest.raises(RuntimeError, match="twice"):
        nodes.register(spec)


def test_a_missing_name_is_a_warning_of_the_call():
    asked = call("output", {"value": "{{gone}}"})
    asked.render.text("{{gone}}")
    assert asked.render.warnings == ["{{gone}} names nothing in this run."]
