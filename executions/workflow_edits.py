"""Workflows as people edit them: find, create, change, go back to a version, delete.

Those of nobody are shared: everybody may use them, and only who sees all workspaces may change
them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now

from executions import audit, nodes, workflows
from executions.access import Caller
from executions.audit import Actor
from executions.errors import Conflict, Invalid, NotFound
from executions.examples import Example
from executions.models import Workflow, WorkflowVersion
from executions.rules.definition import parse
from executions.rules.ids import has_prefix, new_id
from executions.rules.values import encode, plain_text

Json = Any

NAME_LIMIT = 255
DESCRIPTION_LIMIT = 1000
UNCHANGED: Final[Any] = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What becomes of a workflow; what is not given stays.

    `base` is the number of the version that the caller has edited.
    """

    name: str | None = None
    description: str | None = None
    definition: Json = UNCHANGED
    base: int | None = None


class ChangedMeanwhile(Conflict):
    """Somebody else has saved the workflow since it was read."""

    code = "changed_meanwhile"


class NameTaken(Conflict):
    """The workspace has another workflow of that name."""

    code = "name_taken"


class SharedWorkflow(Conflict):
    """The workflow is everybody's, and not the caller's to change."""

    code = "shared_workflow"


# ---- look ---------------------------------------------------------------------------------------


def visible(caller: Caller) -> QuerySet[Workflow]:
    """The workflows that the caller may use, each with `newest`: the number of its last version."""
    last = WorkflowVersion.objects.filter(workflow=OuterRef("pk")).order_by("-number")
    found = caller.visible(Workflow.objects.filter(deleted_at=None), shared=True)
    return found.annotate(
        newest=Subquery(last.values("number")[:1]), newest_id=Subquery(last.values("id")[:1])
    )


def page(
    caller: Caller, *, search: str | None = None, limit: int, offset: int = 0
) -> tuple[list[Workflow], int]:
    """Some workflows, the last changed first, and how many there are.

    `search` is a part of the name or the description.
    """
    found = visible(caller)
    if search:
        found = found.filter(Q(name__icontains=search) | Q(description__icontains=search))
    return list(found.order_by("-updated_at", "-id")[offset : offset + limit]), found.count()


def find(caller: Caller, workflow_id: str) -> Workflow:
    """A workflow that the caller may use. Raises NotFound."""
    known = has_prefix(workflow_id, "workflow")
    workflow = visible(caller).filter(pk=workflow_id).first() if known else None
    if workflow is None:
        raise NotFound(f"There is no workflow {workflow_id!r}.", field="workflowId")
    return workflow


def versions(workflow: Workflow, *, before: int | None = None, limit: int) -> list[WorkflowVersion]:
    """The versions of a workflow without their definitions, the newest first."""
    found = workflow.versions.order_by("-number").defer("definition")
    if before is not None:
        found = found.filter(number__lt=before)
    return list(found[:limit])


def find_version(workflow: Workflow, reference: str) -> WorkflowVersion:
    """A version of a workflow by its id or its number. Raises NotFound."""
    by: dict[str, Any] = {"pk": reference} if has_prefix(reference, "version") else {}
    if reference.isascii() and reference.isdigit() and len(reference) < 10:
        by = {"number": int(reference)}
    version = workflow.versions.filter(**by).first() if by else None
    if version is None:
        raise NotFound(
            f"Workflow {workflow.name!r} has no version {reference!r}.", field="versionId"
        )
    return version


# ---- change -------------------------------------------------------------------------------------


def create(
    caller: Caller, name: str, definition: Json, *, description: str | None = None,
    reason: str | None = None,
) -> WorkflowVersion:  # fmt: skip
    """A new workflow with its first version, in the caller's workspace.

    Raises InvalidDefinition, Invalid, TooLarge, or Conflict when the name is taken.
    """
    reason = audit.check_reason(reason)
    _check_definition(definition)
    given = parse(definition, nodes.find).description[:DESCRIPTION_LIMIT]
    row = Workflow(
        id=new_id("workflow"),
        name=_check_name(name),
        description=_check_description(given if description is None else description),
        owner_id=caller.user_id,
        workspace_id=caller.workspace_id,
    )
    with transaction.atomic():
        _put(row, force_insert=True)
        version = workflows.add_version(row, definition)
        after = {**_shown(row), "version": version.number}
        audit.record(caller.actor, "workflow.create", row.id, reason=reason, after=after)
    return version


def copy(
    caller: Caller, example: Example, *, name: str | None = None, reason: str | None = None
) -> WorkflowVersion:
    """A workflow of the caller's workspace like the example, by its name, or a free one near it.

    Raises Invalid for an example that cannot run here, Conflict when the name asked for is taken.
    """
    if example.problem:
        raise Invalid(f"{example.name!r} cannot run here: {example.problem}", field="template")
    return create(
        caller, name or _free_name(caller, example.name), example.definition,
        description=example.description[:DESCRIPTION_LIMIT], reason=reason,
    )  # fmt: skip


def _free_name(caller: Caller, name: str) -> str:
    mine = Workflow.objects.filter(workspace=caller.workspace_id, deleted_at=None)
    taken = set(mine.filter(name__startswith=name).values_list("name", flat=True))
    number = 1
    while (free := name if number == 1 else f"{name} ({number})") in taken:
        number += 1
    return free


def update(
    caller: Caller, workflow_id: str, changes: Changes, *, reason: str | None = None
) -> Workflow:
    """Changes what is given. Another definition becomes a new version; the same one does not.

    Raises NotFound, InvalidDefinition, Invalid, TooLarge, or Conflict when the name is taken, the
    workflow is shared, or another version than `base` is the newest.
    """
    reason = audit.check_reason(reason)
    if changes.definition is not UNCHANGED:
        _check_definition(changes.definition)
        parse(changes.definition, nodes.find)
    with transaction.atomic():
        row, newest = _locked(caller, workflow_id)
        if changes.base is not None and changes.base != newest.number:
            raise ChangedMeanwhile(
                f"Workflow {row.name!r} is at version {newest.number} by now, not {changes.base}; "
                "read it again.",
                field="baseVersion",
            )
        before = {**_shown(row), "version": newest.number}
        if changes.name is not None:
            row.name = _check_name(changes.name)
        if changes.description is not None:
            row.description = _check_description(changes.description)
        _put(row)
        version = newest
        if changes.definition is not UNCHANGED and not workflows.is_same(
            newest.definition, changes.definition
        ):
            version = workflows.add_version(row, changes.definition)
        after = {**_shown(row), "version": version.number}
        if after != before:
            audit.record(
                caller.actor, "workflow.update", row.id, reason=reason, before=before, after=after
            )
    return find(caller, workflow_id)


def revert(
    caller: Caller, workflow_id: str, reference: str, *, reason: str | None = None
) -> WorkflowVersion:
    """A new version with the definition of an old one, which may be the newest itself.

    Raises NotFound, InvalidDefinition when it cannot run any more, Conflict when it is shared.
    """
    reason = audit.check_reason(reason)
    with transaction.atomic():
        row, newest = _locked(caller, workflow_id)
        old = find_version(row, reference)
        parse(old.definition, nodes.find)
        version = workflows.add_version(row, old.definition)
        audit.record(
            caller.actor, "workflow.revert", row.id, reason=reason,
            before={"version": newest.number}, after={"version": version.number, "of": old.number},
        )  # fmt: skip
    return version


def delete(caller: Caller, workflow_id: str, *, reason: str | None = None) -> None:
    """Takes a workflow out of use. Its versions stay, for the runs of it that there are.

    What starts it is switched off. Raises NotFound, or Conflict when it is shared.
    """
    reason = audit.check_reason(reason)
    with transaction.atomic():
        row, newest = _locked(caller, workflow_id)
        row.deleted_at = Now()
        row.save(update_fields=("deleted_at",))
        for follow in _followers:
            follow(row.id, caller.actor)
        before = {**_shown(row), "version": newest.number}
        audit.record(caller.actor, "workflow.delete", row.id, reason=reason, before=before)


Follow = Callable[[str, Actor], None]
_followers: list[Follow] = []


def when_deleted(follow: Follow) -> None:
    """Has higher apps see to what hangs on a deleted workflow, in the same transaction."""
    if follow not in _followers:
        _followers.append(follow)


# ---- parts --------------------------------------------------------------------------------------


def _locked(caller: Caller, workflow_id: str) -> tuple[Workflow, WorkflowVersion]:
    """The workflow, with its row locked, and its newest version."""
    found = find(caller, workflow_id)
    if found.workspace_id is None and not caller.sees_all:
        raise SharedWorkflow(
            f"Workflow {found.name!r} is shared; an operator may change it, and you may copy it.",
            field="workflowId",
        )
    row = Workflow.objects.select_for_update().filter(pk=found.pk, deleted_at=None).first()
    newest = None if row is None else row.versions.order_by("-number").first()
    if row is None or newest is None:
        raise NotFound(f"There is no workflow {workflow_id!r}.", field="workflowId")
    return row, newest


def _put(row: Workflow, *, force_insert: bool = False) -> None:
    """Writes the row; a name that is taken becomes a sentence."""
    row.updated_at = Now()
    try:
        with transaction.atomic():
            row.save(force_insert=force_insert)
    except IntegrityError as error:
        if "workflow_name_once" not in str(error):
            raise
        raise NameTaken(
            f"There is a workflow {row.name!r} already; choose another name.", field="name"
        ) from error


def _check_name(name: str) -> str:
    given = name.strip() if isinstance(name, str) else name
    return plain_text(given, field="name", limit=NAME_LIMIT)


def _check_description(text: str) -> str:
    if not isinstance(text, str) or len(text) > DESCRIPTION_LIMIT or "\0" in text:
        raise Invalid(
            f"description is text of at most {DESCRIPTION_LIMIT} characters.", field="description"
        )
    return text


def _check_definition(definition: Json) -> None:
    # A run reads it in a step, whose output has this limit.
    encode(definition, field="definition", limit=settings.FLOWMAESTRO.OUTPUT_LIMIT)


def _shown(row: Workflow) -> dict[str, Json]:
    return {"name": row.name, "description": row.description, "workspace": row.workspace_id}
