"""Superjson as the SDK writes it: the texts were recorded from it (see test_sdk.py)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executions.errors import Invalid
from executions.rules import superjson

CASES = json.loads(Path(__file__).with_name("superjson_cases.json").read_text())
AT = "2026-01-02T03:04:05.678Z"
MEANT = {
    "plain": {"a": [1, None, True, "ü"], "b": {}},
    "list": [1, [2]],
    "zero": 0,
    "date": {"at": AT, "list": [AT, AT]},
    "bare date": AT,
    "undefined": {"b": [None, 1], "c": {}},
    "bigint": {"n": "12345678901234567890"},
    "map": {"a": AT, "b": {}},
    "map by number": {"m": {"1": "x", "2.5": "y"}},
    "map by object": {"m": [[{"k": AT}, "1"]]},
    "map that collides": {"m": [[1, "x"], ["1", "y"]]},
    "set": {"s": [1, AT, [None]]},
    "regexp": {"r": "/a+\\/b/gi"},
    "url": {"u": "https://example.com/a?b=c"},
    "error": {"e": {"name": "TypeError", "message": "no"}},
    "numbers": {"a": None, "b": None, "c": None, "d": 0},
    "typed array": {"a": [1, 2, 255], "b": [1.5]},
    "buffer": {"b": [104, 105]},
    "keys with dots": {"a.b": {"c": AT}, "a\\b": AT, "x\\.y": AT},
    "shared": {"a": {"x": 1}, "b": {"x": 1}, "c": {"d": {"x": 1}}},
    "nested": {"a": [{"b": {"k": [AT]}}]},
    "class": {"t": {"p": AT}},
}
REFUSED = {"cycle": "self", "inner cycle": "outer.deep.up"}


def test_every_recorded_text_has_its_meaning():
    assert CASES.keys() == MEANT.keys() | REFUSED.keys()


@pytest.mark.parametrize("name", MEANT)
def test_a_value_becomes_plain_json(name):
    assert superjson.parse(CASES[name], field="payload") == MEANT[name]


@pytest.mark.parametrize("name", REFUSED)
def test_what_contains_itself_is_refused_with_its_place(name):
    with pytest.raises(Invalid, match=f"contains itself at '{REFUSED[name]}'") as refused:
        superjson.parse(CASES[name], field="payload")
    assert refused.value.field == "payload"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        "1",
        "null",
        '{"meta":{}}',
        '{"json":1,"meta":5}',
        '{"json":{"a":1},"meta":{"values":7}}',
        '{"json":{"a":1},"meta":{"values":{"a":["unheard of"]}}}',
        '{"json":{"a":1},"meta":{"values":{"a":[{"x":1}]}}}',
        '{"json":{"a":1},"meta":{"values":{"a":["set",5]}}}',
        '{"json":' + "[" * 5000 + "]" * 5000 + "}",
        '{"json":1,"meta":{"values":' + '{"a":' * 5000 + "1" + "}" * 5000 + "}}",
    ],
)
def test_what_is_no_superjson_is_refused(text):
    with pytest.raises(Invalid) as refused:
        superjson.parse(text, field="payload")
    assert refused.value.field == "payload"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("{}", None),
        ('{"json":1,"meta":{"values":{"a.b.c":["map"]}}}', 1),
        ('{"json":[1],"meta":{"values":{"5":["Date"],"-1":["Date"],"x":["Date"]}}}', [1]),
        ('{"json":{"m":5},"meta":{"values":{"m":["map"]}}}', {"m": 5}),
        ('{"json":{"m":[1]},"meta":{"values":{"m":["map"]}}}', {"m": [1]}),
        ('{"json":1,"meta":{"referentialEqualities":7}}', 1),
        ('{"json":1,"meta":{"referentialEqualities":[7]}}', 1),
        ('{"json":1,"meta":{"referentialEqualities":{"a":7}}}', 1),
    ],
)
def test_notes_about_what_is_not_there_say_nothing(text, meant):
    assert superjson.parse(text, field="payload") == meant


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(ANY)
def test_json_without_notes_is_what_it_is(value):
    assert superjson.parse(json.dumps({"json": value}), field="payload") == value


@given(ANY, ANY, ANY)
def test_no_text_does_more_than_be_refused(value, values, equalities):
    meta = {"values": values, "referentialEqualities": equalities}
    try:
        found = superjson.parse(json.dumps({"json": value, "meta": meta}), field="payload")
    except Invalid:
        return
    json.dumps(found)
