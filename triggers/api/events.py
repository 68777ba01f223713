"""Events over HTTP: publish one, and learn what it started."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from executions.access import Scope
from executions.api.base import ApiView, read, success
from executions.api.schema import enveloped
from triggers.api import trigger_shapes as shapes
from triggers.events import publish_event


class Events(ApiView):
    """/api/events"""

    tag = "Events"
    scopes = {"POST": Scope.TRIGGER}

    @extend_schema(request=shapes.EventBody, responses={202: enveloped(shapes.PublishedShape)})
    def post(self, request: Request) -> Response:
        """Publishes an event in the workspace: every trigger that hears it starts its workflow.

        An event with an `id` is published once; whoever repeats it learns what the first started.
        """
        given = read(shapes.EventBody, request.data)
        found = publish_event(
            given["name"], given["payload"], source=given["source"], id=given["id"],
            workspace=self.caller.workspace_id,
        )  # fmt: skip
        data = {
            "runs": list(found.runs.values()), "triggers": found.runs, "failed": found.failed,
            "isRepeated": found.is_repeated,
        }  # fmt: skip
        return success(data, http_status=status.HTTP_202_ACCEPTED)
