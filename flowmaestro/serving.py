"""How requests are answered: on a few lasting threads, each of which keeps its connection.

Django's own handler gives each request a thread and a connection of its own, and changes threads
at every middleware: most of a short request's time. Views that are coroutines keep that handler,
since they wait without holding a thread.
"""

from __future__ import annotations

import io
import select
import time
from concurrent.futures import ThreadPoolExecutor
from inspect import iscoroutinefunction
from typing import Any

from asgiref.sync import sync_to_async
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.db import connections
from django.http import FileResponse, HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, get_resolver, set_script_prefix

# A kept connection is renewed now and then, for the sake of what a server keeps for each.
CONNECTION_SECONDS = 600.0
# Bodies up to this size need no file.
_SMALL_BODY = 64 * 1024

Scope = dict[str, Any]


class SyncHandler(BaseHandler):
    """The middleware and the views, without a change of threads between them."""

    def __init__(self) -> None:
        super().__init__()
        self.load_middleware(is_async=False)

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        """The view, which the path has been resolved to already."""
        match: ResolverMatch | None = getattr(request, "resolver_match", None)
        # A middleware may have chosen other URLs meanwhile.
        if match is None or hasattr(request, "urlconf"):
            return super().resolve_request(request)
        return match


class Handler(ASGIHandler):
    """The ASGI application for HTTP. At most `threads` requests are computed at a time."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self._sync = SyncHandler()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="web")
        self._answer_on_thread = sync_to_async(
            self._answer, thread_sensitive=False, executor=self._threads
        )
        self._close_on_thread = sync_to_async(
            _close, thread_sensitive=False, executor=self._threads
        )

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer one request."""
        match = _resolve(scope)
        if match is not None and iscoroutinefunction(match.func):
            await super().__call__(scope, receive, send)
            return
        try:
            body = await self._body(receive)
        except RequestAborted:
            return
        response = await self._answer_on_thread(scope, body, match)
        try:
            await self.send_response(response, send)
        finally:
            if response.streaming:
                await self._close_on_thread(response)

    async def _body(self, receive: Any) -> Any:
        """The request's body as a file; a small one that came in one piece stays in memory."""
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            piece = message.get("body", b"")
            if len(piece) <= _SMALL_BODY:
                return io.BytesIO(piece)

        async def again() -> Any:
            nonlocal message
            given, message = message, None
            return given if given is not None else await receive()

        return await self.read_body(again)

    # ---- on a thread ----------------------------------------------------------------------------

    def _answer(self, scope: Scope, body: Any, match: ResolverMatch | None) -> HttpResponseBase:
        """The response; a whole one is closed already, as nothing more is asked of its request."""
        set_script_prefix(get_script_prefix(scope))
        _drop_lost_connections()
        signals.request_started.send(sender=type(self), scope=scope)
        request, refusal = self.create_request(scope, body)
        if request is not None:
            response = self._respond(request, match)
        else:
            assert refusal is not None
            body.close()
            response = refusal
        if not response.streaming:
            _close(response)
        return response

    def _respond(self, request: ASGIRequest, match: ResolverMatch | None) -> HttpResponseBase:
        if match is not None:
            request.resolver_match = match
        response = self._sync.get_response(request)
        response._handler_class = type(self)  # type: ignore[attr-defined]
        if isinstance(response, FileResponse):
            response.block_size = self.chunk_size
        return response


def _resolve(scope: Scope) -> ResolverMatch | None:
    """The view for a path; None where there is none, or where something else decides."""
    if scope["type"] != "http":
        return None
    prefix = get_script_prefix(scope)
    path: str = scope["path"]
    if prefix and path.startswith(prefix):
        path = path[len(prefix) :] or "/"
    try:
        return get_resolver().resolve(path)
    except Resolver404:
        return None


def _close(response: HttpResponseBase) -> None:
    """Ends the request, and keeps the thread's connection for the next one."""
    _keep_connections()
    response.close()


def _keep_connections() -> None:
    # CONN_MAX_AGE is 0, for all who have no lasting thread; what they open is due at once.
    now = time.monotonic()
    for connection in connections.all(initialized_only=True):
        if connection.close_at is not None and connection.close_at <= now:
            connection.close_at = now + CONNECTION_SECONDS


def _drop_lost_connections() -> None:
    """Closes what the server has closed meanwhile, so that a restart of it costs no request.

    An idle connection has nothing to read, but for its end or a notice of it.
    """
    for connection in connections.all(initialized_only=True):
        raw = connection.connection
        if raw is not None and not connection.in_atomic_block and _has_ended(raw):
            connection.close()


def _has_ended(raw: Any) -> bool:
    if raw.closed:
        return True
    poll = select.poll()
    poll.register(raw.fileno(), select.POLLIN)
    return bool(poll.poll(0))
