"""A run's trace, its spans and its log."""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from executions import runs
from executions.access import Scope
from executions.api.management.base import iso, some, whole
from executions.api.management.runs import RunView
from executions.api.management.shapes import status_of
from executions.errors import Invalid
from executions.inspection import run_traces
from executions.inspection.run_traces import MAX_SPANS

Json = Any
_NANOSECONDS = 1_000_000_000
_MAX_EVENTS = 1000


class Trace(RunView):
    """GET /api/v1/runs/{id}/trace"""

    scopes: ClassVar = {"GET": Scope.READ}

    def get(self, request: Request, run_id: str) -> Response:
        """The run's spans: as a tree, or page by page when a page is asked for."""
        run = self.find(run_id)
        query = request.query_params
        if "page[size]" not in query and "page[after]" not in query:
            root, *spans = [_full(span) for span in run_traces.spans(run)]
            by_id = {root["id"]: root, **{span["id"]: span for span in spans}}
            for span in spans:
                by_id.get(span["parentId"], root)["children"].append(span)
            return Response({"trace": {"traceId": run.root_id or run.id, "rootSpan": root}})
        size = whole(query.get("page[size]"), field="page[size]", default=MAX_SPANS, most=MAX_SPANS)
        after = query.get("page[after]")
        found = run_traces.spans(run, after=None if after is None else _key(after), limit=size)
        steps = [span for span in found if span.run_id == run.id and span.parent_id is not None]
        pages = some(next=_cursor(steps[-1].name) if len(steps) == size else None)
        lean = [_lean(span) for span in found]
        return Response({"data": lean, "attemptFailures": [], "pagination": pages})


class Span(RunView):
    """GET /api/v1/runs/{id}/spans/{span id}"""

    scopes: ClassVar = {"GET": Scope.READ}

    def get(self, request: Request, run_id: str, span_id: str) -> Response:
        """One span with what is known of it."""
        run = self.find(run_id)
        span, started = run_traces.span(run, span_id)
        triggered = [
            {
                "runId": child.id,
                "taskIdentifier": child.task,
                "status": status_of(child),
                "createdAt": iso(child.created_at),
            }
            for child in started
        ]
        return Response(
            {
                **_flags(span),
                "spanId": span.id,
                "parentId": span.parent_id,
                "runId": span.run_id,
                "message": span.name,
                "level": "TRACE",
                "startTime": iso(span.started_at),
                "durationMs": span.seconds * 1000,
                "properties": dict(span.details),
                "events": [],
                "triggeredRuns": triggered,
            }
        )


class Events(RunView):
    """GET /api/v1/runs/{id}/events"""

    scopes: ClassVar = {"GET": Scope.READ}

    def get(self, request: Request, run_id: str) -> Response:
        """The run's log, in order: at most a thousand entries, those after the number `after`."""
        query = request.query_params
        after = query.get("after") or "0"
        if not after.isascii() or not after.isdigit() or len(after) > 9:
            raise Invalid("after is the number of an event.", field="after")
        limit = whole(query.get("limit"), field="limit", default=_MAX_EVENTS, most=_MAX_EVENTS)
        found = runs.events(self.find(run_id).id, after=int(after), limit=limit)
        events = [
            {"seq": row.seq, "type": row.type, "at": iso(row.at), "data": row.data} for row in found
        ]
        return Response({"events": events})


def _flags(span: run_traces.Span) -> dict[str, bool]:
    return {
        "isError": span.is_error,
        "isPartial": span.ended_at is None,
        "isCancelled": span.is_cancelled,
    }


def _lean(span: run_traces.Span) -> dict[str, Json]:
    return {
        "id": span.id,
        "runId": span.run_id,
        "message": span.name,
        "startTime": iso(span.started_at),
        "duration": span.seconds * _NANOSECONDS,
        "level": "TRACE",
        **_flags(span),
        **some(parentId=span.parent_id, attemptNumber=span.attempt),
    }


def _full(span: run_traces.Span) -> dict[str, Json]:
    lean = _lean(span)
    head: dict[str, Json] = {
        name: lean.pop(name) for name in ("id", "runId", "parentId") if name in lean
    }
    details = span.details
    properties = {name: details[name] for name in ("kind", "status", "error") if details.get(name)}
    data = {
        **lean,
        "events": [],
        "properties": properties,
        **some(taskSlug=details.get("task"), queueName=details.get("queue")),
    }
    return {**head, "data": data, "children": []}


def _cursor(key: str) -> str:
    return urlsafe_b64encode(key.encode()).decode()


def _key(cursor: str) -> str:
    try:
        return b64decode(cursor, altchars=b"-_", validate=True).decode().replace("\0", "")
    except ValueError as error:
        raise Invalid("page[after] is a cursor of the page before.", field="page[after]") from error
