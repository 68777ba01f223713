"""The edge of the HTTP API: who calls, and how an error becomes a response."""

from __future__ import annotations

import json
import logging
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest
from rest_framework import authentication, exceptions, renderers, status, views
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.utils.json import strict_constant

from executions.access import Caller
from executions.api.limits import Budget, TooManyRequests
from executions.errors import FlowMaestroError
from executions.rules import json_depth
from flowmaestro import public_tokens, throttles
from flowmaestro.models import ApiKey

logger = logging.getLogger(__name__)


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer fm_…`, or a public token. Who calls becomes `request.auth`."""

    def authenticate(self, request: Request) -> tuple[Any, Caller] | None:
        """The key's user and who calls; None when the request carries no key."""
        scheme, _, value = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        throttles.refuse_blocked(request)
        found = self._find(value.strip().decode("latin-1"))
        # Before permissions: what is refused for want of a scope has been counted, too.
        throttles.charge_caller(request, found[1])
        return found

    def _find(self, text: str) -> tuple[Any, Caller]:
        if public_tokens.has_shape(text):
            return public_tokens.authenticate(text)
        key = ApiKey.find(text)
        caller = None if key is None else key.caller()
        if key is None or caller is None:
            raise exceptions.AuthenticationFailed("This API key is not valid, or was revoked.")
        key.note_use()
        return key.user, caller

    def authenticate_header(self, request: Request) -> str:
        """What a 401 asks for."""
        return 'Bearer realm="flowmaestro"'


class SessionAuthentication(authentication.SessionAuthentication):
    """Who is signed in, with a CSRF token beside the cookie; counted like a key."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        """The signed-in user."""
        found: tuple[Any, None] | None = super().authenticate(request)
        if found is not None:
            throttles.charge_user(request, found[0])
        return found


class AddressThrottle(BaseThrottle):
    """Counts who may do without a key, by their address."""

    def allow_request(self, request: Request, view: Any) -> bool:
        """Raises TooManyRequests; whoever has said who it is has been counted."""
        throttles.charge(request)
        return True


class BoundedJSONParser(JSONParser):
    """JSON, within the limits of size and depth."""

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: dict[str, Any] | None = None,
    ) -> Any:
        """The body's value. Raises ParseError, or RequestDataTooBig."""
        # Of a request as it came, only `body` looks at the limit of size.
        data = stream.body if isinstance(stream, HttpRequest) else stream.read()
        encoding = (parser_context or {}).get("encoding") or settings.DEFAULT_CHARSET
        try:
            value = json.loads(str(data, encoding), parse_constant=strict_constant)
        except RecursionError as error:
            raise _too_deep() from error
        except (ValueError, LookupError) as error:
            raise exceptions.ParseError(f"JSON parse error - {error}") from error
        if json_depth.may_be_deep(data) and json_depth.is_too_deep(value):
            raise _too_deep()
        return value


def _too_deep() -> exceptions.ParseError:
    return exceptions.ParseError(
        f"The JSON is nested more than {json_depth.MAX_DEPTH} levels deep; flatten it."
    )


class JSONRenderer(renderers.JSONRenderer):
    """JSON; what a caller sent and is told of again may hold half a character."""

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Any = None,
    ) -> bytes:
        """The body."""
        try:
            return bytes(super().render(data, accepted_media_type, renderer_context))
        except UnicodeEncodeError:
            text = json.dumps(data, cls=self.encoder_class, allow_nan=not self.strict)
            return text.encode("ascii")


def handle_error(error: Exception, context: dict[str, Any]) -> Response | None:
    """`{success: false, error, code, details}` for every deliberate error; None for a bug (500)."""
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        error = _counted(error, context)
    if isinstance(error, OperationalError | InterfaceError):
        # The message may name hosts and users; the log has it.
        logger.error("The database does not answer.", exc_info=error)
        message = "The database does not answer; try again later."
        return _response(status.HTTP_503_SERVICE_UNAVAILABLE, message, "unavailable", {})
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


def _counted(error: Exception, context: dict[str, Any]) -> Exception:
    """The error, once the address it came from has paid for it; or that it can not."""
    try:
        if (request := context.get("request")) is not None:
            throttles.charge(request, budget=Budget.ADDRESS)
    except TooManyRequests as refused:
        return refused
    return error


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
