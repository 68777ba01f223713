"""What is done to workflows: validate, save as a new version, load for a run."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max

from executions import nodes
from executions.errors import Conflict, Invalid, NotFound
from executions.rules.definition import parse, read
from executions.rules.graph import Issue
from executions.rules.ids import new_id
from executions.rules.loops import find_structure
from executions.rules.validation import find_warnings

Json = Any


def validate(definition: Json) -> list[Issue]:
    """Everything to change in a definition; errors prevent a run, warnings do not."""
    graph, issues = read(definition, nodes.find)
    if graph is None:
        return issues
    return [*issues, *find_warnings(find_structure(graph))]


def save_workflow(name: str, definition: Json, owner: Any = None) -> Any:
    """Store a definition as the next version of the owner's workflow of that name.

    Versions never change. Raises InvalidDefinition, with nothing stored, when it cannot run.
    """
    from executions.models import Workflow, WorkflowVersion

    if not isinstance(name, str) or not name.strip():
        raise Invalid("A workflow needs a name.", field="name")
    graph = parse(definition, nodes.find)
    try:
        with transaction.atomic():
            workflow = Workflow.objects.select_for_update().filter(name=name, owner=owner).first()
            if workflow is None:
                workflow = Workflow.objects.create(
                    id=new_id("workflow"), name=name, description=graph.description, owner=owner
                )
            latest = workflow.versions.aggregate(last=Max("number"))["last"] or 0
            return WorkflowVersion.objects.create(
                id=new_id("version"), workflow=workflow, number=latest + 1, definition=definition
            )
    except IntegrityError as error:
        raise Conflict(
            f"The workflow {name!r} was saved by someone else at the same moment; save again."
        ) from error


def load_definition(workflow_id: str) -> Json:
    """The newest version of a workflow, or a version by its own id: {definition, versionId, …}."""
    from executions.models import WorkflowVersion

    versions = WorkflowVersion.objects.select_related("workflow")
    version = (
        versions.filter(workflow_id=workflow_id).order_by("-number").first()
        or versions.filter(pk=workflow_id).first()
    )
    if version is None:
        raise NotFound(f"There is no workflow {workflow_id!r}.", field="workflowId")
    return {
        "definition": version.definition,
        "versionId": version.pk,
        "number": version.number,
        "name": version.workflow.name,
    }
