"""Executions over HTTP: start one, look, follow its events, answer its question, cancel it."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from executions import reviews, runs, workflow_runs
from executions.api import serializers as shapes

Json = Any


def _read(kind: type[serializers.Serializer[Any]], data: Any) -> dict[str, Any]:
    """The request's data, checked; what is wrong with it answers 400."""
    serializer = kind(data=data)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def _success(data: Json, *, http_status: int = status.HTTP_200_OK) -> Response:
    return Response({"success": True, "data": data}, status=http_status)


class Execute(APIView):
    """POST /api/workflows/execute"""

    def post(self, request: Request) -> Response:
        """Start a definition; 202 with the run's id."""
        given = _read(shapes.ExecuteSerializer, request.data)
        handle = workflow_runs.start(
            given["workflowDefinition"],
            inputs=given["inputs"],
            pins=given["pins"],
            owner=request.user.pk,
        )
        run = handle.retrieve()
        data = {"executionId": run.id, "status": run.status}
        return _success(data, http_status=status.HTTP_202_ACCEPTED)


class Executions(APIView):
    """GET /api/executions"""

    def get(self, request: Request) -> Response:
        """Executions, newest first; `next` is the `after` of the following page."""
        query = _read(shapes.ListQuerySerializer, request.query_params)
        limit = query["limit"]
        found = workflow_runs.recent(request.user, limit=limit + 1, after=query["after"])
        items = [shapes.summary(run) for run in found[:limit]]
        has_more = len(found) > limit
        return _success(
            {
                "items": items,
                "pageSize": limit,
                "hasMore": has_more,
                "next": items[-1]["executionId"] if has_more else None,
            }
        )


class Execution(APIView):
    """GET /api/executions/{id}"""

    def get(self, request: Request, run_id: str) -> Response:
        """The run with its nodes."""
        run = workflow_runs.retrieve_for(request.user, run_id)
        return _success(workflow_runs.describe(run))


class Events(APIView):
    """GET /api/executions/{id}/events?after="""

    def get(self, request: Request, run_id: str) -> Response:
        """The events after a number; `isFinal` once no more of them can come."""
        query = _read(shapes.EventsQuerySerializer, request.query_params)
        # The status first: a run that is final has written its last event.
        run = workflow_runs.glance_for(request.user, run_id)
        limit = query["limit"]
        found = runs.events(run.id, after=query["after"], limit=limit)
        return _success(
            {
                "events": [shapes.event(row) for row in found],
                "cursor": found[-1].seq if found else query["after"],
                "status": run.status,
                "isFinal": run.is_final and len(found) < limit,
            }
        )


class SubmitResponse(APIView):
    """POST /api/executions/{id}/submit-response"""

    def post(self, request: Request, run_id: str) -> Response:
        """Answer the run's open question, or the one that tokenId names."""
        given = _read(shapes.ResponseSerializer, request.data)
        run = workflow_runs.glance_for(request.user, run_id)
        token = reviews.answer(run.id, given["response"], token_id=given["tokenId"])
        return _success({"executionId": run.id, "tokenId": token.id, "status": token.status})


class Cancel(APIView):
    """POST /api/executions/{id}/cancel"""

    def post(self, request: Request, run_id: str) -> Response:
        """Ask for the run to be cancelled; its code may still clean up."""
        given = _read(shapes.CancelSerializer, request.data)
        run = workflow_runs.glance_for(request.user, run_id)
        reason = given["reason"] or f"Cancelled by {request.user}."
        return _success(shapes.summary(runs.cancel(run.id, reason=reason)))
