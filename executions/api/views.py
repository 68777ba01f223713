"""Executions over HTTP: start one, look, follow its events, answer its question, cancel it."""

from __future__ import annotations

from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from executions import reviews, runs, workflow_runs
from executions.access import Scope
from executions.api import serializers as shapes
from executions.api.base import ApiView, read, success


class Execute(ApiView):
    """POST /api/workflows/execute"""

    scopes = {"POST": Scope.TRIGGER}

    def post(self, request: Request) -> Response:
        """Start a definition; 202 with the run's id."""
        given = read(shapes.ExecuteSerializer, request.data)
        handle = workflow_runs.start(
            given["workflowDefinition"],
            inputs=given["inputs"],
            pins=given["pins"],
            owner=self.caller.user_id,
            workspace=self.caller.workspace_id,
        )
        run = handle.retrieve()
        data = {"executionId": run.id, "status": run.status}
        return success(data, http_status=status.HTTP_202_ACCEPTED)


class Executions(ApiView):
    """GET /api/executions"""

    scopes = {"GET": Scope.READ}

    def get(self, request: Request) -> Response:
        """Executions, newest first; `next` is the `after` of the following page."""
        query = read(shapes.ListQuerySerializer, request.query_params)
        limit = query["limit"]
        found = workflow_runs.recent(self.caller, limit=limit + 1, after=query["after"])
        items = [shapes.summary(run) for run in found[:limit]]
        has_more = len(found) > limit
        return success(
            {
                "items": items,
                "pageSize": limit,
                "hasMore": has_more,
                "next": items[-1]["executionId"] if has_more else None,
            }
        )


class Execution(ApiView):
    """GET /api/executions/{id}"""

    scopes = {"GET": Scope.READ}

    def get(self, request: Request, run_id: str) -> Response:
        """The run with its nodes."""
        run = workflow_runs.retrieve_for(self.caller, run_id)
        return success(workflow_runs.describe(run))


class Events(ApiView):
    """GET /api/executions/{id}/events?after="""

    scopes = {"GET": Scope.READ}

    def get(self, request: Request, run_id: str) -> Response:
        """The events after a number; `isFinal` once no more of them can come."""
        query = read(shapes.EventsQuerySerializer, request.query_params)
        # The status first: a run that is final has written its last event.
        run = workflow_runs.glance_for(self.caller, run_id)
        limit = query["limit"]
        found = runs.events(run.id, after=query["after"], limit=limit)
        return success(
            {
                "events": [shapes.event(row) for row in found],
                "cursor": found[-1].seq if found else query["after"],
                "status": run.status,
                "isFinal": run.is_final and len(found) < limit,
            }
        )


class SubmitResponse(ApiView):
    """POST /api/executions/{id}/submit-response"""

    scopes = {"POST": Scope.COMPLETE}

    def post(self, request: Request, run_id: str) -> Response:
        """Answer the run's open question, or the one that tokenId names."""
        given = read(shapes.ResponseSerializer, request.data)
        run = workflow_runs.glance_for(self.caller, run_id)
        token = reviews.answer(run.id, given["response"], token_id=given["tokenId"])
        return success({"executionId": run.id, "tokenId": token.id, "status": token.status})


class Cancel(ApiView):
    """POST /api/executions/{id}/cancel"""

    scopes = {"POST": Scope.CANCEL}

    def post(self, request: Request, run_id: str) -> Response:
        """Ask for the run to be cancelled; its code may still clean up."""
        given = read(shapes.CancelSerializer, request.data)
        run = workflow_runs.glance_for(self.caller, run_id)
        reason = given["reason"] or f"Cancelled by {self.caller.name}."
        return success(shapes.summary(runs.cancel(run.id, reason=reason, actor=self.caller.actor)))
