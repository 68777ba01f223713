"""The shapes of the management API on the wire, for its description; views read and write them.

They are those of Trigger.dev v4. What has no value is left out, so most of a run is optional.
"""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from executions.api.management.options import MACHINES
from executions.api.schema import AnyObject, Anything
from executions.rules.statuses import RunStatus, TokenStatus

Text = serializers.CharField
Number = serializers.IntegerField
Flag = serializers.BooleanField
Time = serializers.DateTimeField
STATUSES = [
    "PENDING_VERSION",
    *(str(s) for s in RunStatus if s not in ("PAUSED", "NEEDS_ATTENTION")),
]


class Shape(serializers.Serializer[Any]):
    """An object on the wire."""


def shape(name: str, doc: str, **fields: Any) -> type[Shape]:
    """A shape whose fields have names that Python has not: `page[size]`."""
    return type(name, (Shape,), {"__doc__": doc, **fields})


# ---- in -----------------------------------------------------------------------------------------


class Options(Shape):
    """How a run is to be started; what has no effect here is told apart in `options.py`."""

    delay = Text(required=False, help_text="`1h30m`, or a moment.")
    ttl = Anything(required=False, help_text="`1h30m`, or seconds.")
    tags = Anything(required=False, help_text="A text, or at most ten.")
    metadata = Anything(required=False)
    metadataType = Text(required=False)
    payloadType = Text(required=False, help_text="application/json, or application/super+json.")
    priority = Number(required=False)
    queue = AnyObject(required=False, help_text='`{"name": ...}`')
    concurrencyKey = Text(required=False)
    maxAttempts = Number(required=False)
    maxDuration = Number(required=False)
    idempotencyKey = Text(required=False)
    idempotencyKeyTTL = Text(required=False)
    debounce = AnyObject(required=False, help_text="`{key, delay, mode, maxDelay}`")
    machine = serializers.ChoiceField(choices=list(MACHINES), required=False)


class TriggerBody(Shape):
    """A run to be started."""

    payload = Anything(required=False)
    options = Options(required=False)


class BatchItem(TriggerBody):
    """One of many runs to be started."""

    task = Text()


class BatchBody(Shape):
    """Runs of any tasks, to be started together."""

    items = BatchItem(many=True, allow_empty=False)


class TaskBatchBody(Shape):
    """Runs of one task."""

    items = TriggerBody(many=True, allow_empty=False)


class AnnouncedBatch(Shape):
    """A batch whose items follow."""

    runCount = Number(min_value=1)
    taskIdentifiers = serializers.ListField(child=Text(), required=False)
    idempotencyKey = Text(required=False)


class RunReplayBody(Options):
    """What is to be different from the old run."""

    payload = Anything(required=False)
    queue = Text(required=False)


class DelayBody(Shape):
    """When a delayed run is to start instead."""

    delay = Text(help_text="`1h30m`, or a moment.")


class TagsBody(Shape):
    """Tags to add."""

    tags = Anything(help_text="A text, or a list.")


class MetadataBody(Shape):
    """Metadata anew, or what to change in it."""

    metadata = AnyObject(required=False)
    operations = serializers.ListField(child=AnyObject(), required=False)
    parentOperations = serializers.ListField(child=AnyObject(), required=False)
    rootOperations = serializers.ListField(child=AnyObject(), required=False)


class TokenBody(Shape):
    """A wait token to be made."""

    timeout = Text(required=False, help_text="`10m`, or a moment.")
    tags = Anything(required=False)
    idempotencyKey = Text(required=False)
    idempotencyKeyTTL = Text(required=False)


class CompleteBody(Shape):
    """What the wait is to give."""

    data = Anything(required=False)


class PauseBody(Shape):
    """Whether a queue is to be held."""

    action = serializers.ChoiceField(choices=["pause", "resume"])
    type = serializers.ChoiceField(choices=["id", "task", "custom"], required=False)


class LimitBody(Shape):
    """How many of a queue's runs may execute at once."""

    concurrencyLimit = Number(min_value=1)
    type = serializers.ChoiceField(choices=["id", "task", "custom"], required=False)


class QueueBody(Shape):
    """How the queue is named."""

    type = serializers.ChoiceField(choices=["id", "task", "custom"], required=False)


class KeyBody(Shape):
    """Whose key it is."""

    taskIdentifier = Text()


def _texts(*names: str) -> dict[str, Any]:
    return {name: Text(required=False) for name in names}


_PAGE = {"page[size]": Number(required=False, min_value=1, max_value=100)} | _texts(
    "page[after]", "page[before]"
)
_CREATED = _texts("filter[createdAt][from]", "filter[createdAt][to]", "filter[createdAt][period]")
RunsQuery = shape(
    "RunsQuery", "Which runs.", **_PAGE, **_CREATED,
    **_texts(*(f"filter[{name}]" for name in (
        "status", "taskIdentifier", "tag", "queue", "batch", "schedule",
    ))),
    **{"filter[isTest]": Flag(required=False)},
)  # fmt: skip
TokensQuery = shape(
    "TokensQuery", "Which tokens.", **_PAGE, **_CREATED,
    **_texts("filter[status]", "filter[tags]", "filter[idempotencyKey]"),
)  # fmt: skip
TraceQuery = shape("TraceQuery", "Which page of a trace.", **_texts("page[size]", "page[after]"))


class EventsQuery(Shape):
    """Entries after a number."""

    after = Number(required=False, min_value=0)
    limit = Number(required=False, min_value=1, max_value=1000)


class NumberedQuery(Shape):
    """Which page."""

    page = Number(required=False, min_value=1)
    perPage = Number(required=False, min_value=1, max_value=100)


class QueueQuery(QueueBody):
    """How the queue is named."""


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
