"""The older dialect of each node type: it parses, validates, draws and runs with pins."""

from __future__ import annotations

import pytest

from executions import nodes, workflows
from executions.rules.definition import read
from executions.rules.loops import find_structure
from executions.tests.fakes import FakeContext
from executions.tests.flows import flow, run, statuses

pytestmark = pytest.mark.django_db

# (type, config): what definitions of the older dialect hold, node type by node type.
VARIANTS = [
    ("conditional", {"condition": "deal.amount > 50000", "outputVariable": "isBig"}),
    ("conditional", {"condition": "{{deal.amount}} > 50000"}),
    ("conditional", {"conditionType": "expression", "expression": "x.text.includes('\"p\": 1')"}),
    ("conditional",
     {"conditionType": "expression", "expression": "a === 'x' || !b", "leftValue": ""}),
    ("conditional", {"condition": "deals.filter(d => d.open).length > 0"}),
    ("transform", {"transformType": "template", "template": "Hi {{name}}", "outputVariable": "t"}),
    ("transform", {"transformType": "template", "template": {"a": ["{{x}}"]}}),
    ("transform", {"transformType": "merge", "sources": ["a", "b.text"], "outputVariable": "m"}),
    ("transform", {"transformType": "aggregate", "operations": ["count", {"type": "sum"}]}),
    ("transform", {"transformType": "aggregate", "operations": {"total": "count"}}),
    ("transform", {"transformType": "map", "input": "{{xs}}", "expression": "items.name"}),
    ("transform", {"transformType": "flatten", "inputVariable": "xs"}),
    ("transform", {"transformType": "jsonata", "expression": "$count(xs)"}),
    ("loop", {"collection": "{{xs}}", "itemVariable": "x", "indexVariable": "i"}),
    ("loop", {"items": "{{xs}}", "itemVariable": "x", "outputVariable": "all"}),
    ("loop", {"items": "xs.rows", "maxIterations": "50"}),
    ("forEach", {"collection": "{{Object.keys(xs.byRep)}}", "maxConcurrency": None}),
    ("switch", {"switchVariable": "kind", "cases": [{"value": "a", "label": "A"}]}),
    ("switch", {"expression": "{{kind}}", "cases": ["a", "b"], "defaultCase": None}),
    ("router", {"routes": ["a", "b"], "routerType": "llm", "prompt": "{{x}}"}),
    ("router", {"routes": [{"value": "a", "label": "A", "description": "…"}], "temperature": "0"}),
    ("router", {"routes": [{"id": "a"}, {"name": "b"}], "outputVariable": "r"}),
    ("humanReview", {"reviewPrompt": "Check {{draft}}", "outputVariable": "ok"}),
    ("humanReview", {"reviewPrompt": "Check"}),
    ("humanReview", {"prompt": "P", "variableName": "v", "validation": None, "required": None}),
    ("shared-memory", {"operation": "set", "key": "k", "value": "{{x}}"}),
    ("shared-memory", {"operation": "append", "key": "k", "value": {"a": "{{x}}"}}),
    ("shared-memory", {"operation": "get", "key": "k", "outputVariable": "v"}),
    ("shared-memory", {"operation": "search", "searchQuery": "{{x}}", "topK": 5}),
    ("wait", {"delayType": "fixed", "duration": "5", "durationUnit": "minutes"}),
    ("wait", {"delayType": "until", "timestamp": "{{event.start}}"}),
    ("wait", {"duration": "{{event.start - 3600000}}", "durationUnit": "timestamp"}),
    ("wait", {"duration": "24h"}), ("wait", {"duration": "{{n}}"}), ("wait", {"delay": 5}),
    ("wait", {"triggerType": "webhook", "provider": "docusign", "event": "envelope.completed"}),
    ("wait", {"waitType": "webhook", "webhookEvent": "signed", "timeout": 1000}),
    ("wait", {"eventType": "payment.received"}),
    ("input",
     {"inputName": "A title", "inputVariable": "a", "inputType": "file", "required": True}),
    ("input", {"inputVariable": "a", "inputType": "json", "schema": {"type": "object"}}),
    ("input", {"inputName": "a", "defaultValue": ["x"], "required": None, "inputType": None}),
    ("files", {"inputVariable": "docs", "allowedTypes": ["pdf"], "multiple": True}),
    ("files", {"inputVariable": "docs", "acceptedTypes": "application/pdf,.docx"}),
    ("url", {"urlVariable": "site.url", "scrapingMode": "article", "outputVariable": "page"}),
    ("url", {"urls": ["{{a}}", "{{b}}"], "inputName": "u"}), ("url", {"urls": "{{links}}"}),
    ("output", {"outputName": "o", "value": {"a": "{{x}}", "b": [1]}}),
    ("output", {"outputName": "o", "value": "{{x}}", "format": None}),
    ("output", {"outputVariable": "x"}),
    ("templateOutput", {"outputVariable": "doc", "template": "# {{x}}", "format": "html"}),
    ("http",
     {"method": "post", "url": "{{env.X}}/a", "headers": {"Authorization": "Bearer {{env.K}}"},
              "body": {"a": "{{x}}"}, "queryParams": {"q": 1}}),
    ("http", {"url": "http://127.0.0.1/", "headers": [{"key": "A", "value": "b"}], "body": "{}"}),
    ("code", {"language": "javascript", "code": "return inputs.x + variables.y;"}),
    ("code", {"language": "python", "code": "result = inputs['x']", "timeout": "30000"}),
    ("integration", {"provider": "slack", "operation": "sendMessage", "channel": "#a",
                     "text": "{{x}}", "outputVariable": "sent"}),
    ("integration", {"provider": "hubspot", "action": "update_contact", "contactId": "{{id}}"}),
    ("integration", {"provider": "slack", "operation": "send", "connectionId": "c",
                     "parameters": {"channel": "#a"}}),
    ("action", {"provider": "github", "operation": "createIssue", "title": "{{x}}"}),
    ("database", {"provider": "postgresql", "operation": "select", "query": "select 1"}),
    ("database", {"provider": "mongodb", "operation": "find", "parameters": {"filter": {}}}),
    ("chart", {"data": "{{rows}}", "chartType": "bar"}),
    ("chartGeneration", {"dataSource": "{{rows}}", "chartType": "line", "title": "T"}),
    ("spreadsheet", {"data": "{{rows}}", "format": "xlsx"}),
    ("spreadsheetGeneration", {"dataSource": "{{rows}}", "filename": "a.csv"}),
    ("pdfExtract", {"file": "{{doc}}", "outputVariable": "text"}),
    ("pdfExtract", {"path": "{{doc}}"}),
    ("pdfGeneration", {"content": "# {{x}}", "filename": "a.pdf"}),
    ("ocrExtraction", {"image": "{{scan}}", "outputVariable": "text"}),
    ("audioTranscription", {"audioFile": "{{call}}", "outputVariable": "text"}),
    ("audioOutput", {"input": "{{x}}", "voice": "alloy"}), ("audioOutput", {"text": "{{x}}"}),
    ("audioInput", {"inputName": "audio"}),
    ("trigger", {"triggerType": "schedule", "schedule": "0 9 * * 1", "timezone": "UTC"}),
    ("trigger", {"triggerType": "webhook", "webhookProvider": "stripe", "event": "paid",
                 "outputVariable": "event"}),
    ("trigger", {"triggerType": "cron", "cronExpression": "* * * * *"}),
    ("llm", {"provider": "openai", "model": "gpt", "prompt": "{{x}}", "temperature": "0.7",
             "maxTokens": "100", "outputVariable": "a"}),
    ("vision", {"operation": "analyze", "imageInput": "{{i}}", "prompt": "What is it?"}),
    ("embeddings", {"input": ["{{a}}", "b"]}), ("imageGeneration", {"prompt": "a cat"}),
    ("knowledgeBaseQuery", {"knowledgeBaseId": "kb", "queryText": "{{q}}", "topK": "3"}),
    ("kbQuery", {"query": "{{q}}", "threshold": "0.5"}),
    ("fileRead", {"path": "{{p}}"}), ("fileWrite", {"path": "a.txt", "content": "{{x}}"}),
    ("file", {"operation": "parseCSV", "fileSource": "{{f}}"}),
    ("fileDownload", {"url": "{{u}}"}), ("webSearch", {"query": "{{q}}", "maxResults": 3}),
    ("webBrowse", {"url": "{{u}}", "maxLength": 100}), ("screenshotCapture", {"url": "{{u}}"}),
    ("subworkflow", {"workflowId": "wf", "inputMapping": {"a": "{{x}}"}}),
    ("annotation", {"text": "why"}), ("noop", {}), ("parallel", {}), ("group", {"label": "g"}),
]  # fmt: skip


def listed(kind, config):
    """The same definition in the list form, with the title where that form has it."""
    return {
        "name": "list",
        "nodes": [
            {"id": "i", "type": "input", "data": {"label": "In"}},
            {"id": "n", "type": kind, "data": {"label": "N", **config}, "position": {"x": 1,
             "y": 2}},
            {"id": "o", "type": "output", "data": {"outputName": "o", "value": "{{n}}"}},
        ],
        "edges": [{"id": "1", "source": "i", "target": "n"},
                  {"id": "2", "source": "n", "target": "o"}],
    }  # fmt: skip


@pytest.mark.parametrize("form", ["map", "list"])
@pytest.mark.parametrize(
    ("kind", "config"), VARIANTS, ids=[f"{kind}-{at}" for at, (kind, _) in enumerate(VARIANTS)]
)
def test_a_node_of_the_older_dialect_is_understood(kind, config, form):
    definition = listed(kind, config)
    if form == "map":
        definition = flow(
            {"i": "input", "n": (kind, config), "o": ("output",
             {"outputName": "o", "value": "{{n}}"})},
            "i>n", "n>o",
        )  # fmt: skip
    issues = workflows.validate(definition)
    assert [issue.message for issue in issues if issue.severity == "error"] == []
    graph, _ = read(definition, nodes.find)
    assert graph is not None and list(find_structure(graph).home) == ["i", "n", "o"]
    pinned = run(definition, pins={"n": {"output": {"made": 1}}})
    assert pinned["success"], pinned.get("error")
    assert statuses(pinned)["o"] == "completed"


@pytest.mark.parametrize(
    ("kind", "config"), VARIANTS, ids=[f"{kind}-{at}" for at, (kind, _) in enumerate(VARIANTS)]
)
def test_what_a_form_left_empty_is_not_there(kind, config):
    spec = nodes.find(kind)
    assert spec is not None
    for name, field in spec.config.model_fields.items():
        key = field.alias or name
        if key not in config:
            graph, issues = read(flow({"n": (kind, {**config, key: None})}), nodes.find)
            assert graph is not None, (key, [issue.message for issue in issues])


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"timeout": 300000, "maxConcurrentNodes": 10, "enableCache": False}, None),
        ({"timeout": None}, None),
        ({}, None),
        ({"timeout": 0}, "settings.timeout"),
        ({"maxConcurrentNodes": "ten"}, "settings.maxConcurrentNodes"),
        ({"maxRounds": 1e9}, "settings.maxRounds"),
    ],
)
def test_settings_are_read_or_named(settings, problem):
    issues = workflows.validate(flow({"a": "noop"}, settings=settings))
    found = [issue.message for issue in issues if issue.severity == "error"]
    assert bool(found) is (problem is not None)
    assert all(problem in message for message in found)


@pytest.mark.parametrize(
    ("nodes", "edges", "items", "made"),
    [
        # A loop over a collection whose body leads on to the rest, without an edge back.
        ({"l": ("loop", {"collection": "{{rows}}", "itemVariable": "row"}),
          "b": ("variable", {"name": "made", "value": "{{row.id}}", "operation": "append"}),
          "o": ("output", {"outputName": "o", "value": "{{made}}", "format": "json"})},
         "l>b b>o", [{"id": 1}, {"id": 2}], [1, 2]),
        ({"l": ("loop", {"items": "{{rows}}", "itemVariable": "row", "indexVariable": "at"}),
          "p": ("llm", {"prompt": "{{row}}", "outputVariable": "said"}),
          "b": ("variable", {"name": "made", "value": "{{said.text}}{{at}}",
                             "operation": "append"}),
          "o": ("output", {"outputName": "o", "value": "{{made}}", "format": "json"})},
         "l>p p>b b>o", ["x", "y", "z"], ["s0", "s1", "s2"]),
        # What follows in between does not use the item, but lies before what does.
        ({"l": ("loop", {"collection": "rows"}), "w": "noop",
          "b": ("variable", {"name": "made", "value": "{{loop.iteration}}", "operation": "append"}),
          "o": ("output", {"outputName": "o", "value": "{{made}}", "format": "json"})},
         "l>w w>b b>o", ["x", "y"], [1, 2]),
    ],
)  # fmt: skip
def test_a_loop_without_an_edge_back_repeats_what_uses_its_item(nodes, edges, items, made):
    pins = {"p": {"output": {"said": {"text": "s"}}}} if "p" in nodes else {}
    result = run(flow(nodes, *edges.split()), inputs={"rows": items}, pins=pins)
    assert result["success"], result.get("error")
    assert result["outputs"] == {"o": made}
    assert result["nodes"]["o"].get("runs", 1) == 1


def test_a_trigger_hands_its_event_on_under_its_name():
    definition = flow(
        {"t": ("trigger", {"triggerType": "webhook", "outputVariable": "event"}),
         "o": ("output", {"outputName": "o", "format": "json",
                          "value": ["{{event.body.id}}", "{{trigger.body.id}}", "{{body.id}}"]})},
        "t>o",
    )  # fmt: skip
    result = run(definition, inputs={"body": {"id": 7}})
    assert result["outputs"] == {"o": [7, 7, 7]}


def test_a_wait_for_an_event_waits_for_it():
    ctx = FakeContext()
    ctx.world.answers["w/event"] = [{"id": 4}]
    definition = flow(
        {"w": ("wait", {"eventType": "payment.received", "outputVariable": "paid"}),
         "o": ("output", {"outputName": "o", "value": "{{paid.id}}"})}, "w>o",
    )  # fmt: skip
    assert run(definition, ctx=ctx)["outputs"] == {"o": "4"}
    assert dict(ctx.world.events)["paused"]["waitingFor"] == "payment.received"
