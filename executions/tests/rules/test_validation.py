"""Tests of the warnings about definitions that run all the same."""

from __future__ import annotations

import pytest

from executions import workflows
from executions.tests.flows import flow

IF = ("conditional", {"leftValue": "1", "rightValue": "1"})


@pytest.mark.parametrize(
    ("definition", "code", "node"),
    [
        (flow({"a": "noop", "x": "noop", "y": "noop"}, "x>y", "y>x"), "UNREACHABLE_NODE", "x"),
        (flow({"c": IF, "a": "noop"}, "c:true>a"), "DEAD_END_BRANCH", "c"),
        (flow({"c": IF}), "CONDITIONAL_MISSING_BRANCH", "c"),
        (flow({"a": ("output", {"value": "{{who.name}}"})}), "UNDEFINED_VARIABLE", "a"),
        (flow({"a": ("llm", {"prompt": "Lorem ipsum dolor"})}), "PLACEHOLDER_CONTENT", "a"),
        (flow({"l": ("loop", {"arrayPath": "x"}), "b": "noop"}, "l>b"), "LOOP_NO_BODY", "l"),
    ],
)
def test_a_warning_names_code_and_node(definition, code, node):
    found = {(issue.code, issue.node): issue for issue in workflows.validate(definition)}
    assert found[code, node].severity == "warning"


def test_a_sound_definition_has_no_warnings():
    definition = flow(
        {
            "in": ("input", {"inputName": "x"}),
            "c": ("conditional", {"leftValue": "{{x}}", "rightValue": "1"}),
            "y": ("output", {"value": "{{c.branch}} {{x || 'none'}} {{$now}}"}),
            "n": ("output", {"value": "{{in.x}}"}),
        },
        "in>c", "c:true>y", "c:false>n",
    )  # fmt: skip
    assert workflows.validate(definition) == []
