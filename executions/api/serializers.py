"""What comes in over HTTP and what goes out; what it means is decided by the services."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from executions import workflow_runs
from executions.models import Run, RunEvent

Json = Any

LIST_LIMIT = 100
EVENTS_LIMIT = 1000


class ExecuteSerializer(serializers.Serializer[Any]):
    """A workflow to run, as it stands in the request."""

    workflowDefinition = serializers.JSONField()
    inputs = serializers.JSONField(required=False, default=None)
    pins = serializers.JSONField(required=False, default=None)


class ListQuerySerializer(serializers.Serializer[Any]):
    """Which executions, and how many of them."""

    after = serializers.CharField(required=False, default=None)
    limit = serializers.IntegerField(required=False, default=50, min_value=1, max_value=LIST_LIMIT)


class EventsQuerySerializer(serializers.Serializer[Any]):
    """Events over a number."""

    after = serializers.IntegerField(required=False, default=0, min_value=0, max_value=2**31 - 1)
    limit = serializers.IntegerField(
        required=False, default=200, min_value=1, max_value=EVENTS_LIMIT
    )


class ResponseSerializer(serializers.Serializer[Any]):
    """An answer to a review; null is an answer where none is required."""

    response = serializers.JSONField(allow_null=True)
    tokenId = serializers.CharField(required=False, default=None, allow_null=True)


class CancelSerializer(serializers.Serializer[Any]):
    """Why a run is cancelled."""

    reason = serializers.CharField(required=False, default=None, allow_null=True, max_length=1000)


def summary(run: Run) -> dict[str, Json]:
    """A run in a list."""
    return {
        "executionId": run.id,
        "task": run.task,
        "workflowName": getattr(run, "workflow_name", None),
        "status": run.status,
        "isFinal": run.is_final,
        "createdAt": run.created_at.isoformat(),
        "startedAt": run.started_at.isoformat() if run.started_at else None,
        "finishedAt": run.finished_at.isoformat() if run.finished_at else None,
        "error": workflow_runs.error_of(run),
    }


def event(row: RunEvent) -> dict[str, Json]:
    """One entry of a run's log."""
    return {"seq": row.seq, "type": row.type, "at": row.at.isoformat(), "data": row.data}
