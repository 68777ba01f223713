"""What requests of the management API hold, for its description; views read it themselves.

The shapes are those of Trigger.dev v4.
"""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from executions.api.management.options import MACHINES
from executions.api.schema import AnyObject, Anything

Text = serializers.CharField
Number = serializers.IntegerField
Flag = serializers.BooleanField
Time = serializers.DateTimeField


class Shape(serializers.Serializer[Any]):
    """An object on the wire."""


def shape(name: str, doc: str, **fields: Any) -> type[Shape]:
    """A shape whose fields have names that Python has not: `page[size]`."""
    return type(name, (Shape,), {"__doc__": doc, **fields})


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
