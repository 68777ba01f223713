"""Which pages of other origins may read what the API answers.

A page that sends a bearer says who it is by a header, which no browser adds by itself: any origin
may do that, without cookies. Origins on the operator's list may also come with the session's
cookie; everything else is for our own pages only. Webhooks have lists of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

PATHS: Final = "/api/"
# What takes no bearer, and no page: addresses that are secrets themselves.
_NOT_FOR_PAGES: Final = re.compile(r"/api/v1/(waitpoints/tokens/[^/]+/callback/|uploads/)")
_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
_EXPOSED: Final = (
    "Retry-After, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, "
    "x-trigger-jwt-claims, x-trigger-jwt"
)
_MAX_AGE: Final = "7200"
# More names than any client sends; what a preflight asks for is only repeated.
_LONGEST_LIST: Final = 2000


class CorsMiddleware:
    """Answers preflights of the API, and adds what a browser looks for to its answers."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """The answer, with its headers for other origins."""
        path = request.path_info
        if not path.startswith(PATHS) or _NOT_FOR_PAGES.match(path):
            return self._get_response(request)
        origin = request.META.get("HTTP_ORIGIN")
        asked = request.META.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD")
        if origin and asked and request.method == "OPTIONS":
            return _preflight(request, origin)
        response = self._get_response(request)
        patch_vary_headers(response, ("Origin",))
        if origin:
            has_bearer = request.META.get("HTTP_AUTHORIZATION", "")[:7].lower() == "bearer "
            _allow(response, origin, has_bearer=has_bearer)
            if "Access-Control-Allow-Origin" in response:
                response["Access-Control-Expose-Headers"] = _EXPOSED
        return response


def _preflight(request: HttpRequest, origin: str) -> HttpResponse:
    response = HttpResponse(status=204)
    wanted = request.META.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")[:_LONGEST_LIST]
    names = {name.strip().lower() for name in wanted.split(",")}
    _allow(response, origin, has_bearer="authorization" in names)
    if "Access-Control-Allow-Origin" in response:
        response["Access-Control-Allow-Methods"] = _METHODS
        response["Access-Control-Allow-Headers"] = wanted
        response["Access-Control-Max-Age"] = _MAX_AGE
    patch_vary_headers(response, ("Origin", "Access-Control-Request-Headers"))
    return response


def _allow(response: HttpResponseBase, origin: str, *, has_bearer: bool) -> None:
    if origin.lower() in settings.CORS_ORIGINS:
        response["Access-Control-Allow-Origin"] = origin
        response["Access-Control-Allow-Credentials"] = "true"
    elif has_bearer:
        # Without credentials: to this answer a cookie could not have added anything.
        response["Access-Control-Allow-Origin"] = "*"
