"""Where the management API hangs, under /api/. The paths are those of Trigger.dev v4."""

from __future__ import annotations

from django.urls import path

from executions.api.management import (
    auth,
    batches,
    descriptions,
    idempotency,
    queues,
    runs,
    tasks,
    traces,
    waitpoints,
)

_QUEUE = "v1/queues/<path:name>"
_RUN = "v1/runs/<str:run_id>"
_TOKEN = "v1/waitpoints/tokens/<str:token_id>"

descriptions.describe()

urlpatterns = [
    path("v1/auth/jwt/claims", auth.Claims.as_view(), name="management-claims"),
    # ---- tasks and batches
    path("v1/tasks/batch", batches.OfTasksV1.as_view(), name="management-tasks-batch"),
    path("v2/tasks/batch", batches.OfTasksV2.as_view(), name="management-tasks-batch-v2"),
    path("v1/tasks/<path:task>/trigger", tasks.Trigger.as_view(), name="management-trigger"),
    path("v1/tasks/<path:task>/batch", batches.OfTask.as_view(), name="management-task-batch"),
    path("v2/packets/<path:name>", tasks.Parcel.as_view(), name="management-packet"),
    path("v1/uploads/<str:word>", tasks.Upload.as_view(), name="management-upload"),
    path("v3/batches", batches.Create.as_view(), name="management-batches"),
    path("v3/batches/<str:batch_id>/items", batches.Items.as_view(), name="management-items"),
    path("v1/batches/<str:batch_id>", batches.RetrievedBatch.as_view(), name="management-batch"),
    path("v2/batches/<str:batch_id>", batches.RetrievedBatch.as_view(), name="management-batch-v2"),
    path("v1/batches/<str:batch_id>/results", batches.Results.as_view(), name="management-results"),
    # ---- runs
    path("v1/runs", runs.Runs.as_view(), name="management-runs"),
    path("v3/runs/<str:run_id>", runs.RetrievedRun.as_view(), name="management-run"),
    path("v2/runs/<str:run_id>/cancel", runs.Cancel.as_view(), name="management-cancel"),
    path(f"{_RUN}/result", runs.Result.as_view(), name="management-result"),
    path(f"{_RUN}/replay", runs.Replay.as_view(), name="management-replay"),
    path(f"{_RUN}/reschedule", runs.Reschedule.as_view(), name="management-reschedule"),
    path(f"{_RUN}/tags", runs.Tags.as_view(), name="management-tags"),
    path(f"{_RUN}/metadata", runs.Metadata.as_view(), name="management-metadata"),
    path(f"{_RUN}/trace", traces.Trace.as_view(), name="management-trace"),
    path(f"{_RUN}/spans/<str:span_id>", traces.Span.as_view(), name="management-span"),
    path(f"{_RUN}/events", traces.Events.as_view(), name="management-run-events"),
    # ---- wait tokens
    path("v1/waitpoints/tokens", waitpoints.Tokens.as_view(), name="management-tokens"),
    path(_TOKEN, waitpoints.Token.as_view(), name="management-token"),
    path(f"{_TOKEN}/complete", waitpoints.Complete.as_view(), name="management-complete"),
    path(
        f"{_TOKEN}/callback/<str:secret>", waitpoints.Callback.as_view(), name="management-callback"
    ),
    # ---- queues and keys
    path("v1/queues", queues.Queues.as_view(), name="management-queues"),
    path(f"{_QUEUE}/pause", queues.Pause.as_view(), name="management-pause"),
    path(f"{_QUEUE}/concurrency/override", queues.Override.as_view(), name="management-override"),
    path(f"{_QUEUE}/concurrency/reset", queues.Reset.as_view(), name="management-limit-reset"),
    path(_QUEUE, queues.RetrievedQueue.as_view(), name="management-queue"),
    path("v1/idempotencyKeys/<path:key>/reset", idempotency.Reset.as_view(), name="management-key"),
]
