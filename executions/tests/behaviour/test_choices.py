"""Conditions, switches and routers: which way a run takes."""

from __future__ import annotations

import pytest

from executions.tests.flows import flow, run, statuses

VALUES = {
    "n": 5, "zero": 0, "text": "Hello World", "digits": "0042", "empty": "", "none": None,
    "yes": True, "no": False, "list": ["a", "B", 3], "one": [1], "nolist": [], "obj": {"k": [1, 2]},
    "deal": {"amount": 60000, "owner": {"name": "Ann"}, "stage": "Won"}, "score": "7.5",
    "x": {"text": 'He said "score": 9, and left.'}, "date": "2026-01-02",
}  # fmt: skip


def taken(config, **more):
    """The way a condition takes."""
    definition = flow(
        {"c": ("conditional", config), "true": "noop", "false": "noop"},
        "c:true>true", "c:false>false",
    )  # fmt: skip
    result = run(definition, inputs=VALUES, **more)
    assert result["success"], result.get("error")
    ways = [way for way in ("true", "false") if statuses(result)[way] == "completed"]
    assert len(ways) == 1
    return ways[0] == "true"


@pytest.mark.parametrize(
    ("left", "operator", "right", "holds"),
    [
        # Numbers, as numbers or as text.
        ("{{n}}", "==", "5", True), ("{{n}}", "==", 5, True), ("{{n}}", "==", "5.00", True),
        ("{{n}}", "!=", "6", True), ("{{n}}", ">", "10", False), ("10", ">", "9", True),
        ("{{digits}}", "==", "42", True), ("{{score}}", ">=", "7.5", True),
        ("{{score}}", "<", "10", True), ("-1", "<", "0", True), ("1e3", "==", "1000", True),
        ("0x1f", "==", "31", True), (" 5 ", "==", "{{n}}", True), ("5px", "==", "5", False),
        ("1,000", ">", "999", False), ("Infinity", ">", "1e308", True),
        # Text, without case; order as a dictionary has it.
        ("{{text}}", "==", "hello world", True), ("{{text}}", "!=", "HELLO WORLD", False),
        ("apple", "<", "Banana", True), ("Zebra", ">", "apple", True), ("a", "<", "A", True),
        ("éclair", "<", "fig", True), ("abc", ">=", "abc", True), ("10a", "<", "9a", True),
        # Truth.
        ("{{yes}}", "==", "TRUE", True), ("{{no}}", "==", "false", True),
        ("{{yes}}", "==", "1", True), ("{{no}}", "==", "0", True), ("{{yes}}", "==", "yes", False),
        ("yes", "==", "{{yes}}", False),
        # Nothing.
        ("{{none}}", "==", "null", True), ("{{none}}", "==", "undefined", True),
        ("{{none}}", "==", "0", False), ("{{zero}}", "==", "null", True),
        ("{{none}}", "==", "", False), ("{{empty}}", "==", "", True), ("", "==", "0", True),
        ("{{missing}}", "==", "", True), ("{{missing.deep}}", "isEmpty", "", True),
        ("{{none}}", "<", "1", True), ("{{none}}", ">=", "0", True),
        # JSON.
        ("{{list}}", "==", '["a","B",3]', True), ("{{obj}}", "==", '{"k": [1, 2]}', True),
        ("{{obj}}", "!=", "{{list}}", True), ("{{nolist}}", "==", "[]", True),
        # Parts.
        ("{{text}}", "contains", "WORLD", True), ("{{text}}", "contains", "", True),
        ("{{list}}", "contains", "A", True), ("{{list}}", "contains", "b", True),
        ("{{list}}", "contains", "3", True), ("{{list}}", "contains", "4", False),
        ("{{n}}", "contains", "5", False), ("{{obj}}", "contains", "k", False),
        ("{{text}}", "not_contains", "x", True), ("{{list}}", "notContains", "a", False),
        ("{{text}}", "startsWith", "hell", True), ("{{text}}", "ends_with", "D", True),
        ("{{n}}", "startsWith", "5", True), ("{{text}}", "startsWith", "world", False),
        # Words for the signs.
        ("{{n}}", "equals", "5", True), ("{{n}}", "eq", "5", True), ("{{n}}", "ne", "5", False),
        ("{{n}}", "not_equals", "4", True), ("{{n}}", "gt", "4", True), ("{{n}}", "gte", "5", True),
        ("{{n}}", "lt", "5", False), ("{{n}}", "lte", "5", True), ("{{n}}", "===", "5", True),
        ("{{n}}", "!==", "5", False), ("{{n}}", "greaterThan", "4", True),
        ("{{n}}", "less_than", "4", False), ("{{n}}", "is the same as", "5", True),
        ("{{nolist}}", "isEmpty", "", True), ("{{list}}", "isNotEmpty", "", True),
        ("{{none}}", "is_null", "", True), ("{{n}}", "isNotNull", "", True),
        # Templates on both sides, in text and with expressions.
        ("{{deal.owner.name}}-{{n}}", "==", "ann-5", True), ("{{n + 1}}", "==", "6", True),
        ("{{list.length}}", "==", "3", True), ("{{obj['k'][1]}}", "==", "2", True),
        ("{{deal.amount}}", ">", "{{n}}", True), ("{{missing || 'z'}}", "==", "z", True),
    ],
)  # fmt: skip
def test_two_values_are_compared(left, operator, right, holds):
    assert taken({"leftValue": left, "operator": operator, "rightValue": right}) is holds


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("deal.amount > 50000", True), ("{{deal.amount}} > 50000", True),
        ("{{deal.amount > 50000}}", True), ("deal.amount > 50000 && deal.stage === 'Won'", True),
        ("deal.stage == 'won'", False), ("deal.stage.toLowerCase() == 'won'", True),
        ("x.text.includes('\"score\": 9') || x.text.includes('\"score\": 10')", True),
        ("!x.text.includes('left')", False), ("{{x.text}}.includes('left')", True),
        ("\"{{x.text}}\".includes('left')", True), ("'{{deal.stage}}' === 'Won'", True),
        ("list.length > 0", True), ("nolist.length > 0", False), ("list.length", True),
        ("nolist.length", False), ("list", True), ("nolist", True), ("none", False),
        ("empty", False), ("zero", False), ("!none && !missing", True), ("missing", False),
        ("missing.a.b == null", True), ("missing?.a === undefined", True),
        ("list[0] == 'a'", True), ("list.includes('B')", True), ("list.includes('b')", False),
        ("obj.k[1] === 2", True), ("obj['k'].length == 2", True), ("score >= 7.5", True),
        ("score == 7.5", True), ("score === 7.5", False), ("n % 2 == 1", True),
        ("n > 3 ? no : yes", False), ("(n > 9 || yes) && !no", True), ("true", True),
        ("false", False), ("{{yes}}", True), ("{{no}}", False), ("'text'", True), ("0", False),
        ("text.startsWith('Hello') && text.endsWith('World')", True),
        ("text.split(' ').length == 2", True), ("Object.keys(obj).includes('k')", True),
        ("text.trim().slice(0, 5) === \"Hello\"", True), ("-n < 0", True),
        ("none || zero || 'last' == 'last'", True), ("n >= 5 && n <= 5", True),
        ("yes && deal.owner.name", True), ("empty || no", False),
        ("deal.amount / 2 == 30000", True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dialect", ["condition", "expression"])
def test_an_expression_decides(text, holds, dialect):
    config = {"condition": text} if dialect == "condition" else {
        "conditionType": "expression", "expression": text, "outputVariable": "found",
    }  # fmt: skip
    assert taken(config) is holds


@pytest.mark.parametrize(
    ("pin", "way"),
    [
        ({"output": {"conditionMet": True}}, True),
        ({"output": {"conditionMet": False, "branch": "false"}}, False),
        ({"output": {"branch": "true"}}, True),
        ({"output": {"result": False}}, False),
        ({"output": {"isBig": False}}, False),
        ({"output": {"isBig": {"anything": 1}}}, True),
        ({"output": True}, True), ({"output": "false"}, False), ({"output": "no"}, False),
        ({"output": 0}, False), ({"output": None}, False), ({"output": "yes"}, True),
        ({"output": {"passed": False, "why": "too small"}}, False), ({"output": {}}, True),
        ({"output": {"conditionMet": False}, "handle": "true"}, True),
        ({"output": {}, "handle": "output-false"}, False),
    ],
)  # fmt: skip
def test_a_pinned_condition_takes_one_way(pin, way):
    assert taken({"condition": "n > 1", "outputVariable": "isBig"}, pins={"c": pin}) is way


def chosen(config, edges, value="x", **more):
    """The targets that a switch or router `s` leads to, one per handle, `plain` without one."""
    listed = {f"to-{edge}": "noop" for edge in edges}
    drawn = [f"s>to-{edge}" if edge == "plain" else f"s:{edge}>to-{edge}" for edge in edges]
    result = run(flow({"s": config, **listed}, *drawn), inputs={"v": value, **VALUES}, **more)
    assert result["success"], result.get("error")
    return {edge for edge in edges if statuses(result)[f"to-{edge}"] == "completed"}


CASES = [{"value": "gold", "label": "First class"}, {"value": "silver-*"}, {"value": 3},
         {"value": "?-one"}]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "edges", "ways"),
    [
        ("gold", ["gold", "default"], {"gold"}), ("GOLD", ["gold", "default"], {"gold"}),
        ("gold", ["case-gold", "default"], {"case-gold"}), ("gold", ["case-0", "case-1"],
         {"case-0"}),
        ("gold", ["First class", "default"], {"First class"}),
        ("silver-9", ["silver-*", "default"], {"silver-*"}), ("silver-9", ["case-1"], {"case-1"}),
        ("SILVER-", ["silver-*", "default"], {"silver-*"}), ("silver", ["silver-*", "default"],
         {"default"}),
        ("3.0", ["3", "default"], {"3"}), (3, ["3", "default"], {"3"}), ("03", ["case-3"],
         {"case-3"}),
        ("a-one", ["?-one", "default"], {"?-one"}), ("ab-one", ["?-one", "default"], {"default"}),
        ("tin", ["gold", "default"], {"default"}), ("tin", ["gold", "case-default"],
         {"case-default"}),
        ("tin", ["gold", "plain"], {"plain"}), ("gold", ["gold", "plain"], {"gold"}),
        ("tin", ["gold", "default", "plain"], {"default", "plain"}), ("tin", ["gold"], set()),
        ("gold", ["default"], set()), (None, ["gold", "default"], {"default"}),
        ("", ["3", "default"], {"default"}), ("gold", ["plain"], {"plain"}),
        ({"a": 1}, ["gold", "default"], {"default"}), (" gold", ["gold", "default"], {"default"}),
    ],
)  # fmt: skip
def test_a_switch_takes_its_first_match_or_the_default(value, edges, ways):
    config = ("switch", {"expression": "{{v}}", "cases": CASES})
    assert chosen(config, edges, value) == ways


@pytest.mark.parametrize(
    ("config", "ways"),
    [
        # The value of another way out takes the place of `default`.
        ({"expression": "tin", "cases": ["gold"], "defaultCase": "rest"}, {"default", "rest"}),
        ({"expression": "tin", "cases": ["gold", "rest"], "defaultCase": "rest"}, {"rest"}),
        ({"switchVariable": "v", "cases": ["gold", "x"]}, {"x"}),
        ({"expression": "v", "cases": ["gold", "x"]}, {"x"}),
        ({"expression": "deal.stage", "cases": ["won", "x"]}, {"won"}),
        ({"expression": "gold", "cases": ["gold", "x"]}, {"gold"}),
        ({"expression": "{{deal.stage}}!", "cases": ["won!", "won"]}, {"won!"}),
        ({"expression": "{{v}}", "cases": ["{{v}}", "gold"]}, {"{{v}}"}),
        ({"expression": "{{n}}", "cases": ["4", "5", "*"]}, {"5"}),
        ({"expression": "{{n}}", "cases": ["*", "5"]}, {"*"}),
        ({"expression": "{{n > 3 ? 'big' : 'small'}}", "cases": ["small", "big"]}, {"big"}),
        ({"expression": "{{yes}}", "cases": ["true", "false"]}, {"true"}),
        ({"value": "{{v}}", "cases": {"x": "Label", "gold": "G"}}, {"x"}),
    ],
)  # fmt: skip
def test_a_switch_is_read_in_each_dialect(config, ways):
    edges = ["default", "rest", "gold", "x", "won", "won!", "{{v}}", "4", "5", "*", "small", "big",
             "true", "false"]  # fmt: skip
    assert chosen(("switch", config), edges) == ways


@pytest.mark.parametrize(
    ("pin", "ways"),
    [
        ({"matchedCase": "gold", "matchedValue": "Gold"}, {"gold"}),
        ({"matchedCase": None, "matchedValue": None}, {"default"}),
        ({"selectedRoute": "gold"}, {"gold"}),
        ({"selectedRoute": "First class"}, {"gold"}),
        ({"evaluatedExpression": "silver-3"}, {"silver-*"}),
        ("gold", {"gold"}), ("tin", {"default"}), ({}, {"default"}),
    ],
)  # fmt: skip
def test_a_pinned_switch_leaves_as_it_would_itself(pin, ways):
    config = ("switch", {"expression": "{{v}}", "cases": CASES})
    assert chosen(config, ["gold", "silver-*", "default"], pins={"s": {"output": pin}}) == ways


ROUTES = [{"value": "billing", "label": "Money"}, {"value": "tech"}, "sales"]


@pytest.mark.parametrize(
    ("config", "output", "edges", "ways"),
    [
        ({}, {"way": "tech"}, ["billing", "tech", "sales"], {"tech"}),
        ({}, {"way": "sales", "_routerMetadata": {}}, ["billing", "sales"], {"sales"}),
        ({}, {"selectedRoute": "billing"}, ["billing", "tech"], {"billing"}),
        ({}, {"way": {"selectedRoute": "tech", "confidence": 1}}, ["billing", "tech"], {"tech"}),
        ({}, {"way": "billing"}, ["Money", "tech"], {"Money"}),
        ({}, {"way": "billing"}, ["case-billing", "case-1"], {"case-billing"}),
        ({}, {"way": "Billing "}, ["billing", "tech"], {"billing"}),
        ({}, "tech", ["billing", "tech"], {"tech"}),
        # What is no route: the default route, the default edge, the first route.
        ({"defaultRoute": "tech"}, {"way": "else"}, ["billing", "tech"], {"tech"}),
        ({}, {"way": "else"}, ["billing", "default"], {"default"}),
        ({}, {"way": "else"}, ["billing", "plain"], {"plain"}),
        ({}, {"way": "else"}, ["billing", "tech"], {"billing"}),
        ({"defaultRoute": "tech"}, {}, ["billing", "tech"], {"tech"}),
        # A route with an edge although the config does not list it.
        ({}, {"way": "extra"}, ["extra", "default"], {"extra"}),
        ({}, {"way": "tech"}, ["billing", "default"], set()),
        ({"routes": [{"id": "a", "name": "Ann"}, {"id": "b"}]}, {"way": "b"}, ["a", "b"], {"b"}),
        ({"routes": ["a", "b"], "routerType": "llm"}, {"way": "a"}, ["a", "b"], {"a"}),
        ({"routes": {"a": "the first", "b": "the second"}}, {"way": "b"}, ["a", "b"], {"b"}),
    ],
)  # fmt: skip
def test_a_pinned_router_takes_the_route_of_its_output(config, output, edges, ways):
    router = ("router", {"routes": ROUTES, "outputVariable": "way", **config})
    assert chosen(router, edges, pins={"s": {"output": output}}) == ways
