"""What a request answers that no view answered: JSON where programs ask, else a page."""

from __future__ import annotations

import sys
from typing import Any, Final

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults

# Under these, answers are for programs.
PREFIXES: Final = ("/api/", "/webhooks/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400: Django refused the request before any view."""
    if not _is_for_programs(request):
        return defaults.bad_request(request, exception)
    return _answer(400, "The request is not one this server takes.", "bad_request")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403"""
    if not _is_for_programs(request):
        return defaults.permission_denied(request, exception)
    return _answer(403, "This is not for the caller.", "permission_denied")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404"""
    if not _is_for_programs(request):
        return defaults.page_not_found(request, exception)
    return _answer(404, "There is nothing at this address.", "not_found")


def server_error(request: HttpRequest) -> HttpResponse:
    """500, or 503 while the database is away; the log has the reason, the answer does not."""
    if not _is_for_programs(request):
        return defaults.server_error(request)
    if isinstance(sys.exc_info()[1], (OperationalError, InterfaceError)):
        return _answer(503, "The database does not answer; try again later.", "unavailable")
    return _answer(500, "The server failed; its log says why.", "error")


def _is_for_programs(request: HttpRequest) -> bool:
    return request.path_info.startswith(PREFIXES)


def _answer(status: int, message: str, code: str) -> HttpResponse:
    content: dict[str, Any] = {"success": False, "error": message, "code": code, "details": {}}
    return JsonResponse(content, status=status)
