"""Triggering a task, and uploading a payload for it."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.urls import reverse
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from executions import intake, parcels
from executions.access import Scope
from executions.api.management import grants, options
from executions.api.management.base import ClientView, ManagementView, body_of, only
from executions.errors import Invalid, TooLarge

REQUEST_KEY = "x-trigger-request-idempotency-key"


class Trigger(ManagementView):
    """POST /api/v1/tasks/{task}/trigger"""

    scopes: ClassVar = {"POST": Scope.TRIGGER}

    def post(self, request: Request, task: str) -> Response:
        """Starts a run of the task."""
        body = body_of(request)
        only(body, "payload", "context", "options")
        handle = intake.trigger(
            options.ask_of(task, body),
            owner=self.caller.user_id,
            workspace=self.caller.workspace_id,
            request_key=request.headers.get(REQUEST_KEY),
            permit=grants.permit_of(self.caller),
        )
        data = {"id": handle.id, "isCached": handle.is_cached}
        if handle.is_cached and self.caller.grants is not None:
            # A token for triggering must not open a run that somebody else has started.
            return Response(data)
        return grants.with_token(self.caller, Response(data), [f"read:runs:{handle.id}"])

    def public_access(self, request: Request, **kwargs: Any) -> bool:
        """Whoever may trigger this task."""
        assert self.caller.grants is not None
        return self.caller.grants.allows("trigger", "tasks", kwargs["task"])


class Parcel(ManagementView):
    """PUT /api/v2/packets/{name}"""

    scopes: ClassVar = {"PUT": Scope.TRIGGER}

    def put(self, request: Request, name: str) -> Response:
        """An address to upload a payload to, and what a trigger calls it by."""
        parcel, word = parcels.announce(self.caller.workspace_id)
        address = request.build_absolute_uri(reverse("management-upload", args=[word]))
        return Response({"presignedUrl": address, "storagePath": parcel.id})

    def public_access(self, request: Request, **kwargs: Any) -> bool:
        """Whoever may trigger anything: a large payload goes ahead of its trigger."""
        return grants.may_trigger(self.caller)


class TextParser(BaseParser):
    """A body of any type, as its text, up to the size of a payload."""

    media_type = "*/*"

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: dict[str, Any] | None = None,
    ) -> str:
        """The text. Raises TooLarge, or Invalid unless it is UTF-8."""
        limit = settings.FLOWMAESTRO.PAYLOAD_LIMIT
        data = stream.read(limit + 1)
        if len(data) > limit:
            raise TooLarge(f"payload is over the limit of {limit:,} bytes.", field="payload")
        try:
            return str(data, "utf-8")
        except UnicodeDecodeError as error:
            raise Invalid(f"payload is not UTF-8: {error}.", field="payload") from error


class Upload(ClientView):
    """PUT /api/v1/uploads/{word}: the address itself is the permission."""

    authentication_classes = ()
    permission_classes = ()
    parser_classes = (TextParser,)

    def put(self, request: Request, word: str) -> Response:
        """Takes the payload, once."""
        text = request.data
        parcels.upload(word, text if isinstance(text, str) else "", request.content_type or "")
        return Response({})
