"""What OpenAPI says of the management API. Imported where its paths are laid out."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.utils import OpenApiRequest, extend_schema, extend_schema_view
from rest_framework.views import APIView

from executions.api.management import (
    answers,
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
_TAGGED: Final = {200: answers.TagsAfter, 422: {"$ref": "#/components/schemas/Error"}}

DESCRIBED: Final[dict[type[APIView], tuple[str, dict[str, Any]]]] = {
    auth.Claims: ("Public tokens", {"post": _answers(answers.Claims)}),
    # ---- tasks and batches
    tasks.Trigger: ("Tasks", {"post": _answers(answers.Triggered, body=wire.TriggerBody)}),
    tasks.Parcel: ("Tasks", {"put": _answers(answers.Packet)}),
    tasks.Upload: (
        "Tasks",
        {"put": _answers({"type": "object"}, body={"*/*": OpenApiRequest({"type": "string"})})},
    ),
    batches.OfTask: ("Batches", {"post": _answers(answers.TaskBatch, body=wire.TaskBatchBody)}),
    batches.OfTasksV1: ("Batches", {"post": _answers(answers.BatchOfRuns, body=wire.BatchBody)}),
    batches.OfTasksV2: (
        "Batches",
        {"post": _answers(answers.CountedBatch, body=wire.BatchBody, status=202)},
    ),
    batches.Create: (
        "Batches",
        {"post": _answers(answers.Announced, body=wire.AnnouncedBatch, status=202)},
    ),
    batches.Items: ("Batches", {"post": _answers(answers.ItemsAdded, body=_LINES)}),
    batches.RetrievedBatch: ("Batches", {"get": _answers(answers.BatchShape)}),
    batches.Results: ("Batches", {"get": _answers(answers.BatchResults)}),
    # ---- runs
    runs.Runs: ("Runs", {"get": _answers(answers.RunList, query=wire.RunsQuery)}),
    runs.RetrievedRun: ("Runs", {"get": _answers(answers.Retrieved)}),
    runs.Result: ("Runs", {"get": _answers(answers.Result)}),
    runs.Cancel: ("Runs", {"post": _answers(answers.Id)}),
    runs.Replay: ("Runs", {"post": _answers(answers.Id, body=wire.RunReplayBody)}),
    runs.Reschedule: ("Runs", {"post": _answers(answers.Retrieved, body=wire.DelayBody)}),
    runs.Tags: ("Runs", {"post": extend_schema(request=wire.TagsBody, responses=_TAGGED)}),
    runs.Metadata: (
        "Runs",
        {
            "get": _answers(answers.MetadataAfter),
            "put": _answers(answers.MetadataAfter, body=wire.MetadataBody),
        },
    ),
    traces.Trace: ("Runs", {"get": _answers(answers.TraceShape, query=wire.TraceQuery)}),
    traces.Span: ("Runs", {"get": _answers(answers.SpanShape)}),
    traces.Events: ("Runs", {"get": _answers(answers.EventList, query=wire.EventsQuery)}),
    # ---- wait tokens
    waitpoints.Tokens: (
        "Wait tokens",
        {
            "get": _answers(answers.TokenList, query=wire.TokensQuery),
            "post": _answers(answers.TokenMade, body=wire.TokenBody),
        },
    ),
    waitpoints.Token: ("Wait tokens", {"get": _answers(answers.TokenRetrieved)}),
    waitpoints.Complete: ("Wait tokens", {"post": _answers(answers.Done, body=wire.CompleteBody)}),
    waitpoints.Callback: (
        "Wait tokens",
        {"post": _answers(answers.Done, body={"application/json": OpenApiRequest({})}, auth=[])},
    ),
    # ---- queues and keys
    queues.Queues: ("Queues", {"get": _answers(answers.QueueList, query=wire.NumberedQuery)}),
    queues.RetrievedQueue: ("Queues", {"get": _answers(answers.QueueShape, query=wire.QueueQuery)}),
    queues.Pause: ("Queues", {"post": _answers(answers.QueueShape, body=wire.PauseBody)}),
    queues.Override: ("Queues", {"post": _answers(answers.QueueShape, body=wire.LimitBody)}),
    queues.Reset: ("Queues", {"post": _answers(answers.QueueShape, body=wire.QueueBody)}),
    idempotency.Reset: ("Idempotency keys", {"post": _answers(answers.Id, body=wire.KeyBody)}),
}


def describe() -> None:
    """Tells each view's methods what they take and answer."""
    for view, (tag, methods) in DESCRIBED.items():
        view.tag = tag
        extend_schema_view(**methods)(view)
