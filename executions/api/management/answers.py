"""What the management API answers, for its description; `shapes.py` and the views write it.

The shapes are those of Trigger.dev v4. What has no value is left out, so most of a run is optional.
"""

from __future__ import annotations

from rest_framework import serializers

from executions.api.management.wire import Flag, Number, Shape, Text, Time
from executions.api.schema import AnyObject, Anything
from executions.rules.statuses import RunStatus, TokenStatus

STATUSES = [
    "PENDING_VERSION",
    *(str(s) for s in RunStatus if s not in ("PAUSED", "NEEDS_ATTENTION")),
]

# ---- out: runs ----------------------------------------------------------------------------------


class RunCommon(Shape):
    """What every shape of a run has."""

    id = Text()
    status = serializers.ChoiceField(choices=STATUSES)
    taskIdentifier = Text()
    isQueued = Flag()
    isExecuting = Flag()
    isWaiting = Flag()
    isCompleted = Flag()
    isSuccess = Flag()
    isFailed = Flag()
    isCancelled = Flag()
    isTest = Flag()
    createdAt = Time()
    updatedAt = Time()
    startedAt = Time(required=False)
    finishedAt = Time(required=False)
    delayedUntil = Time(required=False)
    expiredAt = Time(required=False)
    tags = serializers.ListField(child=Text())
    costInCents = serializers.FloatField()
    baseCostInCents = serializers.FloatField()
    durationMs = Number()
    metadata = AnyObject()
    idempotencyKey = Text(required=False)


class Env(Shape):
    """The workspace."""

    id = Text()
    name = Text()


class ListedRun(RunCommon):
    """A run in a list."""

    env = Env()


class RelatedRun(RunCommon):
    """A relative of a run."""

    depth = Number()
    triggerFunction = Text()
    batchId = Text(required=False)


class Relatives(Shape):
    """Those above and below."""

    root = RelatedRun(required=False)
    parent = RelatedRun(required=False)
    children = RelatedRun(many=True)


class RunError(Shape):
    """Why a run did not complete."""

    name = Text(required=False)
    message = Text(required=False)
    stackTrace = Text(required=False)


class Retrieved(RelatedRun):
    """A run with all that is known of it."""

    payload = Anything()
    attemptCount = Number()
    relatedRuns = Relatives()
    output = Anything(required=False)
    error = RunError(required=False)
    schedule = AnyObject(required=False)


class CursorPages(Shape):
    """The cursors of the pages beside this one."""

    next = Text(required=False)
    previous = Text(required=False)


class RunList(Shape):
    """A page of runs, newest first."""

    data = ListedRun(many=True)
    pagination = CursorPages()


class Result(Shape):
    """How a run ended."""

    ok = Flag()
    id = Text()
    taskIdentifier = Text()
    output = Text(required=False, help_text="JSON.")
    outputType = Text(required=False)
    error = AnyObject(required=False)
    usage = AnyObject()


class Id(Shape):
    """What it was about, or what was made."""

    id = Text()


class Triggered(Shape):
    """The run; `isCached`: an idempotency key named one that was there already."""

    id = Text()
    isCached = Flag()


class TagsAfter(Shape):
    """All tags that the run has then."""

    message = Text()
    tags = serializers.ListField(child=Text())


class MetadataAfter(Shape):
    """The run's metadata."""

    metadata = AnyObject()


class SpanShape(Shape):
    """A span with what is known of it."""

    spanId = Text()
    parentId = Text(allow_null=True)
    runId = Text()
    message = Text()
    level = Text()
    startTime = Time()
    durationMs = serializers.FloatField()
    isError = Flag()
    isPartial = Flag()
    isCancelled = Flag()
    properties = AnyObject()
    events = serializers.ListField(child=AnyObject())
    triggeredRuns = serializers.ListField(child=AnyObject())


class TraceShape(Shape):
    """A tree of spans; or, where a page was asked for, a list."""

    trace = AnyObject(required=False)
    data = serializers.ListField(child=AnyObject(), required=False)
    attemptFailures = serializers.ListField(child=AnyObject(), required=False)
    pagination = CursorPages(required=False)


class EventShape(Shape):
    """An entry of a run's log."""

    seq = Number()
    type = Text()
    at = Time()
    data = Anything()


class EventList(Shape):
    """A run's log, in order."""

    events = EventShape(many=True)


# ---- out: batches -------------------------------------------------------------------------------


class Announced(Shape):
    """A batch that waits for its items."""

    id = Text()
    runCount = Number()
    isCached = Flag()
    idempotencyKey = Text(required=False)


class ItemsAdded(Shape):
    """What became of the items of a request."""

    id = Text()
    itemsAccepted = Number()
    itemsDeduplicated = Number()
    sealed = Flag()
    enqueuedCount = Number(required=False)
    expectedCount = Number(required=False)


class TaskBatch(Shape):
    """A batch of one task's runs."""

    batchId = Text()
    runs = serializers.ListField(child=Text())


class BatchRun(Shape):
    """One of a batch's runs."""

    id = Text(allow_null=True)
    taskIdentifier = Text()
    isCached = Flag()


class BatchOfRuns(Shape):
    """A batch with its runs."""

    id = Text()
    isCached = Flag()
    runs = BatchRun(many=True)
    idempotencyKey = Text(required=False)


class CountedBatch(Shape):
    """A batch with the number of its runs."""

    id = Text()
    runCount = Number()


class BatchShape(Shape):
    """How a batch stands."""

    id = Text()
    status = Text()
    createdAt = Time()
    updatedAt = Time()
    runCount = Number()
    runs = serializers.ListField(child=Text())
    processing = AnyObject()
    idempotencyKey = Text(required=False)


class BatchResults(Shape):
    """What the runs gave that have ended."""

    id = Text()
    items = Result(many=True)


class Packet(Shape):
    """Where to put a large payload, and what a trigger calls it by."""

    presignedUrl = Text()
    storagePath = Text()


# ---- out: tokens, queues, keys ------------------------------------------------------------------


class TokenShape(Shape):
    """A wait token; its address completes it only in the answer to its creator."""

    id = Text()
    url = Text()
    status = serializers.ChoiceField(choices=list(TokenStatus))
    tags = serializers.ListField(child=Text())
    createdAt = Time()
    completedAt = Time(required=False)
    timeoutAt = Time(required=False)
    idempotencyKey = Text(required=False)
    idempotencyKeyExpiresAt = Time(required=False)


class TokenRetrieved(TokenShape):
    """A wait token with its outcome."""

    output = Text(required=False, help_text="JSON.")
    outputType = Text(required=False)
    outputIsError = Flag(required=False)


class TokenList(Shape):
    """A page of tokens, newest first."""

    data = TokenShape(many=True)
    pagination = CursorPages()


class TokenMade(Shape):
    """A new token with its address."""

    id = Text()
    isCached = Flag()
    url = Text()


class Done(Shape):
    """It is done."""

    success = Flag()


class Pages(Shape):
    """Which page it is, and of how many."""

    currentPage = Number()
    totalPages = Number()
    count = Number()


class QueueShape(Shape):
    """A queue as it stands for the caller."""

    id = Text()
    name = Text()
    type = Text()
    running = Number()
    queued = Number()
    paused = Flag()
    concurrencyLimit = Number(allow_null=True)
    version = Text()
    concurrency = AnyObject()


class QueueList(Shape):
    """A page of queues, by name."""

    data = QueueShape(many=True)
    pagination = Pages()


class Claims(Shape):
    """What a public token must say, beside its scopes."""

    sub = Text()
    pub = Flag()
