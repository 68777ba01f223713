"""Executions over HTTP: find them, look at one and at what happened in it, compare two."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from executions import runs, workflow_runs
from executions.access import Caller, Scope
from executions.api.base import ApiView, read, success
from executions.api.schema import enveloped, listed
from executions.api.serializers import executions as shapes
from executions.errors import Invalid
from executions.inspection import comparison, run_logs
from executions.inspection.run_logs import Level
from executions.models import RunEvent
from executions.rules.statuses import RunStatus
from executions.workflow_runs import Filters

Json = Any


class RunView(ApiView):
    """A view of one run, which a public token may be made to read."""

    tag = "Executions"
    scopes = {"GET": Scope.READ}

    def public_access(self, request: Request, **kwargs: Any) -> bool:
        """Whether the token lets one read the run, by its id, its task or one of its tags."""
        return workflow_runs.may_read(self.caller, kwargs["run_id"])


class Executions(ApiView):
    """/api/executions"""

    tag = "Executions"
    scopes = {"GET": Scope.READ}

    @extend_schema(
        parameters=[shapes.ExecutionsQuery], responses={200: enveloped(listed(shapes.Summary))}
    )
    def get(self, request: Request) -> Response:
        """Executions, newest first; `next` is the `after` of the following part."""
        query = read(shapes.ExecutionsQuery, request.query_params)
        limit = query["limit"]
        found = workflow_runs.recent(
            self.caller, limit=limit + 1, after=query["after"], filters=_filters(query)
        )
        part, has_more = found[:limit], len(found) > limit
        return success(
            {
                "items": shapes.Summary(part, many=True).data,
                "pageSize": limit,
                "hasMore": has_more,
                "next": part[-1].id if has_more else None,
            }
        )


class Execution(RunView):
    """/api/executions/{id}"""

    @extend_schema(responses={200: enveloped(shapes.Details)})
    def get(self, request: Request, run_id: str) -> Response:
        """An execution with its nodes, its open questions and what it came to."""
        run = workflow_runs.retrieve_for(self.caller, run_id)
        return success(workflow_runs.describe(run))


class Nodes(RunView):
    """/api/executions/{id}/nodes"""

    @extend_schema(responses={200: enveloped(shapes.Nodes)})
    def get(self, request: Request, run_id: str) -> Response:
        """The nodes of an execution, each after those that lead to it."""
        run = workflow_runs.retrieve_for(self.caller, run_id)
        data = {
            "executionId": run.id,
            "status": run.status,
            "isFinal": run.is_final,
            "nodes": workflow_runs.nodes_of(run),
            "cursor": run.event_seq,
        }
        return success(data)


class Steps(RunView):
    """/api/executions/{id}/steps"""

    @extend_schema(parameters=[shapes.StepsQuery], responses={200: enveloped(shapes.StepList)})
    def get(self, request: Request, run_id: str) -> Response:
        """The steps of an execution, in the order in which they began: where a fork may begin."""
        query = read(shapes.StepsQuery, request.query_params)
        run = workflow_runs.glance_for(self.caller, run_id)
        limit, after = query["limit"], query["after"]
        found = runs.step_lines(run.id, after=after, limit=limit + 1)
        has_more = len(found) > limit
        return success(
            {
                "items": shapes.StepShape(found[:limit], many=True).data,
                "pageSize": limit,
                "hasMore": has_more,
                "next": after + limit if has_more else None,
            }
        )


class Events(RunView):
    """/api/executions/{id}/events"""

    @extend_schema(parameters=[shapes.EventsQuery], responses={200: enveloped(shapes.Events)})
    def get(self, request: Request, run_id: str) -> Response:
        """The events after a number; `isFinal` once no more of them can come."""
        query = read(shapes.EventsQuery, request.query_params)
        # The status first: a run that is final has written its last event.
        run = workflow_runs.glance_for(self.caller, run_id)
        limit = query["limit"]
        found = runs.events(run.id, after=query["after"], limit=limit)
        return success(
            {
                "events": shapes.Event(found, many=True).data,
                "cursor": found[-1].seq if found else query["after"],
                "status": run.status,
                "isFinal": run.is_final and len(found) < limit,
            }
        )


class Logs(RunView):
    """/api/executions/{id}/logs"""

    @extend_schema(parameters=[shapes.LogsQuery], responses={200: enveloped(shapes.Logs)})
    def get(self, request: Request, run_id: str) -> Response:
        """What happened in an execution, for people: of one level or about one node."""
        query = read(shapes.LogsQuery, request.query_params)
        run = workflow_runs.glance_for(self.caller, run_id)
        limit, level = query["limit"], query["level"]
        found = run_logs.read(
            run.id, level=Level(level) if level else None, node=query["nodeId"],
            after=query["after"], limit=limit + 1,
        )  # fmt: skip
        part = found[:limit]
        return success(
            {
                "items": [_entry(event) for event in part],
                "pageSize": limit,
                "hasMore": len(found) > limit,
                "cursor": part[-1].seq if part else query["after"],
            }
        )


class Compare(ApiView):
    """/api/executions/compare"""

    tag = "Executions"
    scopes = {"GET": Scope.READ}

    @extend_schema(
        parameters=[shapes.CompareQuery], responses={200: enveloped(shapes.ComparisonShape)}
    )
    def get(self, request: Request) -> Response:
        """Two executions side by side: their paths, inputs, outputs, times and usage."""
        query = read(shapes.CompareQuery, request.query_params)
        left, right = (
            workflow_runs.glance_for(self.caller, query[side]).id for side in ("left", "right")
        )
        return success(shapes.ComparisonShape(comparison.compare(left, right)).data)


def summary(caller: Caller, run_id: str) -> Json:
    """An execution as lists show it."""
    return shapes.Summary(workflow_runs.brief_for(caller, run_id)).data


def _filters(query: dict[str, Json]) -> Filters:
    statuses = None
    if query["status"] is not None:
        statuses = [name.strip().upper() for name in query["status"].split(",")]
        for name in statuses:
            if name not in list(RunStatus):
                known = ", ".join(RunStatus)
                raise Invalid(f"There is no status {name!r}; there are {known}.", field="status")
    return Filters(
        workflow=query["workflowId"], statuses=statuses, task=query["task"], tag=query["tag"],
        source=query["source"] or query["triggerId"], since=query["createdAfter"],
        until=query["createdBefore"],
    )  # fmt: skip


def _entry(event: RunEvent) -> Json:
    data = event.data if isinstance(event.data, dict) else {}
    node = data.get("nodeId")
    return {
        "seq": event.seq,
        "at": event.at.isoformat(),
        "level": run_logs.level_of(event),
        "message": run_logs.sentence(event),
        "type": event.type,
        "nodeId": node if isinstance(node, str) else None,
        "data": event.data,
    }
