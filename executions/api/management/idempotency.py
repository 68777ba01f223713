"""Idempotency keys: free one before it expires."""

from __future__ import annotations

from typing import ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from executions import idempotency
from executions.access import Scope
from executions.api.management.base import ManagementView, body_of, only, text_of


class Reset(ManagementView):
    """POST /api/v1/idempotencyKeys/{key}/reset"""

    scopes: ClassVar = {"POST": Scope.TRIGGER}

    def post(self, request: Request, key: str) -> Response:
        """Frees the key, so that the next trigger with it starts a new run."""
        body = body_of(request)
        only(body, "taskIdentifier")
        task = text_of(body, "taskIdentifier", is_required=True)
        idempotency.reset(
            str(task), key, workspace=self.caller.workspace_id, actor=self.caller.actor
        )
        return Response({"id": key})
