"""What comes in about triggers over HTTP and what goes out."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from executions.api.schema import AnyObject
from triggers import triggers
from triggers.models import Delivery, Trigger
from triggers.rules.configs import TriggerType
from triggers.schedules import of_triggers
from triggers.triggers import Stored

Json = Any

LIST_LIMIT = 100
_WEEK = 7 * 86_400


class PageQuery(serializers.Serializer[Any]):
    """Which part of a list."""

    after = serializers.CharField(
        required=False, default=None, help_text="The `next` of the part before."
    )
    limit = serializers.IntegerField(required=False, default=50, min_value=1, max_value=LIST_LIMIT)


class ListQuery(PageQuery):
    """Which triggers."""

    workflowId = serializers.CharField(required=False, default=None)
    type = serializers.ChoiceField(
        required=False, default=None, choices=[kind.value for kind in TriggerType]
    )
    enabled = serializers.BooleanField(required=False, default=None, allow_null=True)


class CreateTrigger(serializers.Serializer[Any]):
    """A trigger to be made."""

    workflowId = serializers.CharField()
    name = serializers.CharField(max_length=200)
    triggerType = serializers.ChoiceField(choices=[kind.value for kind in TriggerType])
    config = AnyObject(required=False, default=dict)
    enabled = serializers.BooleanField(required=False, default=True)
    secret = serializers.CharField(
        required=False, write_only=True, trim_whitespace=False,
        help_text="Where the sender says what it is; else one is drawn.",
    )  # fmt: skip


class ChangeTrigger(serializers.Serializer[Any]):
    """What is to be different."""

    workflowId = serializers.CharField(required=False)
    name = serializers.CharField(required=False, max_length=200)
    config = AnyObject(required=False)
    enabled = serializers.BooleanField(required=False)
    secret = serializers.CharField(required=False, write_only=True, trim_whitespace=False)


class ExecuteTrigger(serializers.Serializer[Any]):
    """What the workflow is to get."""

    inputs = AnyObject(required=False, default=None, allow_null=True)


class Rotate(serializers.Serializer[Any]):
    """The next secret."""

    secret = serializers.CharField(required=False, write_only=True, trim_whitespace=False)
    oldValidForSeconds = serializers.IntegerField(
        required=False, default=0, min_value=0, max_value=_WEEK
    )


class TriggerShape(serializers.Serializer[Any]):
    """A trigger."""

    id = serializers.CharField()
    workspace = serializers.CharField(allow_null=True)
    owner = serializers.IntegerField(allow_null=True)
    workflowId = serializers.CharField()
    name = serializers.CharField()
    triggerType = serializers.ChoiceField(choices=[kind.value for kind in TriggerType])
    config = AnyObject()
    enabled = serializers.BooleanField()
    scheduleId = serializers.CharField(allow_null=True)
    webhookUrl = serializers.CharField(allow_null=True)
    hasSecret = serializers.BooleanField()
    secretChangedAt = serializers.DateTimeField(allow_null=True)
    oldSecretUntil = serializers.DateTimeField(allow_null=True)
    triggerCount = serializers.IntegerField()
    lastTriggeredAt = serializers.DateTimeField(allow_null=True)
    lastError = serializers.CharField(allow_null=True)
    lastErrorAt = serializers.DateTimeField(allow_null=True)
    createdAt = serializers.DateTimeField()
    updatedAt = serializers.DateTimeField()


class TriggerDetails(TriggerShape):
    """A trigger with its schedule."""

    scheduleInfo = AnyObject(allow_null=True)


class StoredTrigger(TriggerDetails):
    """A trigger as it was stored."""

    secret = serializers.CharField(allow_null=True, help_text="Where it is new: shown this once.")


class Executed(serializers.Serializer[Any]):
    """What was started."""

    executionId = serializers.CharField()
    workflowId = serializers.CharField()
    triggerId = serializers.CharField()
    status = serializers.CharField()
    inputs = AnyObject()


class DeliveryShape(serializers.Serializer[Any]):
    """A request to a webhook and its answer."""

    id = serializers.CharField()
    triggerId = serializers.CharField()
    receivedAt = serializers.DateTimeField()
    method = serializers.CharField()
    path = serializers.CharField()
    query = AnyObject()
    headers = AnyObject()
    body = serializers.CharField(allow_blank=True, help_text="Its beginning, as text.")
    bodyBytes = serializers.IntegerField()
    ip = serializers.CharField(allow_blank=True)
    userAgent = serializers.CharField(allow_blank=True)
    deliveryId = serializers.CharField(allow_null=True)
    status = serializers.IntegerField()
    error = serializers.CharField(allow_null=True)
    isRepeated = serializers.BooleanField()
    executionId = serializers.CharField(allow_null=True)
    durationMs = serializers.FloatField()


class EventBody(serializers.Serializer[Any]):
    """An event to be published."""

    name = serializers.CharField(max_length=200)
    payload = AnyObject(required=False, default=None, allow_null=True)
    source = serializers.CharField(required=False, default=None, allow_null=True, max_length=200)
    id = serializers.CharField(
        required=False, default=None, allow_null=True, max_length=200,
        help_text="An event of an id is published once.",
    )  # fmt: skip


class PublishedShape(serializers.Serializer[Any]):
    """What an event started."""

    runs = serializers.ListField(child=serializers.CharField())
    triggers = serializers.DictField(
        child=serializers.CharField(), help_text="The run of each trigger that heard it."
    )
    failed = serializers.DictField(
        child=serializers.CharField(), help_text="Why triggers that heard it started nothing."
    )
    isRepeated = serializers.BooleanField()


def details(row: Trigger) -> dict[str, Json]:
    """A trigger with its schedule."""
    return {**triggers.public(row), "scheduleInfo": of_triggers.info(row)}


def stored(found: Stored) -> dict[str, Json]:
    """A trigger as it was stored, with its secret where that is new."""
    return {**details(found.trigger), "secret": found.secret}


def delivery(row: Delivery) -> dict[str, Json]:
    """One entry of a webhook's log."""
    return {
        "id": row.id,
        "triggerId": row.trigger_id,
        "receivedAt": row.received_at.isoformat(),
        "method": row.method,
        "path": row.path,
        "query": row.query,
        "headers": row.headers,
        "body": row.body,
        "bodyBytes": row.body_bytes,
        "ip": row.ip,
        "userAgent": row.user_agent,
        "deliveryId": row.delivery_id or None,
        "status": row.status,
        "error": row.error or None,
        "isRepeated": row.is_repeated,
        "executionId": row.run,
        "durationMs": row.duration_ms,
    }


def page(items: list[dict[str, Json]], limit: int, *, has_more: bool) -> dict[str, Json]:
    """A part of a list, and where the next begins."""
    return {
        "items": items,
        "pageSize": limit,
        "hasMore": has_more,
        "next": items[-1]["id"] if has_more else None,
    }
