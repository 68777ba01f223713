"""What is done to workflows: validate, save as a new version, find the version for a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.db import OperationalError, transaction
from django.db.models import F, Max, Q, QuerySet
from django.db.models.functions import Now

from executions import nodes, workspaces
from executions.errors import Conflict, Invalid, NotFound
from executions.models import Run, Workflow, WorkflowVersion
from executions.nodes.connectors import ConnectorConfig, problem_of
from executions.rules.definition import parse, read
from executions.rules.graph import Graph, Issue
from executions.rules.ids import new_id
from executions.rules.loops import find_structure
from executions.rules.validation import find_warnings

Json = Any


def validate(definition: Json) -> list[Issue]:
    """Everything to change in a definition; errors prevent a run, warnings do not."""
    graph, issues = read(definition, nodes.find)
    if graph is None:
        return issues
    return [*issues, *find_warnings(find_structure(graph)), *_missing_connectors(graph)]


def _missing_connectors(graph: Graph) -> Iterator[Issue]:
    """What nodes call and is not here. A run may pin them, or never come there: no error yet."""
    for each in graph.nodes.values():
        if isinstance(each.config, ConnectorConfig):
            try:
                problem = problem_of(each.config)
            except OperationalError:
                # Without a database it is not known what is described there.
                return
            if problem is not None:
                code, sentence = problem
                yield Issue(code, f"Node {each.id!r}: {sentence}", each.id, "warning")


def save_workflow(
    name: str, definition: Json, *, owner: int | None = None, workspace: str | None = None
) -> WorkflowVersion:
    """Store a definition as the next version of the workspace's workflow of that name.

    The workspace is the one named, or the owner's own; without either it is shared by all.

    Versions never change. Raises InvalidDefinition, with nothing stored, when it cannot run.
    """
    if not isinstance(name, str) or not name.strip():
        raise Invalid("A workflow needs a name.", field="name")
    graph = parse(definition, nodes.find)
    workspace = workspaces.place_of(owner, workspace)
    mine = Workflow.objects.filter(name=name, workspace=workspace, deleted_at=None)
    with transaction.atomic():
        workflow = mine.select_for_update().first()
        if workflow is None:
            # Of two first saves at one moment the later one waits here, and finds the other's.
            made = Workflow(
                id=new_id("workflow"), name=name, description=graph.description,
                owner_id=owner, workspace_id=workspace,
            )  # fmt: skip
            Workflow.objects.bulk_create([made], ignore_conflicts=True)
            workflow = mine.select_for_update().first()
        if workflow is None:
            raise Conflict(f"The workflow {name!r} was deleted at the same moment; save again.")
        return add_version(workflow, definition)


def add_version(workflow: Workflow, definition: Json) -> WorkflowVersion:
    """Stores the next version of a workflow whose row the caller has locked."""
    latest = workflow.versions.aggregate(last=Max("number"))["last"] or 0
    version = WorkflowVersion.objects.create(
        id=new_id("version"), workflow=workflow, number=latest + 1, definition=definition
    )
    Workflow.objects.filter(pk=workflow.pk).update(updated_at=Now())
    return version


def import_workflow(
    name: str, definition: Json, *, owner: int | None = None, workspace: str | None = None
) -> tuple[WorkflowVersion, bool]:
    """The version that holds the definition, and whether it is new.

    A definition that is the newest version already is left alone.
    """
    workspace = workspaces.place_of(owner, workspace)
    newest = (
        WorkflowVersion.objects.filter(
            workflow__name=name, workflow__workspace=workspace, workflow__deleted_at=None
        )
        .select_related("workflow")
        .order_by("-number")
        .first()
    )
    if newest is not None and is_same(newest.definition, definition):
        return newest, False
    return save_workflow(name, definition, owner=owner, workspace=workspace), True


def is_same(one: Json, other: Json) -> bool:
    """Whether two definitions are one, with the order of their nodes, which means something."""
    return json.dumps(one, ensure_ascii=False) == json.dumps(other, ensure_ascii=False)


def load_definition(workflow_id: str, workspace: str | None = None) -> Json:
    """The newest version of a workflow, or a version by its own id: {definition, versionId, …}.

    For a run of a workspace only what is the workspace's own, or shared; what has been deleted
    meanwhile, too. Raises NotFound.
    """
    found = WorkflowVersion.objects.all()
    if workspace is not None:
        own = Q(workflow__workspace=workspace) | Q(workflow__workspace=None)
        found = found.filter(own)
    version = _version(found, workflow_id)
    return {
        "definition": version.definition,
        "versionId": version.pk,
        "number": version.number,
        "name": version.workflow.name,
    }


def find_version(reference: str, *, workspace: str | None = None) -> WorkflowVersion:
    """The newest version of a workflow, or a version by its own id, of the workspace or shared.

    Raises NotFound also for one of another workspace.
    """
    return _version(_open_to(workspace), reference)


def find_for_run(reference: str | None, name: str | None, run_id: str, max_depth: int) -> Json:
    """The version that a run's node names: {versionId, name}; for a step's body.

    Raises NotFound, or TooDeep when runs of workflows have started each other more than
    `max_depth` times.
    """
    run = Run.objects.only("id", "workspace_id", "parent_id").get(pk=run_id)
    _check_depth(run, max_depth)
    if reference is not None:
        version = _version(_open_to(run.workspace_id), reference)
    else:
        named = _open_to(run.workspace_id).filter(workflow__name=name)
        # One's own before a common one of the same name.
        best = named.order_by(F("workflow__workspace").asc(nulls_last=True), "-number").first()
        if best is None:
            raise NotFound(f"There is no workflow called {name!r}.", field="workflowName")
        version = best
    return {"versionId": version.pk, "name": version.workflow.name}


class TooDeep(Conflict):
    """Workflows have started each other too often."""

    code = "too_deep"
    non_retryable = True


def _check_depth(run: Run, limit: int) -> None:
    depth, parent = 0, run.parent_id
    while parent is not None:
        above = Run.objects.only("task", "parent_id").filter(pk=parent).first()
        depth += above is not None and above.task == run.task
        parent = None if above is None else above.parent_id
        if depth >= limit:
            raise TooDeep(
                f"Workflows have started each other {limit} times over; one of them must end "
                "without starting the next.",
                field="workflowId",
            )


def _open_to(workspace: str | None) -> QuerySet[WorkflowVersion]:
    shared = Q(workflow__workspace=None)
    mine = shared if workspace is None else Q(workflow__workspace=workspace) | shared
    return WorkflowVersion.objects.filter(mine, workflow__deleted_at=None)


def _version(among: QuerySet[WorkflowVersion], reference: str) -> WorkflowVersion:
    found = among.select_related("workflow")
    version = (
        found.filter(workflow_id=reference).order_by("-number").first()
        or found.filter(pk=reference).first()
    )
    if version is None:
        raise NotFound(f"There is no workflow {reference!r}.", field="workflowId")
    return version
