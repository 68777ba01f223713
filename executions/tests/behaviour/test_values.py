"""What values become on their way: names, templates, inputs and outputs, transforms."""

from __future__ import annotations

from typing import Any

import pytest

from executions.tests.fakes import FakeContext
from executions.tests.flows import flow, run

INPUTS: dict[str, Any] = {
    "n": 3, "half": 0.5, "whole": 2.0, "text": "hi", "empty": "", "none": None, "yes": True,
    "no": False, "list": ["a", {"b": 1}, [2]], "nolist": [], "obj": {"k": {"d": "deep"}, "a b": 1},
    "template": "{{text}}", "quote": 'say "x"\n', "accent": "é✓", "a-b": 7, "key": "k",
    "people": [{"name": "Cy", "age": 30, "tags": ["x"]}, {"name": "Al", "age": 9, "tags": []},
               {"name": "Bo", "tags": ["y", "z"]}],
}  # fmt: skip


def ending(config, **more):
    """What an output node with this config gives."""
    definition = flow({"o": ("output", {"outputName": "o", **config})})
    result = run(definition, inputs=INPUTS, **more)
    assert result["success"], result.get("error")
    return result["outputs"]["o"]


@pytest.mark.parametrize(
    ("template", "value"),
    [
        # Alone, a reference keeps its type.
        ("{{n}}", 3), ("{{ n }}", 3), ("{{half}}", 0.5), ("{{none}}", None), ("{{no}}", False),
        ("{{list}}", INPUTS["list"]), ("{{obj.k}}", {"d": "deep"}), ("{{nolist}}", []),
        ("{{n + 1}}", 4), ("{{n > 2}}", True), ("{{empty}}", ""),
        # In text.
        ("n={{n}}", "n=3"), ("{{n}}{{n}}", 33), ("{{whole}}!", "2!"), ("{{half}}%", "0.5%"),
        ("<{{none}}>", "<null>"), ("<{{yes}}{{no}}>", "<truefalse>"), ("<{{empty}}>", "<>"),
        ("is {{list}}", 'is ["a",{"b":1},[2]]'), ("is {{obj.k}}", 'is {"d":"deep"}'),
        ("is {{nolist}}", "is []"), ("{{accent}} ok", "é✓ ok"),
        # Paths.
        ("{{list[0]}}", "a"), ("{{list.0}}", "a"), ("{{list[1].b}}", 1), ("{{list[2][0]}}", 2),
        ("{{list.length}}", 3), ("{{text.length}}", 2), ("{{obj['k'].d}}", "deep"),
        ('{{obj["k"]["d"]}}', "deep"), ("{{obj.k['d']}}", "deep"), ("{{obj['a b']}}", 1),
        ("{{obj[key].d}}", "deep"), ("{{a-b}}", 7), ("{{inputs.n}}", 3),
        ("{{list[-1]}}", "{{list[-1]}}"),
        ("{{people[2].tags[1]}}", "z"), ("{{obj?.k?.d}}", "deep"),
        # What is missing stays as written.
        ("{{gone}}", "{{gone}}"), ("{{gone.a[0]}}!", "{{gone.a[0]}}!"),
        ("{{none.a}}", "{{none.a}}"),
        ("{{n.a}}", "{{n.a}}"), ("{{list[9]}}", "{{list[9]}}"),
        ("{{ gone }} {{n}}", "{{ gone }} 3"),
        ("{{}}", "{{}}"), ("{{ }}", "{{ }}"), ("{n}", "{n}"), ("{{n", "{{n"), ("n}}", "n}}"),
        ("{{{n}}}", "{3}"), ("{{#if n}}x{{/if}}", "{{#if n}}x{{/if}}"), ("${n}", "${n}"),
        # Defaults.
        ("{{gone || 'x'}}", "x"), ("{{none || 'x'}}", "x"), ("{{empty || 'x'}}", ""),
        ("{{no || 'x'}}", False), ("{{gone ?? n}}", 3), ("{{gone.a || none || n}}", 3),
        ("{{n > 5 ? 'many' : 'few'}}", "few"), ("{{gone ? 1 : 2}}", 2), ("{{yes && text}}", "hi"),
        # Data is data.
        ("{{template}}", "{{text}}"), ("a {{template}}", "a {{text}}"),
        ("{{quote}}.", 'say "x"\n.'),
        # Calculations and functions.
        ("{{n * 2 + 1}}", 7), ("{{(n + 1) / 2}}", 2), ("{{n % 2}}", 1), ("{{-n}}", -3),
        ("{{text + '!'}}", "hi!"), ("{{text + n}}", "hi3"), ("{{text.toUpperCase()}}", "HI"),
        ("{{list.slice(0, 1).length}}", 1), ("{{'a,b'.split(',')[1]}}", "b"),
        ("{{list.includes('a')}}", True), ("{{['x', n].join('-')}}", "x-3"),
        ("{{Object.keys(obj).length}}", 2), ("{{obj.k == obj.k}}", True), ("{{n == '3'}}", True),
    ],
)  # fmt: skip
def test_a_template_becomes_a_value(template, value):
    assert ending({"value": template, "format": "json"}) == value


@pytest.mark.parametrize(
    ("config", "value"),
    [
        ({"value": "{{n}}"}, "3"), ({"value": "{{list}}"}, '["a",{"b":1},[2]]'),
        ({"value": "{{none}}"}, "null"), ({"value": "{{yes}}"}, "true"), ({"value": ""}, ""),
        ({"value": {"a": "{{n}}", "b": ["{{text}}!"]}}, {"a": 3, "b": ["hi!"]}),
        ({"value": ["{{n}}", 1]}, [3, 1]), ({"value": 5}, "5"), ({"value": 5, "format": "json"}, 5),
        ({"value": "{{n}}", "format": "number"}, 3), ({"value": "4.50", "format": "number"}, 4.5),
        ({"value": "4 apples", "format": "number"}, None), ({"value": "", "format": "number"}, 0),
        ({"value": "{{none}}", "format": "number"}, 0),
        ({"value": "{{yes}}", "format": "number"}, 1),
        ({"value": "{{n}}", "format": "boolean"}, True),
        ({"value": "0", "format": "boolean"}, True),
        ({"value": "{{none}}", "format": "boolean"}, False),
        ({"value": "false", "format": "boolean"}, False),
        ({"value": "{{no}}", "format": "boolean"}, False),
        ({"value": "{{nolist}}", "format": "boolean"}, True),
        ({"value": '{"a": {{n}}, "b": "{{text}}"}', "format": "json"}, {"a": 3, "b": "hi"}),
        ({"value": '{"a": "{{quote}}"}', "format": "json"}, {"a": 'say "x"\n'}),
        ({"value": "[{{n}}, {{list}}]", "format": "json"}, [3, INPUTS["list"]]),
        ({"value": "{not json}", "format": "json"}, "{not json}"),
        ({"value": "3", "format": "json"}, 3), ({"value": "null", "format": "json"}, None),
        ({"value": '"x"', "format": "json"}, "x"), ({"value": "NaN", "format": "json"}, "NaN"),
    ],
)  # fmt: skip
def test_an_output_has_the_format_it_names(config, value):
    assert ending(config) == value


@pytest.mark.parametrize(
    ("config", "inputs", "output"),
    [
        ({"inputName": "a"}, {"a": 1, "b": 2}, {"a": 1}),
        ({}, {"a": 1, "b": 2}, {"a": 1, "b": 2}),
        ({"inputName": "A title", "inputVariable": "a"}, {"a": 1}, {"A title": 1, "a": 1}),
        ({"inputVariable": "a"}, {"a": 1}, {"a": 1}),
        ({"inputName": "a", "defaultValue": "d"}, {}, {"a": "d"}),
        ({"inputName": "a", "defaultValue": "d"}, {"a": None}, {"a": None}),
        ({"inputName": "a", "defaultValue": False}, {}, {"a": False}),
        ({"inputName": "a", "inputType": "json", "value": "[1]"}, {}, {"a": [1]}),
        ({"inputName": "a", "inputType": "json", "value": "[1"}, {}, {"a": "[1"}),
        ({"inputName": "a", "defaultValue": "{{b}}!"}, {"b": 2}, {"a": "2!"}),
        ({"inputName": "a"}, {}, {"a": None}),
    ],
)
def test_an_input_takes_what_the_run_was_given(config, inputs, output):
    result = run(flow({"i": ("input", config)}), inputs=inputs)
    assert result["nodes"]["i"]["output"] == output


def transform(config, **more):
    result = run(flow({"t": ("transform", config)}), inputs={**INPUTS, **more})
    assert result["success"], result.get("error")
    return result["nodes"]["t"]["output"]


NAMES = ["Cy", "Al", "Bo"]


@pytest.mark.parametrize(
    ("operation", "data", "expression", "value"),
    [
        ("map", "people", "items.name", NAMES), ("map", "people", "p => p.name", NAMES),
        ("map", "people", "(p, i) => i", [0, 1, 2]), ("map", "nolist", "x => x", []),
        ("map", "people", "$count(items)", 3), ("map", "people", "items.(name & $$.text)",
         ["Cyhi", "Alhi", "Bohi"]),
        ("filter", "people", "age > 20", INPUTS["people"][0]),
        ("filter", "people", "age > 99", None),
        ("filter", "people", "p => p.age > 99", []), ("filter", "people", "p => p.tags.length",
         [INPUTS["people"][0], INPUTS["people"][2]]),
        ("reduce", "people", "$sum(items.age)", 39), ("reduce", "[1, 2, 3]", "(a, b) => a + b", 6),
        ("sort", "people", "name", [INPUTS["people"][i] for i in (1, 2, 0)]),
        # What has no value is equal to everything, so it stays where it is.
        ("sort", "people", "age", [INPUTS["people"][i] for i in (1, 0, 2)]),
        ("sort", "people", "-name", [INPUTS["people"][i] for i in (0, 2, 1)]),
        ("sort", "{{['10', '9', 'b']}}", None, ["10", "9", "b"]),
        ("sort", "people", "(a, b) => a.name < b.name ? 1 : -1",
         [INPUTS["people"][i] for i in (0, 2, 1)]),
        ("extract", "obj", "k.d", "deep"), ("extract", "obj", "k.x", None),
        ("extract", "people", "0.name", None), ("extract", "obj", "$.k", {"d": "deep"}),
        ("merge", "obj", "${inputs.people[0]}", {**INPUTS["obj"], **INPUTS["people"][0]}),
        ("merge", "list", "${nolist} ${people}", [*INPUTS["list"], *INPUTS["people"]]),
        ("merge", "list", "${obj}", INPUTS["list"]), ("merge", "n", "${obj}", 3),
        ("merge", "obj", "{{people[1]}}", {**INPUTS["obj"], **INPUTS["people"][1]}),
        ("custom", None, "$uppercase(text)", "HI"), ("custom", "obj", "$data.k.d", "deep"),
        ("custom", None, "people[age > 5].name", ["Cy", "Al"]),
        ("custom", None, "nothing.here", None),
        ("custom", None, '{"n": n, "names": people.name}', {"n": 3, "names": NAMES}),
        ("passthrough", "obj.k", None, {"d": "deep"}), ("passthrough", "${obj.k}", None,
         {"d": "deep"}),
        ("passthrough", "gone", None, None), ("passthrough", "obj.gone.x", None, None),
        ("passthrough", "people[0].name", None, "Cy"),
        ("parseJSON", "{{'[1, 2]'}}", None, [1, 2]),
        ("parseXML", "{{'<a x=\"1\"><b>t</b><b/></a>'}}", None, {"a": {"x": "1", "b": ["t", ""]}}),
        ("flatten", "list", None, ["a", {"b": 1}, 2]), ("PARSEJSON", "{{'{}'}}", None, {}),
    ],
)  # fmt: skip
def test_a_transform_reshapes(operation, data, expression, value):
    config = {"operation": operation, "inputData": data, "expression": expression}
    assert transform({**config, "outputVariable": "r"}) == {"r": value}


@pytest.mark.parametrize(
    ("operation", "data", "expression", "error"),
    [
        ("map", "n", "items", "Map operation requires array input"),
        ("filter", "gone", "x", "Filter operation requires array input"),
        ("sort", "obj", "k", "Sort operation requires array input"),
        ("reduce", "text", "x", "Reduce operation requires array input"),
        ("parseJSON", "text", None, "Invalid JSON"), ("parseJSON", "n", None, "needs text"),
        ("parseXML", "text", None, "Invalid XML"), ("parseXML", "obj", None, "needs text"),
        ("map", "list", "x => x.y.z", "failed"), ("custom", None, "$$$(", "failed"),
    ],
)  # fmt: skip
def test_a_transform_that_cannot_work_says_why_and_is_not_repeated(
    operation, data, expression, error
):
    config = {"operation": operation, "inputData": data, "expression": expression}
    entry = run(flow({"t": ("transform", config)}), inputs=INPUTS)["nodes"]["t"]
    assert error in entry["error"]["message"]
    assert entry["attempts"] == 1


def test_names_are_found_in_their_order():
    definition = flow(
        {
            "one": ("transform", {"transformType": "template", "template": {"a": 1, "n": 1}}),
            "two": ("transform", {"transformType": "template", "template": {"a": 2, "one": 2}}),
            "v": ("variable", {"name": "text", "value": "set"}),
            "o": ("output", {"outputName": "o", "value": [
                "{{a}}", "{{two.a}}", "{{n}}", "{{one.n}}", "{{one.a}}", "{{text}}", "{{v.text}}",
            ]}),
        },
        "one>two", "two>v", "v>o",
    )  # fmt: skip
    # Inputs, then variables, then the earliest writer; a node's id is always exact.
    assert run(definition, inputs=INPUTS)["outputs"]["o"] == [1, 2, 3, 1, 1, "set", "set"]


def test_a_missing_name_is_a_warning_of_the_node_at_once():
    ctx = FakeContext()
    definition = flow({"o": ("output", {"value": "{{gone}} {{n}}"})})
    result = run(definition, ctx=ctx, inputs=INPUTS)
    warnings = ["{{gone}} names nothing in this run."]
    assert result["nodes"]["o"]["warnings"] == warnings
    assert dict(ctx.world.events)["node_completed"]["warnings"] == warnings
