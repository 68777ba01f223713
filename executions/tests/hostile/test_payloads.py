"""Known escapes from other engines are data here, or a clear error; never the host's state."""

from __future__ import annotations

import contextlib
import json

import pytest

from executions.nodes import expressions
from executions.tests.fakes import FakeContext
from executions.tests.flows import flow, run
from executions.tests.hostile.corpus import PAYLOADS, Payload
from executions.tests.hostile.doors import (
    CANARY,
    CLEAR,
    TRACES,
    author_doors,
    enter,
    sandbox_doors,
    texts_in,
)
from executions.tests.web import Server

IDS = [f"{payload.product}-{number}" for number, payload in enumerate(PAYLOADS)]


@pytest.fixture(autouse=True)
def canary(monkeypatch, settings):
    """A secret of the host that nobody has allowed templates to read."""
    monkeypatch.setenv("HOSTILE_CANARY", CANARY)
    monkeypatch.setenv("ALLOWED", "yes")
    settings.FLOWMAESTRO = {"TEMPLATE_ENV": ("ALLOWED",)}


def check(nodes, payload: Payload):
    for name, entry in nodes.items():
        error = entry.get("handledError") or entry.get("error")
        if error is not None:
            assert error["type"] in CLEAR or name == "fallback", (name, error)
            assert error["message"].strip(), name
        # What the author wrote may come out again; what it would have given may not.
        for text in texts_in(entry):
            shown = text.replace(payload.text, "")
            assert not [trace for trace in TRACES if trace in shown and trace not in payload.text]


@pytest.mark.parametrize("payload", PAYLOADS, ids=IDS)
def test_an_escape_from_another_engine_is_data_or_a_clear_error(payload):
    check(enter(author_doors(payload.text)), payload)


@pytest.mark.parametrize("payload", PAYLOADS, ids=IDS)
def test_the_sandbox_of_expressions_holds_it_too(payload, monkeypatch):
    monkeypatch.setattr(expressions, "TIME_LIMIT_SECONDS", 0.5)
    check(enter(sandbox_doors(payload.text)), payload)


def test_foreign_syntax_is_no_syntax_here():
    foreign = [
        payload.text
        for payload in PAYLOADS
        if "{{" not in payload.text and not payload.text.startswith("${")
    ]
    assert len(foreign) > 30
    nodes = enter(
        {"r": ("output", {"outputName": "o", "value": {"all": foreign}, "format": "json"})}
    )
    assert nodes["r"]["output"] == {"o": {"all": foreign}}


@pytest.mark.parametrize("payload", PAYLOADS, ids=IDS)
def test_an_escape_in_an_input_comes_out_as_it_went_in(payload):
    """Single evaluation: what a sender writes is never read as a template or an expression."""
    evil = payload.text
    nodes = enter(
        {name: door for name, (door, _) in carriers(evil).items()},
        evil=evil,
        list=[evil],
        o={"k": evil},
        rows=[{"k": evil}],
    )
    assert {name: entry.get("output") for name, entry in nodes.items()} == {
        name: expected for name, (_, expected) in carriers(evil).items()
    }


def carriers(evil):
    """Nodes that hand a value on by reference, and what they are to give."""
    out = {"outputName": "v", "format": "string"}
    as_json = {"outputName": "v", "format": "json"}
    return {
        "output": (("output", {**out, "value": "{{evil}}"}), {"v": evil}),
        "in_text": (("output", {**out, "value": "<{{evil}}>{{o.k}}"}), {"v": f"<{evil}>{evil}"}),
        "deep": (("output", {**as_json, "value": {"a": [{"b": "{{evil}}"}]}}),
                 {"v": {"a": [{"b": evil}]}}),
        "json_text": (("output", {**as_json, "value": '{"a": ["x {{evil}}"]}'}),
                      {"v": {"a": ["x " + evil]}}),
        "document": (("templateOutput", {"outputName": "v", "template": "# {{evil}}"}),
                     {"v": "# " + evil}),
        "variable": (("variable", {"name": "v", "value": ["{{evil}}"]}), {"v": [evil]}),
        "template": (("transform", {"operation": "template", "template": {"v": "{{evil}}"}}),
                     {"v": evil}),
        "text": (("transform", {"operation": "template", "template": "say {{evil}}"}),
                 "say " + evil),
        "data": (("transform", {"operation": "passthrough", "inputData": "evil"}), evil),
        "braces": (("transform", {"operation": "passthrough", "inputData": "{{evil}}"}), evil),
        "reference": (("transform", {"operation": "passthrough", "inputData": "${evil}"}), evil),
        "extract": (("transform", {"operation": "extract", "inputData": "o", "expression": "k"}),
                    evil),
        "sort": (("transform", {"operation": "sort", "inputData": "rows", "expression": "k"}),
                 [{"k": evil}]),
        "merge": (("transform", {"operation": "merge", "sources": ["{{o}}"]}), {"k": evil}),
        "flatten": (("transform", {"operation": "flatten", "inputData": "list"}), [evil]),
        "comparison": (("conditional", {"leftValue": "{{evil}}", "operator": "isNotEmpty"}),
                       {"conditionMet": True, "branch": "true", "leftValue": evil,
                        "rightValue": "", "operator": "isNotEmpty"}),
        "quoted": (("conditional", {"expression": "'{{evil}}' == evil && {{evil}} == evil"}),
                   {"conditionMet": True, "branch": "true",
                    "expression": "'{{evil}}' == evil && {{evil}} == evil"}),
        "switch": (("switch", {"expression": "{{evil}}", "cases": ["never-this"]}),
                   {"matchedCase": None, "matchedValue": None, "evaluatedExpression": evil,
                    "selectedRoute": "default"}),
    }  # fmt: skip


def test_what_goes_through_programs_loops_and_requests_comes_out_as_it_went_in(settings):
    texts = [payload.text for payload in PAYLOADS]
    names = '{"jsonata": $map(texts, function($t) {$t}), "first": texts[0]}'
    with contextlib.closing(Server()) as server:
        settings.FLOWMAESTRO = {"OUTBOUND_ALLOW_PRIVATE": ("127.0.0.1",)}
        nodes = enter(
            {
                "js": ("code", {"language": "javascript", "code": "return texts"}),
                "py": ("code", {"language": "python", "code": "result = texts"}),
                "jsonata": ("transform", {"operation": "custom", "expression": names}),
                "arrow": ("transform", {"operation": "map", "inputData": "texts",
                                        "expression": "t => t"}),
                "loop": ("loop", {"arrayPath": "texts"}),
                "body": ("transform", {"operation": "template", "template": "{{loop.item}}"}),
                "http": ("http", {"method": "post", "url": server.url(),
                                  "body": {"all": "{{texts}}"}}),
            },
            "loop:body>body", "body>loop",
            texts=texts,
        )  # fmt: skip
        (seen,) = server.seen
    assert nodes["js"]["output"]["output"] == texts
    assert nodes["py"]["output"]["output"] == texts
    assert nodes["jsonata"]["output"] == {"jsonata": texts, "first": texts[0]}
    assert nodes["arrow"]["output"] == texts
    assert nodes["loop"]["output"]["results"] == texts
    assert json.loads(seen["body"]) == {"all": texts}


def test_a_person_is_asked_in_the_words_of_the_data():
    texts = [payload.text for payload in PAYLOADS]
    ctx = FakeContext()
    ctx.world.answers = {"ask/answer": [texts[0]]}
    ask = ("humanReview", {"prompt": "{{all}}", "variableName": "said"})
    said = ("output", {"outputName": "r", "value": "{{said}}"})
    definition = flow({"ask": ask, "r": said}, "ask>r")
    result = run(definition, ctx=ctx, inputs={"all": "\n".join(texts)})
    assert result["outputs"]["r"] == texts[0]
    (asked,) = [data for kind, data in ctx.world.events if kind == "paused"]
    assert asked["prompt"] == "\n".join(texts)


def test_only_what_an_operator_listed_is_read_from_the_environment():
    text = "{{env.ALLOWED}} {{env.HOSTILE_CANARY}} {{env}} {{Object.keys(env)}}"
    nodes = enter({"r": ("output", {"outputName": "o", "value": text, "format": "string"})})
    assert nodes["r"]["output"]["o"] == ('yes {{env.HOSTILE_CANARY}} {"ALLOWED":"yes"} ["ALLOWED"]')


def test_an_input_cannot_pass_itself_off_as_the_runs_own_names():
    """Inputs hide defaults by design, for their own run only: they never reach what is behind."""
    result = run(
        flow({"r": ("output", {"outputName": "o", "value": "{{env.HOSTILE_CANARY}}"})}),
        inputs={"__class__": {"x": 1}, "constructor": "mine"},
    )
    assert result["outputs"] == {"o": "{{env.HOSTILE_CANARY}}"}


def test_a_polluted_prototype_reaches_no_other_expression():
    doors = {
        "pollute": ("transform", {"operation": "map", "inputData": "users", "expression":
                    "x => { Object.prototype.polluted = 'yes'; return 1 }"}),
        "look": ("transform", {"operation": "map", "inputData": "users",
                               "expression": "x => String({}.polluted)"}),
        "path": ("transform", {"operation": "passthrough", "inputData": "user.polluted"}),
    }  # fmt: skip
    nodes = enter(doors)
    assert nodes["pollute"]["output"] == [1, 1]
    assert nodes["look"]["output"] == ["undefined", "undefined"]
    assert nodes["path"]["output"] is None
