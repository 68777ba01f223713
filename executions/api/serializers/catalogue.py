"""Node types and tasks as they are shown."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from executions.api.schema import AnyObject


class NodeTypeShape(serializers.Serializer[Any]):
    """A node type; `missing` says why it cannot run here, if it cannot."""

    type = serializers.CharField()
    title = serializers.CharField()
    description = serializers.CharField()
    synonyms = serializers.ListField(child=serializers.CharField())
    icon = serializers.CharField()
    handles = serializers.ListField(
        child=serializers.CharField(), help_text="The ways out that edges may name."
    )
    isLoop = serializers.BooleanField()
    isOutput = serializers.BooleanField()
    isEntry = serializers.BooleanField()
    effect = serializers.ChoiceField(choices=["none", "reads", "writes", "waits"])
    isAvailable = serializers.BooleanField()
    missing = serializers.CharField()
    config = AnyObject(help_text="JSON Schema.")


class TaskShape(serializers.Serializer[Any]):
    """A registered task; null means no limit, or that of the installation."""

    id = serializers.CharField()
    description = serializers.CharField()
    queue = serializers.CharField()
    maxDurationSeconds = serializers.FloatField(allow_null=True)
    runTimeoutSeconds = serializers.FloatField(allow_null=True)
    ttlSeconds = serializers.FloatField(allow_null=True)
    maxAttempts = serializers.IntegerField(allow_null=True)
