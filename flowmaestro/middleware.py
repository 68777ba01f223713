"""What every request passes through: where it comes from, what it costs, what its answer says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.conf import settings
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render

from executions.api.limits import Budget, TooManyRequests
from flowmaestro import addresses, failures, throttles

_SIGN_IN: Final = "admin:login"
# Our own pages: scripts and styles come from our static files alone. Frameworks of the admin, and
# the page that shows the API, write theirs into the page.
_POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_LOOSER: Final = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_LOOSER_PATHS: Final = ("/admin/", "/api/docs/")


class EdgeMiddleware:
    """The client's address, the limit of attempts to sign in, and the headers of answers."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """The answer. Further in, REMOTE_ADDR is the client's and not the proxy's."""
        remote = request.META.get("REMOTE_ADDR") or ""
        forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
        if forwarded:
            request.META["REMOTE_ADDR"] = addresses.client(
                remote, forwarded, settings.TRUSTED_PROXIES
            )
        if settings.SECURE_PROXY_SSL_HEADER and request.META.get("HTTP_HOST") in settings.OWN_HOSTS:
            # Workflows call their own installation past the proxy that has the certificate; no
            # network lies between.
            header, value = settings.SECURE_PROXY_SSL_HEADER
            request.META[header] = value
        if "\0" in request.path_info:
            # No id holds a NUL, and PostgreSQL refuses to look for one.
            return failures.not_found(request, Http404())
        response = self._get_response(request)
        throttles.add_headers(request, response)
        if response.get("Content-Type", "").startswith("text/html"):
            is_looser = request.path_info.startswith(_LOOSER_PATHS)
            response.setdefault("Content-Security-Policy", _LOOSER if is_looser else _POLICY)
        return response

    def process_view(
        self, request: HttpRequest, view: Any, args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        """Counts attempts to sign in: by address and account, and all of an address's."""
        match = request.resolver_match
        if request.method != "POST" or match is None or match.view_name != _SIGN_IN:
            return None
        try:
            throttles.charge(request, budget=Budget.ADDRESS)
            account = request.POST.get("username", "")
            throttles.charge(request, budget=Budget.LOGIN, subject=account)
        except TooManyRequests as error:
            context = {"message": error.message}
            return render(request, "429.html", context, status=error.http_status)
        return None
