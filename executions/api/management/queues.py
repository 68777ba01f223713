"""Queues: look at them, pause and resume them, limit how many of their runs execute at once.

They belong to the whole installation: what is in them is counted for the caller's workspace, and
only who sees all workspaces may change them.
"""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import unquote

from rest_framework.request import Request
from rest_framework.response import Response

from executions import queues, registry
from executions.access import Scope, ScopeMissing
from executions.api.management.base import ManagementView, body_of, numbered_page, only, text_of
from executions.api.management.options import queue_name
from executions.errors import Invalid
from executions.models import Run
from executions.queues import QueueState

Json = Any
_TYPES = ("id", "task", "custom")


class QueueView(ManagementView):
    """A view about queues."""

    def shape(self, name: str) -> Response:
        """The queue as it stands for the caller."""
        state = queues.state_of(name, self.caller.visible(Run.objects.all()))
        return Response(_shape(state))

    def check_reach(self) -> None:
        """Raises ScopeMissing unless the caller may change what everybody shares."""
        if not self.caller.sees_all:
            raise ScopeMissing(
                "A queue belongs to the whole installation; it is changed with a key for all "
                "workspaces of a member of the staff."
            )


class Queues(QueueView):
    """GET /api/v1/queues"""

    scopes: ClassVar = {"GET": Scope.READ}

    def get(self, request: Request) -> Response:
        """A page of queues, by name."""
        found = queues.states(self.caller.visible(Run.objects.all()))
        shown, pagination = numbered_page(request, found)
        return Response({"data": [_shape(state) for state in shown], "pagination": pagination})


class RetrievedQueue(QueueView):
    """GET /api/v1/queues/{name}"""

    scopes: ClassVar = {"GET": Scope.READ}

    def get(self, request: Request, name: str) -> Response:
        """One queue."""
        return self.shape(_name(name, request.query_params.get("type")))


class Pause(QueueView):
    """POST /api/v1/queues/{name}/pause"""

    scopes: ClassVar = {"POST": Scope.ADMIN}

    def post(self, request: Request, name: str) -> Response:
        """Pauses or resumes the queue; what executes goes on."""
        self.check_reach()
        body = body_of(request)
        only(body, "type", "action")
        action = text_of(body, "action", is_required=True)
        if action not in ("pause", "resume"):
            raise Invalid(f"action is pause or resume, not {action!r}.", field="action")
        queue = _name(name, text_of(body, "type"))
        queues.set_paused(queue, action == "pause", actor=self.caller.actor)
        return self.shape(queue)


class Override(QueueView):
    """POST /api/v1/queues/{name}/concurrency/override"""

    scopes: ClassVar = {"POST": Scope.ADMIN}

    def post(self, request: Request, name: str) -> Response:
        """Sets a limit that holds instead of the one in the code."""
        self.check_reach()
        body = body_of(request)
        only(body, "type", "concurrencyLimit")
        if body.get("concurrencyLimit") is None:
            raise Invalid("concurrencyLimit is a whole number from 1.", field="concurrencyLimit")
        queue = _name(name, text_of(body, "type"))
        self.shape(queue)
        queues.set_limit(queue, body["concurrencyLimit"], actor=self.caller.actor)
        return self.shape(queue)


class Reset(QueueView):
    """POST /api/v1/queues/{name}/concurrency/reset"""

    scopes: ClassVar = {"POST": Scope.ADMIN}

    def post(self, request: Request, name: str) -> Response:
        """Gives the queue the limit of the code again."""
        self.check_reach()
        body = body_of(request)
        only(body, "type")
        queue = _name(name, text_of(body, "type"))
        self.shape(queue)
        queues.reset_limit(queue, actor=self.caller.actor)
        return self.shape(queue)


def _name(given: str, kind: str | None) -> str:
    """The queue that a path means; the SDK escapes slashes twice."""
    if kind not in (None, *_TYPES):
        raise Invalid(f"type is one of {', '.join(_TYPES)}, not {kind!r}.", field="type")
    name = unquote(given)
    return queue_name(f"task/{name}") if kind == "task" else queue_name(name)


def _shape(state: QueueState) -> dict[str, Json]:
    queue = state.queue
    is_of_task = any(queue.name == entry.queue == entry.id for entry in registry.all_tasks())
    return {
        "id": queue.name,
        "name": queue.name,
        "type": "task" if is_of_task else "custom",
        "running": state.executing,
        "queued": state.queued,
        "paused": queue.paused_at is not None,
        "concurrencyLimit": queue.concurrency_limit,
        "version": "V1",
        "concurrency": {
            "current": queue.concurrency_limit,
            "base": queue.declared_limit,
            "override": queue.concurrency_limit if queue.is_overridden else None,
            "overriddenAt": None,
            "overriddenBy": None,
        },
    }
