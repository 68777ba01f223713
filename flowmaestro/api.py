"""The edge of the HTTP API: who calls, and how an error becomes a response."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.http import Http404
from rest_framework import exceptions, status, views
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.response import Response

from executions.access import Caller
from executions.errors import FlowMaestroError
from flowmaestro.models import ApiKey


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer fm_…`. Who calls becomes `request.auth`."""

    def authenticate(self, request: Request) -> tuple[Any, Caller] | None:
        """The key's user and who calls; None when the request carries no key."""
        scheme, _, value = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        key = ApiKey.find(value.strip().decode("latin-1"))
        caller = None if key is None else key.caller()
        if key is None or caller is None:
            raise exceptions.AuthenticationFailed("This API key is not valid, or was revoked.")
        key.note_use()
        return key.user, caller

    def authenticate_header(self, request: Request) -> str:
        """What a 401 asks for."""
        return 'Bearer realm="flowmaestro"'


class BoundedJSONParser(JSONParser):
    """JSON; a body nested deeper than Python follows is the caller's mistake, not a fault here."""

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: dict[str, Any] | None = None,
    ) -> Any:
        """The body's value. Raises ParseError."""
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise exceptions.ParseError("The JSON is nested too deeply; flatten it.") from error


def handle_error(error: Exception, context: dict[str, Any]) -> Response | None:
    """`{success: false, error, code, details}` for every deliberate error; None for a bug (500)."""
    if isinstance(error, FlowMaestroError):
        views.set_rollback()
        details: dict[str, Any] = {"field": error.field} if error.field else {}
        if issues := getattr(error, "issues", None):
            details["issues"] = [issue.as_json() for issue in issues]
        return _response(error.http_status, error.message, error.code, details)
    if isinstance(error, RequestDataTooBig):
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        message = f"The body is over the limit of {limit:,} bytes; send less of it."
        return _response(status.HTTP_413_REQUEST_ENTITY_TOO_LARGE, message, "too_large", {})
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if not isinstance(error, exceptions.APIException):
        return None
    views.set_rollback()
    response = _from_rest_framework(error)
    if challenge := getattr(error, "auth_header", None):
        response["WWW-Authenticate"] = challenge
    if wait := getattr(error, "wait", None):
        response["Retry-After"] = str(int(wait))
    return response


def _from_rest_framework(error: exceptions.APIException) -> Response:
    if isinstance(error, exceptions.ValidationError):
        details = error.detail if isinstance(error.detail, dict) else {"errors": error.detail}
        return _response(status.HTTP_400_BAD_REQUEST, _first(error.detail), "invalid", details)
    code = error.get_codes()
    return _response(error.status_code, str(error.detail), str(code), {})


def _first(detail: Any) -> str:
    """The first sentence of a validation error, with the field it is about."""
    if isinstance(detail, dict):
        field, inner = next(iter(detail.items()))
        return f"{field}: {_first(inner)}"
    if isinstance(detail, list):
        return _first(detail[0]) if detail else "The input is not valid."
    return str(detail)


def _response(http_status: int, message: str, code: str, details: Any) -> Response:
    content = {"success": False, "error": message, "code": code, "details": details}
    return Response(content, status=http_status)
