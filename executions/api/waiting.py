"""Requests that wait for a run to end: without a database connection, and not past their client."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponseBase
from rest_framework.response import Response

from executions import runs, workflow_runs
from executions.api.base import ApiView
from executions.inspection.run_ends import watch
from executions.models import Run

Json = Any


class Pending(Response):
    """202 for a run that was started; what waits for it may turn it into 200 with the outcome."""

    def __init__(self, run: Run, *, seconds: float) -> None:
        super().__init__(status=202)
        self.run_id = run.id
        self.seconds = seconds
        self.show(run)

    def show(self, run: Run) -> None:
        """Makes the answer say how the run stands."""
        # Who does not wait is told the same, however quick the run is.
        has_ended = run.is_final and self.seconds > 0
        self.status_code = 200 if has_ended else 202
        data = workflow_runs.outcome(run) if has_ended else _started(run)
        self.data = {"success": True, "data": data}


def _started(run: Run) -> Json:
    return {"executionId": run.id, "status": run.status}


class WaitingView(ApiView):
    """A view whose methods may answer with `Pending`.

    What comes before and after the wait is ordinary code on the request's thread. The wait itself
    is a coroutine: a client that goes away ends it.
    """

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., Any]:
        """The view function."""
        view = super().as_view(**initkwargs)

        @functools.wraps(view)
        async def waiting(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            response: HttpResponseBase = await sync_to_async(_let_go)(
                view, request, *args, **kwargs
            )
            if isinstance(response, Pending) and response.seconds and response.status_code == 202:
                await watch.until_ended(response.run_id, response.seconds)
                # Also after the time is up: by now the run is no longer as it was.
                await sync_to_async(_look_again)(response)
            return response

        return waiting


@functools.cache
def _turns() -> threading.BoundedSemaphore:
    """Each waiting request has a thread; so many at a time have a database connection."""
    return threading.BoundedSemaphore(settings.FLOWMAESTRO.WEB_THREADS)


@contextmanager
def _a_turn() -> Iterator[None]:
    """A time with the database, which is let go of afterwards, before anything is waited for."""
    with _turns():
        try:
            yield
        finally:
            if not connection.in_atomic_block:
                connection.close()


def _let_go(view: Callable[..., Any], *args: Any, **kwargs: Any) -> HttpResponseBase:
    with _a_turn():
        response: HttpResponseBase = view(*args, **kwargs)
        return response


def _look_again(response: Pending) -> None:
    with _a_turn():
        response.show(runs.retrieve(response.run_id))
