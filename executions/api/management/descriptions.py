"""What OpenAPI says of the management API. Imported where its paths are laid out."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.utils import OpenApiRequest, extend_schema, extend_schema_view
from rest_framework.views import APIView

from executions.api.management import (
    auth,
    batches,
    idempotency,
    queues,
    runs,
    tasks,
    traces,
    waitpoints,
    wire,
)


def _answers(
    shape: Any, *, body: Any = None, query: Any = None, status: int = 200, **more: Any
) -> Any:
    parameters = [] if query is None else [query]
    return extend_schema(request=body, parameters=parameters, responses={status: shape}, **more)


_LINES: Final = {
    kind: OpenApiRequest({"type": "string"}) for kind in ("application/x-ndjson", "text/plain")
}
# More than ten tags.
_TAGGED: Final = {200: wire.TagsAfter, 422: {"$ref": "#/components/schemas/Error"}}

DESCRIBED: Final[dict[type[APIView], tuple[str, dict[str, Any]]]] = {
    auth.Claims: ("Public tokens", {"post": _answers(wire.Claims)}),
    # ---- tasks and batches
    tasks.Trigger: ("Tasks", {"post": _answers(wire.Triggered, body=wire.TriggerBody)}),
    tasks.Parcel: ("Tasks", {"put": _answers(wire.Packet)}),
    tasks.Upload: (
        "Tasks",
        {"put": _answers({"type": "object"}, body={"*/*": OpenApiRequest({"type": "string"})})},
    ),
    batches.OfTask: ("Batches", {"post": _answers(wire.TaskBatch, body=wire.TaskBatchBody)}),
    batches.OfTasksV1: ("Batches", {"post": _answers(wire.BatchOfRuns, body=wire.BatchBody)}),
    batches.OfTasksV2: (
        "Batches",
        {"post": _answers(wire.CountedBatch, body=wire.BatchBody, status=202)},
    ),
    batches.Create: (
        "Batches",
        {"post": _answers(wire.Announced, body=wire.AnnouncedBatch, status=202)},
    ),
    batches.Items: ("Batches", {"post": _answers(wire.ItemsAdded, body=_LINES)}),
    batches.RetrievedBatch: ("Batches", {"get": _answers(wire.BatchShape)}),
    batches.Results: ("Batches", {"get": _answers(wire.BatchResults)}),
    # ---- runs
    runs.Runs: ("Runs", {"get": _answers(wire.RunList, query=wire.RunsQuery)}),
    runs.RetrievedRun: ("Runs", {"get": _answers(wire.Retrieved)}),
    runs.Result: ("Runs", {"get": _answers(wire.Result)}),
    runs.Cancel: ("Runs", {"post": _answers(wire.Id)}),
    runs.Replay: ("Runs", {"post": _answers(wire.Id, body=wire.RunReplayBody)}),
    runs.Reschedule: ("Runs", {"post": _answers(wire.Retrieved, body=wire.DelayBody)}),
    runs.Tags: ("Runs", {"post": extend_schema(request=wire.TagsBody, responses=_TAGGED)}),
    runs.Metadata: (
        "Runs",
        {
            "get": _answers(wire.MetadataAfter),
            "put": _answers(wire.MetadataAfter, body=wire.MetadataBody),
        },
    ),
    traces.Trace: ("Runs", {"get": _answers(wire.TraceShape, query=wire.TraceQuery)}),
    traces.Span: ("Runs", {"get": _answers(wire.SpanShape)}),
    traces.Events: ("Runs", {"get": _answers(wire.EventList, query=wire.EventsQuery)}),
    # ---- wait tokens
    waitpoints.Tokens: (
        "Wait tokens",
        {
            "get": _answers(wire.TokenList, query=wire.TokensQuery),
            "post": _answers(wire.TokenMade, body=wire.TokenBody),
        },
    ),
    waitpoints.Token: ("Wait tokens", {"get": _answers(wire.TokenRetrieved)}),
    waitpoints.Complete: ("Wait tokens", {"post": _answers(wire.Done, body=wire.CompleteBody)}),
    waitpoints.Callback: (
        "Wait tokens",
        {"post": _answers(wire.Done, body={"application/json": OpenApiRequest({})}, auth=[])},
    ),
    # ---- queues and keys
    queues.Queues: ("Queues", {"get": _answers(wire.QueueList, query=wire.NumberedQuery)}),
    queues.RetrievedQueue: ("Queues", {"get": _answers(wire.QueueShape, query=wire.QueueQuery)}),
    queues.Pause: ("Queues", {"post": _answers(wire.QueueShape, body=wire.PauseBody)}),
    queues.Override: ("Queues", {"post": _answers(wire.QueueShape, body=wire.LimitBody)}),
    queues.Reset: ("Queues", {"post": _answers(wire.QueueShape, body=wire.QueueBody)}),
    idempotency.Reset: ("Idempotency keys", {"post": _answers(wire.Id, body=wire.KeyBody)}),
}


def describe() -> None:
    """Tells each view's methods what they take and answer."""
    for view, (tag, methods) in DESCRIBED.items():
        view.tag = tag
        extend_schema_view(**methods)(view)
