"""Tests of saving and loading workflows."""

from __future__ import annotations

import pytest

from executions import workflows
from executions.errors import Invalid, NotFound
from executions.models import Workflow, WorkflowVersion
from executions.rules.definition import InvalidDefinition
from executions.tests.flows import flow

pytestmark = pytest.mark.django_db


def test_each_save_is_a_new_version_and_the_newest_is_loaded():
    first = workflows.save_workflow("greet", flow({"a": "noop"}))
    second = workflows.save_workflow("greet", flow({"a": "noop", "b": "noop"}))
    assert (first.number, second.number) == (1, 2)
    assert first.workflow_id == second.workflow_id
    found = workflows.load_definition(first.workflow_id)
    assert (found["number"], set(found["definition"]["nodes"])) == (2, {"a", "b"})
    assert workflows.load_definition(first.pk)["number"] == 1


def test_a_definition_that_cannot_run_is_not_stored():
    with pytest.raises(InvalidDefinition, match="teleport"):
        workflows.save_workflow("bad", flow({"a": "teleport"}))
    with pytest.raises(Invalid):
        workflows.save_workflow(" ", flow({"a": "noop"}))
    assert not Workflow.objects.exists()
    assert not WorkflowVersion.objects.exists()


def test_an_unknown_workflow_is_named():
    with pytest.raises(NotFound, match="'nothing'"):
        workflows.load_definition("nothing")


def test_validate_tells_warnings_beside_errors():
    definition = flow({"l": ("loop", {"arrayPath": "xs"}), "b": "noop"}, "l>b")
    found = {issue.code: issue.severity for issue in workflows.validate(definition)}
    assert set(found.values()) == {"warning"}
    assert {"LOOP_NO_BODY", "LOOP_ARRAY_UNDEFINED"} <= found.keys()
