"""Loops and cycles: which nodes are repeated, what a round sees, what is there afterwards."""

from __future__ import annotations

import pytest

from executions.tests.fakes import FakeContext
from executions.tests.flows import flow, run, statuses

FAIL = {"error": {"message": "no luck", "retryable": False}}


def out(value, name="result", **more):
    return ("output", {"outputName": name, "value": value, "format": "json", **more})


def text(template, name="made", **more):
    return ("transform", {"transformType": "template", "template": template,
                          "outputVariable": name, **more})  # fmt: skip


def over(config, body, *, after="{{l.results}}", more=()):
    """A loop `l` with the body `b` and an output behind it."""
    return flow({"l": ("loop", config), "b": body, "r": out(after)}, "l:body>b", "b>l", "l:done>r",
                *more)  # fmt: skip


@pytest.mark.parametrize(
    ("config", "template", "expected"),
    [
        ({"arrayPath": "xs"}, "{{loop.index}}/{{loop.iteration}}/{{loop.total}}/{{loop.item}}",
         ["0/1/2/a", "1/2/2/b"]),
        ({"arrayPath": "xs"}, "{{loop.isFirst}} {{loop.isLast}} {{item}}{{index}}",
         ["true false a0", "false true b1"]),
        ({"arrayPath": "xs", "itemVariable": "row", "indexVariable": "at"}, "{{row}}{{at}}",
         ["a0", "b1"]),
        ({"arrayPath": "{{xs}}"}, "{{item}}", ["a", "b"]),
        ({"arrayPath": "deep.xs[0].ys"}, "{{item}}", [1, 2]),
        ({"arrayPath": "{{Object.keys(deep)}}"}, "{{item}}", ["xs"]),
        ({"arrayPath": "text"}, "{{item.n}}", [1, 2]),
        ({"arrayPath": ["p", "{{xs[0]}}"]}, "{{item}}", ["p", "a"]),
        ({"loopType": "count", "count": 3}, "{{loop.index}}{{index}}{{item}}",
         ["000", "111", "222"]),
        ({"loopType": "count", "count": "{{n}}", "startIndex": 5}, "{{loop.index}}{{index}}",
         ["05", "16"]),
        ({"count": "2"}, "{{loop.iteration}}", [1, 2]),
        ({"arrayPath": "xs"}, "{{loop.results}}", [[], [{"made": []}]]),
        # What a round wrote is there in the next one.
        ({"arrayPath": "xs"}, "{{b.made || 'none'}}|{{item}}", ["none|a", "none|a|b"]),
    ],
)  # fmt: skip
def test_a_round_sees_its_place_and_its_item(config, template, expected):
    inputs = {
        "xs": ["a", "b"], "n": 2, "deep": {"xs": [{"ys": [1, 2]}]}, "text": '[{"n": 1}, {"n": 2}]',
    }  # fmt: skip
    result = run(over(config, text(template)), inputs=inputs)
    assert result["success"], result.get("error")
    assert [each["made"] for each in result["outputs"]["result"]] == expected
    assert result["nodes"]["l"]["output"]["completed"] is True


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize(
    "config",
    [{"arrayPath": "none"}, {"arrayPath": []}, {"loopType": "count", "count": 0},
     {"loopType": "while", "condition": "false"}, {"collection": "{{none}}"}, {"items": []}],
)  # fmt: skip
def test_a_loop_without_rounds_skips_its_body_and_goes_on(config, concurrency):
    definition = over(
        {**config, "maxConcurrency": concurrency}, text("x"), after="{{l.iterations}}"
    )
    ctx = FakeContext()
    result = run(definition, ctx=ctx, inputs={"none": []})
    assert result["outputs"] == {"result": 0}
    assert statuses(result) == {"l": "completed", "b": "skipped", "r": "completed"}
    assert result["nodes"]["l"]["output"]["results"] == []
    assert ("node_skipped", "b") in [(kind, data.get("nodeId")) for kind, data in ctx.world.events]


def test_an_implicit_body_with_no_rounds_leads_on_to_what_follows():
    definition = flow(
        {"l": ("loop", {"collection": "xs"}), "b": text("{{item}}"), "r": out("{{l.iterations}}")},
        "l>b", "b>r",
    )  # fmt: skip
    result = run(definition, inputs={"xs": []})
    assert result["outputs"] == {"result": 0}
    assert statuses(result)["b"] == "skipped"


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"arrayPath": "missing"}, "nothing rather than an array"),
        ({"arrayPath": "one"}, "rather than an array"),
        ({"loopType": "count", "count": -1}, "from 0 on"),
        ({"loopType": "count", "count": "many"}, "from 0 on"),
        ({"arrayPath": "xs", "maxIterations": 2}, "maxIterations"),
        ({"loopType": "while", "condition": "=>"}, "expression"),
    ],
)
def test_a_loop_that_cannot_begin_fails_with_the_reason(config, error):
    result = run(over(config, text("x")), inputs={"xs": [1, 2, 3], "one": 1})
    assert not result["success"]
    assert error in result["nodes"]["l"]["error"]["message"]
    assert statuses(result)["r"] == "skipped"


@pytest.mark.parametrize(
    ("body", "edges", "repeated"),
    [
        # A body edge: all before the exit.
        ({"b": "noop", "c": "noop"}, "l:body>b b>c l:done>r", "bc"),
        ({"b": "noop", "c": "noop"}, "l:body>b b>c c>l l:done>r", "bc"),
        ({"b": "noop", "c": "noop"}, "l:body>b b>c c>r l:done>r", "bc"),
        ({"b": "noop", "c": "noop"}, "l:output-body>b b>c l:output-done>r", "bc"),
        ({"b": "noop", "c": "noop"}, "l:loop-body>b l:loop-exit>c c>r", "b"),
        ({"b": "noop", "c": "noop"}, "l:body>b l>c c>r", "b"),
        ({"b": "noop", "c": "noop"}, "l:body>b l:exit>c b>c c>r", "b"),
        # No body edge: what returns.
        ({"b": "noop", "c": "noop"}, "l>b b>l l>c c>r", "b"),
        ({"b": "noop", "c": "noop"}, "l>b b>c c>l l>r", "bc"),
        # Neither: what uses the item, and what lies between.
        ({"b": text("{{item}}"), "c": "noop"}, "l>b b>c c>r", "b"),
        ({"b": "noop", "c": text("{{loop.index}}")}, "l>b b>c c>r", "bc"),
        ({"b": ("llm", {"prompt": "{{item.name}}"}), "c": text("{{made}}")}, "l>b b>c c>r", "b"),
        ({"b": ("code", {"code": "return inputs.item"}), "c": "noop"}, "l>b b>c c>r", "b"),
        ({"b": ("code", {"code": "return xs.map(item => item)"}), "c": "noop"}, "l>b b>c c>r", ""),
        ({"b": ("transform", {"operation": "extract", "inputData": "item", "expression": "a"}),
          "c": "noop"}, "l>b b>c c>r", "b"),
        ({"b": ("llm", {"prompt": "Describe the item"}), "c": "noop"}, "l>b b>c c>r", ""),
        ({"b": ("conditional", {"condition": "item > 1"}), "c": "noop"}, "l>b b:true>c c>r", "b"),
        ({"b": ("noop", {"data": "item.rows"}), "c": "noop"}, "l>b b>c c>r", "b"),
    ],
)  # fmt: skip
def test_the_body_is_explicit_or_returned_or_implicit(body, edges, repeated):
    pins = {key: {"output": {"x": 1}} for key, node in body.items() if node[0] in ("llm", "code")}
    definition = flow({"l": ("loop", {"arrayPath": "xs"}), **body, "r": out("1")}, *edges.split())
    result = run(definition, inputs={"xs": [2, 3, 4]}, pins=pins)
    assert result["success"], result.get("error")
    runs = {key: entry.get("runs", 1) for key, entry in result["nodes"].items() if key != "l"}
    assert {key for key, count in runs.items() if count == 3} == set(repeated)
    assert result["nodes"]["l"]["output"]["iterations"] == 3


def test_three_loops_nest():
    definition = flow(
        {
            "a": ("loop", {"arrayPath": "xs", "itemVariable": "x"}),
            "b": ("loop", {"arrayPath": "x.ys", "itemVariable": "y", "indexVariable": "j"}),
            "c": ("loop", {"loopType": "count", "count": "{{y}}", "indexVariable": "k"}),
            "t": text("{{x.n}}-{{y}}-{{j}}-{{k}}"),
            "add": ("variable", {"name": "all", "value": "{{made}}", "operation": "append"}),
            "r": out("{{all}}"),
        },
        "a:body>b", "b:body>c", "c:body>t", "t>add", "add>c", "c:done>b", "b:done>a", "a:done>r",
    )  # fmt: skip
    result = run(definition, inputs={"xs": [{"n": "p", "ys": [2, 0]}, {"n": "q", "ys": [1]}]})
    assert result["outputs"]["result"] == ["p-2-0-0", "p-2-0-1", "q-1-0-0"]
    assert result["nodes"]["t"]["runs"] == 3


def test_nested_implicit_loops_nest():
    definition = flow(
        {
            "o": ("loop", {"collection": "{{orders}}", "itemVariable": "order"}),
            "i": ("loop", {"collection": "{{order.lines}}", "itemVariable": "line"}),
            "t": ("variable", {"name": "all", "value": "{{order.id}}:{{line}}",
                               "operation": "append"}),
            "r": out("{{all}}"),
        },
        "o>i", "i>t", "t>r",
    )  # fmt: skip
    orders = [{"id": 1, "lines": ["a", "b"]}, {"id": 2, "lines": []}, {"id": 3, "lines": ["c"]}]
    assert run(definition, inputs={"orders": orders})["outputs"]["result"] == ["1:a", "1:b", "3:c"]


def test_a_later_loop_of_the_same_item_name_stands_after_the_first():
    definition = flow(
        {
            "l": ("loop", {"collection": "xs"}),
            "b": ("variable", {"name": "s", "value": "{{item}}", "operation": "append"}),
            "m": ("loop", {"collection": "{{s}}"}),
            "c": ("variable", {"name": "t", "value": "{{item * 2}}", "operation": "append"}),
            "r": out("{{t}}"),
        },
        "l>b", "b>m", "m>c", "c>r",
    )  # fmt: skip
    assert run(definition, inputs={"xs": [1, 2]})["outputs"]["result"] == [2, 4]


@pytest.mark.parametrize("fails", [False, True])
def test_a_loop_node_has_an_error_edge_too(fails):
    definition = flow(
        {"l": ("loop", {"count": 1}), "b": "llm", "x": out("{{l.error.type}}", "x"),
         "r": out("1", "r")},
        "l:body>b", "l:error>x", "l:done>r",
    )  # fmt: skip
    result = run(definition, pins={"b": FAIL if fails else {"output": 1}})
    assert result["outputs"] == ({"x": "round_failed"} if fails else {"r": 1})
    assert result["success"]


@pytest.mark.parametrize(
    ("node", "edges"),
    [
        (("llm", {}, {"onError": {"strategy": "goto", "gotoNode": "x"}}), ()),
        ("llm", ("b:error>x",)),
    ],
)
def test_a_failure_in_a_body_is_rescued_in_its_round(node, edges):
    definition = flow(
        {"l": ("loop", {"count": 2}), "b": node, "x": out("{{b.error.message}}", "x"),
         "r": out("1", "r")},
        "l:body>b", "b>l", "l:done>r", *edges,
    )  # fmt: skip
    result = run(definition, pins={"b": FAIL})
    assert result["success"], result.get("error")
    assert result["outputs"] == {"x": "no luck", "r": 1}
    assert result["nodes"]["x"]["runs"] == 2


def test_a_condition_in_a_body_skips_in_its_round_only():
    definition = flow(
        {
            "l": ("loop", {"arrayPath": "xs"}),
            "c": ("conditional", {"condition": "item % 2 == 0"}),
            "even": ("variable", {"name": "evens", "value": "{{item}}", "operation": "append"}),
            "odd": ("variable", {"name": "odds", "value": "{{item}}", "operation": "append"}),
            "j": "noop",
            "r": out(["{{evens}}", "{{odds}}"]),
        },
        "l:body>c", "c:true>even", "c:false>odd", "even>j", "odd>j", "j>l", "l:done>r",
    )  # fmt: skip
    result = run(definition, inputs={"xs": [1, 2, 3, 4]})
    assert result["outputs"]["result"] == [[2, 4], [1, 3]]
    assert result["nodes"]["j"]["runs"] == 4


@pytest.mark.parametrize("concurrency", [1, 4])
def test_appends_and_increments_of_all_rounds_count(concurrency):
    definition = flow(
        {
            "l": ("loop", {"arrayPath": "xs", "maxConcurrency": concurrency}),
            "v": ("variable", {"name": "all", "value": "{{item}}", "operation": "append"}),
            "n": ("variable", {"name": "count", "operation": "increment"}),
            "s": ("shared-memory", {"operation": "append", "key": "k", "value": "{{item}}"}),
            "r": out(["{{all}}", "{{count}}", "{{shared.k}}"]),
        },
        "l:body>v", "l:body>n", "l:body>s", "l:done>r",
    )  # fmt: skip
    xs = list(range(8))
    found = run(definition, inputs={"xs": xs})["outputs"]["result"]
    assert [sorted(found[0]), found[1], sorted(found[2])] == [xs, 8, xs]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_after_a_loop_the_last_round_is_what_is_seen(concurrency):
    definition = over({"arrayPath": "xs", "maxConcurrency": concurrency}, ("llm", {}),
                      after="{{b.n}}")  # fmt: skip
    definition["nodes"]["b"] = {"type": "transform", "name": "b", "config": {
        "transformType": "template", "template": {"n": "{{item}}"},
    }}  # fmt: skip
    assert run(definition, inputs={"xs": [1, 2, 3]})["outputs"] == {"result": 3}


@pytest.mark.parametrize(
    ("on_error", "success", "results"),
    [
        ({"strategy": "continue"}, True, ["m", "m"]),
        ({"strategy": "fallback", "fallbackValue": {"error": {"message": "{{item}}"}}}, True,
         ["a", "b"]),
        (None, False, None),
    ],
)  # fmt: skip
def test_a_failure_in_a_round_is_taken_as_the_node_says(on_error, success, results):
    definition = over({"arrayPath": "xs"}, ("llm", {}, {"onError": on_error}))
    pins = {"b": {"error": {"message": "m", "retryable": False}}}
    result = run(definition, inputs={"xs": ["a", "b"]}, pins=pins)
    assert result["success"] is success
    if success:
        given = result["nodes"]["l"]["output"]["results"]
        assert [each["error"]["message"] for each in given] == results
    else:
        assert statuses(result) == {"l": "failed", "b": "failed", "r": "skipped"}


def test_a_loop_that_failed_may_be_passed_over():
    definition = over({"arrayPath": "xs"}, "llm", after="{{l.error.type}}")
    definition["nodes"]["l"]["onError"] = {"strategy": "continue"}
    result = run(definition, inputs={"xs": [1]}, pins={"b": FAIL})
    assert result["outputs"] == {"result": "round_failed"}
    assert result["success"]


def test_an_error_edge_inside_a_body_is_taken_in_its_round():
    definition = flow(
        {
            "l": ("loop", {"arrayPath": "xs"}),
            "parse": ("transform", {"operation": "parseJSON", "inputData": "item"}),
            "bad": ("variable", {"name": "bad", "value": "{{item}}", "operation": "append"}),
            "j": "noop",
            "r": out("{{bad}}"),
        },
        "l:body>parse", "parse:error>bad", "parse>j", "bad>j", "j>l", "l:done>r",
    )  # fmt: skip
    result = run(definition, inputs={"xs": ["1", "{", "[]", "no"]})
    assert result["success"], result.get("error")
    assert result["outputs"]["result"] == ["{", "no"]


@pytest.mark.parametrize(
    ("pin", "rounds"),
    [
        ({"items": ["a", "b"]}, 2),
        ({"items": []}, 0),
        ({"iterations": 3}, 3),
        ({"completed": True}, 1),
    ],
)
def test_a_pinned_loop_has_the_rounds_of_its_pin(pin, rounds):
    definition = over({"arrayPath": "missing"}, "noop", after="{{l}}")
    result = run(definition, pins={"l": {"output": pin}})
    assert result["outputs"] == {"result": pin}
    assert result["nodes"]["b"].get("runs", int(statuses(result)["b"] == "completed")) == rounds


def test_a_while_loop_ends_when_its_condition_does():
    definition = flow(
        {
            "l": ("loop", {"loopType": "while", "condition": "{{page.next}} != null || !page"}),
            "page": ("transform", {"operation": "custom",
                                   "expression": '{"next": loop.index < 2 ? loop.index : null}'}),
            "r": out("{{l}}"),
        },
        "l:body>page", "page>l", "l:done>r",
    )  # fmt: skip
    found = run(definition)["outputs"]["result"]
    assert (found["iterations"], found["completed"]) == (3, True)
    assert [each["next"] for each in found["results"]] == [0, 1, None]


@pytest.mark.parametrize(("limit", "success"), [(3, True), (2, False)])
def test_a_cycle_goes_back_as_often_as_it_may(limit, success):
    definition = flow(
        {"n": ("variable", {"name": "n", "operation": "increment"}),
         "c": ("conditional", {"condition": "n >= 4"}), "r": out("{{n}}")},
        "n>c", "c:false>n", "c:true>r", settings={"maxRounds": limit},
    )  # fmt: skip
    result = run(definition)
    assert result["success"] is success
    if success:
        assert result["outputs"] == {"result": 4}
    else:
        assert f"limit of {limit} rounds" in result["error"]
        assert statuses(result)["r"] == "skipped"


def test_a_cycle_inside_a_body_begins_anew_each_round():
    definition = flow(
        {
            "l": ("loop", {"arrayPath": "xs"}),
            "zero": ("variable", {"name": "n", "value": 0}),
            "n": ("variable", {"name": "n", "operation": "increment"}),
            "c": ("conditional", {"condition": "n >= item"}),
            "total": ("variable", {"name": "total", "operation": "increment", "value": "{{n}}"}),
            "r": out("{{total}}"),
        },
        "l:body>zero", "zero>n", "n>c", "c:false>n", "c:true>total", "total>l", "l:done>r",
    )  # fmt: skip
    result = run(definition, inputs={"xs": [1, 3, 2]})
    assert result["success"], result.get("error")
    assert result["outputs"] == {"result": 6}


def test_a_goto_back_tries_again():
    definition = flow(
        {
            "n": ("variable", {"name": "n", "operation": "increment"}),
            "a": ("transform", {"operation": "parseJSON", "inputData": "texts[n]"},
                  {"onError": {"strategy": "goto", "gotoNode": "n"}}),
            "r": out("{{a}}"),
        },
        "n>a", "a>r",
    )  # fmt: skip
    result = run(definition, inputs={"texts": ["{", "{", "{", "7"]})
    assert result["success"], result.get("error")
    assert result["outputs"] == {"result": 7}
    assert result["nodes"]["a"]["runs"] == 3
