"""Definitions that cannot run: refused with code, node and remedy, and nothing is stored."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from executions import nodes, workflow_runs, workflows
from executions.errors import FlowMaestroError
from executions.models import Run, Workflow, WorkflowVersion
from executions.rules.definition import InvalidDefinition, read
from executions.tests.callers import Caller
from executions.tests.flows import flow
from executions.tests.people import person

IF = ("conditional", {"leftValue": "1", "rightValue": "1"})


def deep(levels):
    value: object = "x"
    for _ in range(levels):
        value = {"d": value}
    return value


def twice(kind="noop"):
    return {"nodes": [{"id": "a", "type": kind}, {"id": "a", "type": kind}], "edges": []}


BAD = {
    "unknown-type": (flow({"a": "teleport"}), "UNKNOWN_NODE_TYPE", "a", "choose"),
    "dangling-target": (flow({"a": "noop"}, "a>b"), "INVALID_EDGE_TARGET", "a", "connect"),
    "dangling-source": (flow({"a": "noop"}, "b>a"), "INVALID_EDGE_SOURCE", "a", "connect"),
    "duplicate-id": (twice(), "DUPLICATE_NODE", "a", "rename"),
    "10-mb-config": (
        flow({"ok": "noop", "a": ("llm", {"prompt": "x" * 10_000_000})}), "TOO_LARGE", "a", "move",
    ),
    "1-mb-template": (
        flow({"a": ("templateOutput", {"template": "{{x}} " * 170_000})}), "TOO_LARGE", "a", "move",
    ),
    "deep-config": (flow({"ok": "noop", "a": ("noop", deep(150))}), "TOO_DEEP", "a", "flatten"),
    "just-too-deep": (flow({"a": ("noop", deep(58))}), "TOO_DEEP", "a", "flatten"),
    "no-node": (flow({}), "NO_NODES", None, "add"),
    "no-type": ({"nodes": {"a": {"config": {}}}, "edges": []}, "INVALID_NODE", "a", "choose"),
    "missing-field": (flow({"a": ("switch", {"cases": ["x"]})}), "INVALID_CONFIG", "a", "fill"),
    "no-condition": (flow({"a": "conditional"}), "INVALID_CONFIG", "a", "set"),
    "bad-goto": (
        flow({"a": ("noop", {}, {"onError": {"strategy": "goto", "gotoNode": "z"}})}),
        "UNKNOWN_GOTO", "a", "name",
    ),
    "nul": (flow({"a": ("noop", {"text": "a\0b"})}), "INVALID_INPUT", "a", "remove"),
    "surrogate": (flow({"a": ("noop", {"text": "\ud800"})}), "INVALID_INPUT", "a", "remove"),
    "settings": (flow({"a": "noop"}, settings={"timeout": -1}), "INVALID_SETTINGS", None,
     "must be"),
}  # fmt: skip
CASES = [pytest.param(*case, id=name) for name, case in BAD.items()]


def assert_nothing_stored():
    assert not Workflow.objects.exists()
    assert not WorkflowVersion.objects.exists()
    assert not Run.objects.exists()


def assert_said(issues, code, node, remedy):
    found = next(issue for issue in issues if issue["code"] == code)
    assert found["severity"] == "error"
    assert found["node"] == node
    assert remedy in found["message"]
    assert len(found["message"]) < 400


@pytest.mark.django_db
@pytest.mark.parametrize(("definition", "code", "node", "remedy"), CASES)
def test_saving_and_starting_refuse(definition, code, node, remedy):
    for act in (
        lambda: workflows.save_workflow("Bad", definition),
        lambda: workflows.import_workflow("Bad", definition),
        lambda: workflow_runs.start(definition),
    ):
        with pytest.raises(InvalidDefinition) as caught:
            act()
        assert_said([issue.as_json() for issue in caught.value.issues], code, node, remedy)
    assert_said([i.as_json() for i in workflows.validate(definition)], code, node, remedy)
    assert_nothing_stored()


@pytest.mark.django_db
@pytest.mark.parametrize(("definition", "code", "node", "remedy"), CASES)
def test_the_api_refuses(definition, code, node, remedy):
    caller = Caller(person("ada"))
    answer = caller.post("workflows/execute", {"workflowDefinition": definition})
    assert answer.status_code == 400, answer.content[:500]
    assert_said(answer.json()["details"]["issues"], code, node, remedy)
    assert_nothing_stored()


@pytest.mark.django_db
@pytest.mark.parametrize("levels", [3_000, 100_000])
def test_the_api_refuses_json_that_is_nested_for_ever(levels):
    text = '{"workflowDefinition": ' + '{"a":' * levels + "1" + "}" * levels + "}"
    answer = Caller(person("ada")).send("workflows/execute", text)
    assert answer.status_code == 400
    assert "flatten" in answer.json()["error"]
    assert_nothing_stored()


@pytest.mark.django_db
@pytest.mark.parametrize(("definition", "code", "node", "remedy"), CASES)
def test_the_commands_refuse(definition, code, node, remedy, tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(definition))
    for command in ("import_workflows", "validate_workflow"):
        out = StringIO()
        with pytest.raises(SystemExit) as ended:
            call_command(command, str(path), "--json", stdout=out, stderr=StringIO())
        assert ended.value.code == 1
        assert_said(json.loads(out.getvalue())[0]["issues"], code, node, remedy)
    with pytest.raises(CommandError, match=remedy):
        call_command("run_workflow", str(path), stdout=StringIO(), stderr=StringIO())
    assert_nothing_stored()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("text", "code", "node"),
    [
        (
            '{"nodes": {"a": {"type": "noop"}, "a": {"type": "llm"}}, "edges": []}',
            "DUPLICATE_NODE",
            "a",
        ),
        ('{"nodes": ' + "[" * 5_000 + "]" * 5_000 + "}", "TOO_DEEP", None),
        ('{"nodes": {', "NOT_JSON", None),
        (
            '{"nodes": {"a": {"type": "noop", "config": {"n": NaN}}}, "edges": []}',
            "INVALID_INPUT",
            None,
        ),
    ],
)
def test_a_file_that_is_no_definition_is_refused(text, code, node, tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(text)
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("import_workflows", str(path), "--json", stdout=out, stderr=StringIO())
    found = json.loads(out.getvalue())[0]["issues"][0]
    assert (found["code"], found["node"]) == (code, node)
    assert_nothing_stored()


def test_the_largest_that_fits_is_taken():
    definition = flow({"a": ("templateOutput", {"template": "x" * 990_000})})
    graph, issues = read(definition, nodes.find)
    assert graph is not None and issues == []


WARNINGS = [
    (flow({"a": "noop", "b": "noop", "z": "noop"}, "a>b"), "ORPHAN_NODE", "z", "connect"),
    (flow({"a": "noop", "x": "noop", "y": "noop"}, "x>y", "y>x"), "UNREACHABLE_NODE", "x",
     "connect"),
    (flow({"c": IF}), "CONDITIONAL_MISSING_BRANCH", "c", "edge"),
    (flow({"s": ("switch", {"expression": "1", "cases": ["1"]})}), "CONDITIONAL_MISSING_BRANCH",
     "s", "connect"),
    (flow({"c": IF, "a": "noop"}, "c:true>a"), "DEAD_END_BRANCH", "c", "connect"),
    (flow({"c": IF, "a": "noop"}, "c:maybe>a"), "UNKNOWN_HANDLE", "c", "use one of"),
    (flow({"s": ("switch", {"expression": "1", "cases": ["1"]}), "a": "noop"}, "s:2>a"),
     "UNKNOWN_HANDLE", "s", "use one of 1, default"),
    (flow({"l": ("loop", {"arrayPath": "in"}), "b": "noop"}, "l>b"), "LOOP_NO_BODY", "l",
     "connect"),
    (flow({"l": ("loop", {"arrayPath": "nobody.rows"}), "b": "noop"}, "l:body>b"),
     "LOOP_ARRAY_UNDEFINED", "l", "correct the name"),
    (flow({"o": ("output", {"value": "{{nobody.name}}"})}), "UNDEFINED_VARIABLE", "o",
     "correct the name"),
    (flow({"c": ("if", {"condition": "nobody > 1"})}), "UNDEFINED_VARIABLE", "c",
     "correct the name"),
    (flow({"c": ("if", {"condition": "a => 1"})}), "INVALID_EXPRESSION", "c", "correct it"),
    (flow({"o": ("output", {"value": "{{a.map(x => x)}}"})}), "INVALID_EXPRESSION", "o",
     "stays as written"),
    (flow({"a": ("llm", {"prompt": "Say hello", "outputVariable": "r"}),
           "b": ("llm", {"prompt": "Say hello", "outputVariable": "r"})}, "a>b"),
     "OUTPUT_VARIABLE_CONFLICT", "b", "rename"),
    (flow({"a": ("llm", {"prompt": "Say hello", "outputVariable": "r"}), "b": "noop"}, "a>b"),
     "UNUSED_EXPENSIVE_OUTPUT", "a", "remove"),
    (flow({"l": ("loop", {"count": 2}), "a": ("llm", {"prompt": "Say hello"})}, "l:body>a"),
     "EXPENSIVE_LOOP_OPERATION", "l", "maxIterations"),
    (flow({"a": "noop"}), "NO_WORKFLOW_OUTPUT", None, "add an output node"),
    (flow({"a": ("vision", {"prompt": "?"})}), "EMPTY_PROMPT", "a", "write"),
    (flow({"a": ("http", {"url": "http://x/?key=YOUR_API_KEY"})}), "PLACEHOLDER_CONTENT", "a",
     "write the real"),
]  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize(("definition", "code", "node", "remedy"), WARNINGS)
def test_a_warning_names_code_node_and_remedy(definition, code, node, remedy):
    issues = workflows.validate(definition)
    found = next(issue for issue in issues if (issue.code, issue.node) == (code, node))
    assert found.severity == "warning"
    assert remedy in found.message
    assert all(issue.severity == "warning" for issue in issues)


@pytest.mark.django_db
def test_two_branches_may_write_one_name():
    write = ("llm", {"prompt": "Say hello", "outputVariable": "r"})
    definition = flow(
        {"c": IF, "a": write, "b": write, "o": ("output", {"value": "{{r}}"})},
        "c:true>a", "c:false>b", "a>o", "b>o",
    )  # fmt: skip
    assert workflows.validate(definition) == []


@pytest.mark.django_db
def test_a_definition_with_warnings_is_stored():
    version = workflows.save_workflow("Fine", flow({"a": "noop"}))
    assert version.number == 1
    with pytest.raises(FlowMaestroError):
        workflows.save_workflow("Fine", twice())
    assert WorkflowVersion.objects.count() == 1
