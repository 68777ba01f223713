"""Triggers over HTTP: make, list, change, delete; execute one, change its secret, read its log."""

from __future__ import annotations

from datetime import timedelta

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from executions.access import Scope
from executions.api.base import ApiView, read, success
from executions.api.schema import enveloped, listed
from executions.connections import ANYONE, Where
from triggers import triggers
from triggers.api import trigger_shapes as shapes


class _TriggerView(ApiView):
    """A view of triggers in the caller's workspace; staff see all."""

    tag = "Triggers"

    @property
    def where(self) -> Where:
        """Whose triggers are meant."""
        return ANYONE if self.caller.sees_all else self.caller.workspace_id


class Triggers(_TriggerView):
    """/api/triggers"""

    scopes = {"GET": Scope.READ, "POST": Scope.ADMIN}

    @extend_schema(
        parameters=[shapes.ListQuery], responses={200: enveloped(listed(shapes.TriggerShape))}
    )
    def get(self, request: Request) -> Response:
        """The triggers of the workspace, newest first.

        `next` is the `after` of the following page.
        """
        query = read(shapes.ListQuery, request.query_params)
        limit = query["limit"]
        found = triggers.list_triggers(
            workspace=self.where, workflow=query["workflowId"], type=query["type"],
            enabled=query["enabled"], after=query["after"], limit=limit + 1,
        )  # fmt: skip
        items = [triggers.public(row) for row in found[:limit]]
        return success(shapes.page(items, limit, has_more=len(found) > limit))

    @extend_schema(request=shapes.CreateTrigger, responses={201: enveloped(shapes.StoredTrigger)})
    def post(self, request: Request) -> Response:
        """Makes a trigger for a workflow.

        The answer holds a webhook's `secret`: it is shown this once. `config` depends on the type:
        schedule {cronExpression, timezone, enabled, inputs}, webhook {method, authType,
        signatureStyle, allowedOrigins, ...}, event {eventType, source, filters}, manual {inputs,
        inputSchema, requireInputs}.
        """
        given = read(shapes.CreateTrigger, request.data)
        stored = triggers.create(
            workflow=given["workflowId"], name=given["name"], type=given["triggerType"],
            config=given["config"], enabled=given["enabled"], secret=given.get("secret"),
            owner=self.caller.user_id, workspace=self.caller.workspace_id,
            actor=self.caller.actor,
        )  # fmt: skip
        return success(shapes.stored(stored), http_status=status.HTTP_201_CREATED)


class Trigger(_TriggerView):
    """/api/triggers/{id}"""

    scopes = {
        "GET": Scope.READ, "PUT": Scope.ADMIN, "PATCH": Scope.ADMIN, "DELETE": Scope.ADMIN,
    }  # fmt: skip

    @extend_schema(responses={200: enveloped(shapes.TriggerDetails)})
    def get(self, request: Request, trigger_id: str) -> Response:
        """A trigger, with its schedule where it has one."""
        row = triggers.retrieve(trigger_id, workspace=self.where)
        return success(shapes.details(row))

    @extend_schema(request=shapes.ChangeTrigger, responses={200: enveloped(shapes.StoredTrigger)})
    def put(self, request: Request, trigger_id: str) -> Response:
        """Changes what is given; a `config` replaces the one before.

        A `secret` that the change brings about is shown this once.
        """
        given = read(shapes.ChangeTrigger, request.data)
        stored = triggers.update(
            trigger_id, workspace=self.where, name=given.get("name"), config=given.get("config"),
            enabled=given.get("enabled"), workflow=given.get("workflowId"),
            secret=given.get("secret"), actor=self.caller.actor,
        )  # fmt: skip
        return success(shapes.stored(stored))

    @extend_schema(request=shapes.ChangeTrigger, responses={200: enveloped(shapes.StoredTrigger)})
    def patch(self, request: Request, trigger_id: str) -> Response:
        """The same as PUT."""
        return self.put(request, trigger_id)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, trigger_id: str) -> Response:
        """Deletes a trigger, its schedule and its secret."""
        triggers.delete(trigger_id, workspace=self.where, actor=self.caller.actor)
        return Response(status=status.HTTP_204_NO_CONTENT)


class Execute(_TriggerView):
    """/api/triggers/{id}/execute"""

    scopes = {"POST": Scope.TRIGGER}

    @extend_schema(request=shapes.ExecuteTrigger, responses={202: enveloped(shapes.Executed)})
    def post(self, request: Request, trigger_id: str) -> Response:
        """Starts the trigger's workflow now, whatever its type.

        Without `inputs`, those of its config are taken; they have to fit its `inputSchema`.
        """
        given = read(shapes.ExecuteTrigger, request.data)
        row, inputs, handle = triggers.execute(
            trigger_id, given["inputs"], workspace=self.where, actor=self.caller.actor
        )
        data = {
            "executionId": handle.id, "workflowId": row.workflow_id, "triggerId": row.id,
            "status": handle.retrieve().status, "inputs": inputs,
        }  # fmt: skip
        return success(data, http_status=status.HTTP_202_ACCEPTED)


class RotateSecret(_TriggerView):
    """/api/triggers/{id}/rotate-secret"""

    scopes = {"POST": Scope.ADMIN}

    @extend_schema(request=shapes.Rotate, responses={200: enveloped(shapes.StoredTrigger)})
    def post(self, request: Request, trigger_id: str) -> Response:
        """Gives a webhook another secret, and shows it this once.

        The old one may count on for a while, until its sender knows the new one.
        """
        given = read(shapes.Rotate, request.data)
        stored = triggers.rotate_secret(
            trigger_id, workspace=self.where, secret=given.get("secret"),
            old_valid_for=timedelta(seconds=given["oldValidForSeconds"]),
            actor=self.caller.actor,
        )  # fmt: skip
        return success(shapes.stored(stored))


class Deliveries(_TriggerView):
    """/api/triggers/{id}/deliveries"""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        parameters=[shapes.PageQuery], responses={200: enveloped(listed(shapes.DeliveryShape))}
    )
    def get(self, request: Request, trigger_id: str) -> Response:
        """The requests to a webhook and their answers, newest first, without what is secret.

        `next` is the `after` of the following page.
        """
        query = read(shapes.PageQuery, request.query_params)
        limit = query["limit"]
        found = triggers.deliveries(
            trigger_id, workspace=self.where, after=query["after"], limit=limit + 1
        )
        items = [shapes.delivery(row) for row in found[:limit]]
        return success(shapes.page(items, limit, has_more=len(found) > limit))
