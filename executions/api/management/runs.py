"""Runs: one, many, its outcome; cancel, replay and move it; its tags and metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from executions import run_metadata, run_tags, runs
from executions.access import Scope
from executions.api.management import filters, operations, options, shapes
from executions.api.management.base import (
    ManagementView,
    body_of,
    looks_like_a_moment,
    moment_of,
    only,
)
from executions.errors import Conflict, Invalid, NotFound
from executions.inspection import run_details, run_lists
from executions.models import Run
from executions.parcels import SUPERJSON, parse

Json = Any
_OPTIONS_OF_REPLAY = (
    "metadata", "tags", "concurrencyKey", "machine", "version", "region", "delay", "ttl",
    "idempotencyKey", "idempotencyKeyTTL", "maxAttempts", "maxDuration", "priority",
)  # fmt: skip


class RunView(ManagementView):
    """A view about one run."""

    def runs(self) -> QuerySet[Run]:
        """The runs that the caller sees."""
        return self.caller.visible(Run.objects.all())

    def find(self, run_id: str) -> Run:
        """The run, if the caller sees it. Raises NotFound."""
        return run_details.find(self.caller, run_id)

    def public_access(self, request: Request, **kwargs: Any) -> bool:
        """To read: whoever may read the run, its task, its batch or one of its tags."""
        return request.method == "GET" and self.may_read(kwargs["run_id"])

    def may_read(self, run_id: str) -> bool:
        """Whether the public token covers reading this run; not for one that is not there."""
        grants = self.caller.grants
        assert grants is not None
        if grants.allows("read", "runs", run_id):
            return True
        found = self.runs().filter(pk=run_id).values("task", "tags", "source").first()
        return found is not None and (
            grants.allows("read", "tasks", found["task"])
            or any(grants.allows("read", "tags", tag) for tag in found["tags"])
            or (bool(found["source"]) and grants.allows("read", "batch", found["source"]))
        )


class Runs(ManagementView):
    """GET /api/v1/runs"""

    scopes: ClassVar = {"GET": Scope.READ}

    def get(self, request: Request) -> Response:
        """A page of runs, newest first."""
        query = filters.read(request.query_params)
        page = run_lists.page(
            self.caller.visible(Run.objects.all()), query.filters, size=query.size,
            after=query.place.after, before=query.place.before,
        )  # fmt: skip
        keys = run_details.idempotency_keys(page.runs)
        return Response(
            {
                "data": [shapes.listed(run, keys) for run in page.runs],
                "pagination": query.place.pages(page.next, page.previous),
            }
        )

    def public_access(self, request: Request, **kwargs: Any) -> bool:
        """Whoever may read all runs, or all that one of the filters lets through."""
        return filters.covered(request.query_params, self.caller.grants)


class RetrievedRun(RunView):
    """GET /api/v3/runs/{id}"""

    scopes: ClassVar = {"GET": Scope.READ}

    def get(self, request: Request, run_id: str) -> Response:
        """The run with its relatives."""
        return Response(shapes.retrieved(run_details.details(self.caller, run_id)))


class Result(RunView):
    """GET /api/v1/runs/{id}/result"""

    scopes: ClassVar = {"GET": Scope.READ}

    def get(self, request: Request, run_id: str) -> Response:
        """How the run ended; 404 until it has."""
        run = self.find(run_id)
        if not run.is_final:
            raise NotFound(f"Run {run.id} is {run.status}; it has no result yet.", field="run")
        return Response(shapes.result(run))


class Cancel(RunView):
    """POST /api/v2/runs/{id}/cancel"""

    scopes: ClassVar = {"POST": Scope.CANCEL}

    def post(self, request: Request, run_id: str) -> Response:
        """Asks for the run to be cancelled; one that has ended stays as it is."""
        run = self.find(run_id)
        try:
            runs.cancel(run.id, reason=f"Cancelled by {self.caller.name}.", actor=self.caller.actor)
        except Conflict:
            if not self.find(run_id).is_final:
                raise
        return Response({"id": run.id})


class Replay(RunView):
    """POST /api/v1/runs/{id}/replay"""

    scopes: ClassVar = {"POST": Scope.REPLAY}

    def post(self, request: Request, run_id: str) -> Response:
        """A new run of the same task, with the same payload and options unless others are given."""
        body = body_of(request)
        only(body, "payload", "payloadType", "queue", *_OPTIONS_OF_REPLAY)
        given: dict[str, Json] = {
            name: body[name] for name in _OPTIONS_OF_REPLAY if body.get(name) is not None
        }
        if body.get("queue") is not None:
            given["queue"] = {"name": body["queue"]}
        more = {"payload": _payload(body)} if "payload" in body else {}
        handle = runs.replay(
            self.find(run_id).id, options=options.read(given, prefix=""),
            reason=f"Replayed by {self.caller.name}.", actor=self.caller.actor, **more,
        )  # fmt: skip
        return Response({"id": handle.id})


def _payload(body: Mapping[str, Json]) -> Json:
    kind, payload = body.get("payloadType"), body["payload"]
    if kind in (None, "application/json"):
        return payload
    if kind != SUPERJSON or not isinstance(payload, str):
        raise Invalid(f"payload is text when payloadType is {SUPERJSON}.", field="payload")
    return parse(payload, SUPERJSON, field="payload")


class Reschedule(RunView):
    """POST /api/v1/runs/{id}/reschedule"""

    scopes: ClassVar = {"POST": Scope.TRIGGER}

    def post(self, request: Request, run_id: str) -> Response:
        """Moves the start of a delayed run."""
        body = body_of(request)
        only(body, "delay")
        delay = body.get("delay")
        if not isinstance(delay, str):
            raise Invalid('delay is a length of time, "1h30m", or a moment.', field="delay")
        moved = moment_of(delay, field="delay") if looks_like_a_moment(delay) else delay
        run = runs.reschedule(self.find(run_id).id, moved, actor=self.caller.actor)
        return Response(shapes.retrieved(run_details.details(self.caller, run.id)))


class Tags(RunView):
    """POST /api/v1/runs/{id}/tags"""

    scopes: ClassVar = {"POST": Scope.TRIGGER}

    def post(self, request: Request, run_id: str) -> Response:
        """Adds tags; 422 when there would be over ten."""
        body = body_of(request)
        only(body, "tags")
        tags = body.get("tags")
        given = [tags] if isinstance(tags, str) else tags
        if not isinstance(given, list):
            raise Invalid("tags is text or a list of texts.", field="tags")
        after = run_tags.add(self.find(run_id).id, given, actor=self.caller.actor)
        return Response({"message": f"The run has {len(after)} tags.", "tags": after})


class Metadata(RunView):
    """GET and PUT /api/v1/runs/{id}/metadata"""

    scopes: ClassVar = {"GET": Scope.READ, "PUT": Scope.TRIGGER}

    def get(self, request: Request, run_id: str) -> Response:
        """The run's metadata."""
        return Response({"metadata": self.find(run_id).data.metadata})

    def put(self, request: Request, run_id: str) -> Response:
        """Replaces it, or applies operations to it and to that of the parent and the root."""
        body = body_of(request)
        only(body, "metadata", "operations", "parentOperations", "rootOperations")
        after = run_metadata.change(
            self.find(run_id).id,
            [*operations.replacement(body), *operations.read(body, "operations")],
            parent=operations.read(body, "parentOperations"),
            root=operations.read(body, "rootOperations"),
            actor=self.caller.actor,
        )
        return Response({"metadata": after})
