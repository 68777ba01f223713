"""Workflows over HTTP: keep them, look at their versions, check them, run them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from executions import workflow_edits, workflow_runs, workflows
from executions.access import Caller, Scope
from executions.api.base import ApiView, read, success
from executions.api.schema import enveloped, paged
from executions.api.serializers import workflows as shapes
from executions.api.serializers.common import Moment, ReasonBody, ReasonQuery
from executions.api.waiting import Pending, WaitingView
from executions.errors import Invalid
from executions.models import Workflow as Row
from executions.workflow_edits import UNCHANGED, Changes

Json = Any
SAVED = enveloped(shapes.WorkflowShape)
RUN = {200: enveloped(shapes.Outcome), 202: enveloped(shapes.Started)}


class Workflows(ApiView):
    """/api/workflows"""

    tag = "Workflows"
    scopes = {"GET": Scope.READ, "POST": Scope.ADMIN}

    @extend_schema(
        parameters=[shapes.WorkflowsQuery],
        responses={200: enveloped(paged(shapes.WorkflowSummary))},
    )
    def get(self, request: Request) -> Response:
        """The workspace's workflows and the shared ones, the last changed first."""
        query = read(shapes.WorkflowsQuery, request.query_params)
        limit, offset = query["limit"], query["offset"]
        found, total = workflow_edits.page(
            self.caller, search=query["search"], limit=limit, offset=offset
        )
        return success(
            {
                "items": shapes.WorkflowSummary(found, many=True).data,
                "total": total,
                "page": offset // limit + 1,
                "pageSize": limit,
                "hasMore": offset + len(found) < total,
            }
        )

    @extend_schema(request=shapes.NewWorkflow, responses={201: SAVED})
    def post(self, request: Request) -> Response:
        """Stores a new workflow with its first version."""
        given = read(shapes.NewWorkflow, request.data)
        version = workflow_edits.create(
            self.caller, given["name"], given["definition"],
            description=given["description"], reason=given["reason"],
        )  # fmt: skip
        return success(shown(self.caller, version.workflow_id), http_status=status.HTTP_201_CREATED)


class Workflow(ApiView):
    """/api/workflows/{id}"""

    tag = "Workflows"
    scopes = {
        "GET": Scope.READ, "PUT": Scope.ADMIN, "PATCH": Scope.ADMIN, "DELETE": Scope.ADMIN,
    }  # fmt: skip

    @extend_schema(responses={200: SAVED})
    def get(self, request: Request, workflow_id: str) -> Response:
        """A workflow with the definition of its newest version."""
        return success(shown(self.caller, workflow_id))

    @extend_schema(request=shapes.ChangedWorkflow, responses={200: SAVED})
    def put(self, request: Request, workflow_id: str) -> Response:
        """Changes what is given; another definition becomes a new version."""
        given = read(shapes.ChangedWorkflow, request.data)
        changes = Changes(
            name=given.get("name"),
            description=given.get("description"),
            definition=given.get("definition", UNCHANGED),
            base=given["baseVersion"],
        )
        workflow_edits.update(self.caller, workflow_id, changes, reason=given["reason"])
        return success(shown(self.caller, workflow_id))

    @extend_schema(request=shapes.ChangedWorkflow, responses={200: SAVED})
    def patch(self, request: Request, workflow_id: str) -> Response:
        """The same as PUT."""
        return self.put(request, workflow_id)

    @extend_schema(parameters=[ReasonQuery], responses={204: None})
    def delete(self, request: Request, workflow_id: str) -> Response:
        """Takes a workflow out of use; its runs stay, and go on."""
        reason = read(ReasonQuery, request.query_params)["reason"]
        workflow_edits.delete(self.caller, workflow_id, reason=reason)
        return Response(status=status.HTTP_204_NO_CONTENT)


class Versions(ApiView):
    """/api/workflows/{id}/versions"""

    tag = "Workflows"
    scopes = {"GET": Scope.READ}

    @extend_schema(
        parameters=[shapes.VersionsQuery], responses={200: enveloped(shapes.VersionList)}
    )
    def get(self, request: Request, workflow_id: str) -> Response:
        """The versions of a workflow, the newest first."""
        query = read(shapes.VersionsQuery, request.query_params)
        workflow, limit = workflow_edits.find(self.caller, workflow_id), query["limit"]
        found = workflow_edits.versions(workflow, before=query["before"], limit=limit + 1)
        part, has_more = found[:limit], len(found) > limit
        return success(
            {
                "items": shapes.VersionSummary(part, many=True).data,
                "pageSize": limit,
                "hasMore": has_more,
                "next": part[-1].number if has_more else None,
            }
        )


class Version(ApiView):
    """/api/workflows/{id}/versions/{version}"""

    tag = "Workflows"
    scopes = {"GET": Scope.READ}

    @extend_schema(responses={200: enveloped(shapes.VersionShape)})
    def get(self, request: Request, workflow_id: str, version: str) -> Response:
        """A version by its id or its number."""
        workflow = workflow_edits.find(self.caller, workflow_id)
        return success(shapes.VersionShape(workflow_edits.find_version(workflow, version)).data)


class Revert(ApiView):
    """/api/workflows/{id}/versions/{version}/revert"""

    tag = "Workflows"
    scopes = {"POST": Scope.ADMIN}

    @extend_schema(request=ReasonBody, responses={201: SAVED})
    def post(self, request: Request, workflow_id: str, version: str) -> Response:
        """Stores the definition of an old version as the newest one."""
        reason = read(ReasonBody, request.data)["reason"]
        workflow_edits.revert(self.caller, workflow_id, version, reason=reason)
        return success(shown(self.caller, workflow_id), http_status=status.HTTP_201_CREATED)


class Validate(ApiView):
    """/api/workflows/validate"""

    tag = "Workflows"
    scopes = {"POST": Scope.READ}

    @extend_schema(request=shapes.Definition, responses={200: enveloped(shapes.Verdict)})
    def post(self, request: Request) -> Response:
        """Says what to change in a definition; runs and stores nothing."""
        return success(verdict_on(read(shapes.Definition, request.data)["workflowDefinition"]))


class ValidateStored(ApiView):
    """/api/workflows/{id}/validate"""

    tag = "Workflows"
    scopes = {"POST": Scope.READ}

    @extend_schema(request=shapes.MaybeDefinition, responses={200: enveloped(shapes.Verdict)})
    def post(self, request: Request, workflow_id: str) -> Response:
        """The same for the newest version of a workflow, or for what is to become the next."""
        workflow = workflow_edits.find(self.caller, workflow_id)
        given = read(shapes.MaybeDefinition, request.data)
        return success(verdict_on(given.get("workflowDefinition", definition_of(workflow))))


class Execute(WaitingView):
    """/api/workflows/execute"""

    tag = "Workflows"
    scopes = {"POST": Scope.TRIGGER}

    @extend_schema(request=shapes.Execute, responses=RUN)
    def post(self, request: Request) -> Response:
        """Runs a definition as it stands in the request.

        200 with what the run came to, also when it failed, if it ended within `wait` seconds;
        else 202 with its id.
        """
        given = read(shapes.Execute, request.data)
        handle = workflow_runs.start(
            given["workflowDefinition"], owner=self.caller.user_id,
            workspace=self.caller.workspace_id, **options_of(given),
        )  # fmt: skip
        return Pending(handle.retrieve(), seconds=given["wait"])


class ExecuteStored(WaitingView):
    """/api/workflows/{id}/execute"""

    tag = "Workflows"
    scopes = {"POST": Scope.TRIGGER}

    @extend_schema(request=shapes.ExecuteStored, responses=RUN)
    def post(self, request: Request, workflow_id: str) -> Response:
        """Runs the newest version of a workflow.

        Answers as the same does for a definition in the request.
        """
        given = read(shapes.ExecuteStored, request.data)
        workflow = workflow_edits.find(self.caller, workflow_id)
        handle = workflow_runs.start_stored(
            workflow.id, owner=self.caller.user_id,
            # Its connections are those of where it belongs.
            workspace=workflow.workspace_id or self.caller.workspace_id, **options_of(given),
        )  # fmt: skip
        return Pending(handle.retrieve(), seconds=given["wait"])


# ---- parts --------------------------------------------------------------------------------------


def shown(caller: Caller, workflow_id: str) -> Json:
    """A workflow as it is answered."""
    workflow = workflow_edits.find(caller, workflow_id)
    workflow.definition = definition_of(workflow)  # type: ignore[attr-defined]
    return shapes.WorkflowShape(workflow).data


def definition_of(workflow: Row) -> Json:
    """The definition of a workflow's newest version."""
    newest = workflow.versions.order_by("-number").first()
    return None if newest is None else newest.definition


def verdict_on(definition: Json) -> Json:
    """What is wrong with a definition."""
    issues = workflows.validate(definition)
    return {
        "isValid": all(issue.severity != "error" for issue in issues),
        "issues": [issue.as_json() for issue in issues],
    }


def options_of(given: dict[str, Json]) -> dict[str, Json]:
    """The inputs, the pins and the options of a run, from a request."""
    found = {
        "inputs": given["inputs"],
        "pins": given["pins"],
        "idempotency_key": given["idempotencyKey"],
        "tags": given["tags"],
        "metadata": given["metadata"],
        "delay": None if given["delay"] is None else _delay(given["delay"]),
    }
    return {name: value for name, value in found.items() if value not in (None, [])}


def _delay(text: str) -> float | str | datetime:
    """A length of time or a moment."""
    try:
        is_moment = parse_datetime(text) is not None
    except ValueError as error:
        raise Invalid(f"delay is not a moment: {error}.", field="delay") from error
    if is_moment:
        try:
            moment: datetime = Moment().run_validation(text)
        except ValidationError as error:
            raise ValidationError({"delay": error.detail}) from error
        return moment
    try:
        return float(text)
    except ValueError:
        return text
