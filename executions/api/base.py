"""What every view of the API shares: the caller and their scopes, input, envelopes."""

from __future__ import annotations

from collections.abc import Mapping
from io import SEEK_END
from typing import Any, ClassVar

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from rest_framework import serializers, status
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from executions import access
from executions.access import Caller, Scope, ScopeMissing

Json = Any
WORKSPACE_HEADER = "X-Workspace-Id"


class HasScope(BasePermission):
    """Lets through who may use the verb that the view names for the method."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Raises NotAuthenticated or ScopeMissing; a view is told who calls."""
        assert isinstance(view, ApiView)
        if request.method == "OPTIONS":
            return True
        caller = caller_of(request)
        if caller is None:
            raise NotAuthenticated()
        view.caller = caller
        if caller.grants is not None:
            if not view.public_access(request, **view.kwargs):
                raise ScopeMissing("This public token was not made for that.")
            return True
        wanted = view.scopes.get(str(request.method))
        # A method of no entry is one that the view does not have: 405 says so.
        if wanted is not None:
            caller.require(wanted)
        return True


class MeasuredView(APIView):
    """A view whose bodies may come in chunks, of no length that is told beforehand."""

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """The request with the length of its body; without one it would be taken for none."""
        if isinstance(request, ASGIRequest) and not request.META.get("CONTENT_LENGTH"):
            # The server has all of it in a file by now.
            stream = request._stream
            request.META["CONTENT_LENGTH"] = str(stream.seek(0, SEEK_END))
            stream.seek(0)
        return super().initialize_request(request, *args, **kwargs)


class ApiView(MeasuredView):
    """A view that says, for each of its methods, which scope it takes; None: any caller may."""

    permission_classes = (HasScope,)
    scopes: ClassVar[Mapping[str, Scope | None]] = {}
    caller: Caller

    def public_access(self, request: Request, **kwargs: Any) -> bool:
        """Whether `self.caller.grants` cover this request; no, unless a view says otherwise."""
        return False


def caller_of(request: Request) -> Caller | None:
    """Who sends a request: the key or public token, or the signed-in user; None for nobody.

    A header may name the workspace: for a signed-in user any that they are in, for a key its own,
    for one for all workspaces any. Raises NotFound for another.
    """
    named = request.headers.get(WORKSPACE_HEADER)
    if isinstance(request.auth, Caller):
        return request.auth if named is None else request.auth.within(named)
    if not request.user.is_authenticated:
        return None
    return access.of_user(request.user, named)


def read(kind: type[serializers.Serializer[Any]], data: Any) -> dict[str, Any]:
    """The request's data, checked; what is wrong with it answers 400."""
    serializer = kind(data=data)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def success(data: Json, *, http_status: int = status.HTTP_200_OK) -> Response:
    """`{success: true, data}`."""
    return Response({"success": True, "data": data}, status=http_status)
