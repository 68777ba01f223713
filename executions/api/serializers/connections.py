"""Connections: secrets come in and never go out."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from executions.api.schema import AnyObject
from executions.api.serializers.common import PageQuery, ReasonBody, Word


class ConnectionsQuery(PageQuery):
    """Which connections."""

    provider = Word()
    includeRevoked = serializers.BooleanField(required=False, default=True)


class NewConnection(ReasonBody):
    """An account at a provider."""

    name = serializers.CharField(max_length=100)
    provider = serializers.CharField(max_length=100)
    fields = AnyObject(required=False, default=dict)
    secrets = AnyObject(
        required=False, default=dict, write_only=True, help_text="Texts by name; never shown."
    )


class ChangedConnection(ReasonBody):
    """What is to be different; what is left out stays."""

    name = serializers.CharField(required=False, max_length=100)
    fields = AnyObject(required=False, help_text="All of them anew.")
    secrets = AnyObject(
        required=False, write_only=True, help_text="The ones to change; null removes one."
    )


class ConnectionShape(serializers.Serializer[Any]):
    """What may be shown of a connection."""

    id = serializers.CharField()
    name = serializers.CharField()
    provider = serializers.CharField()
    owner = serializers.IntegerField(allow_null=True)
    workspace = serializers.CharField(allow_null=True)
    isShared = serializers.BooleanField()
    fields = AnyObject()
    secrets = serializers.ListField(
        child=serializers.CharField(), help_text="The names of the secrets that it holds."
    )
    keyId = serializers.CharField()
    createdAt = serializers.DateTimeField()
    updatedAt = serializers.DateTimeField()
    lastUsedAt = serializers.DateTimeField(allow_null=True)
    revokedAt = serializers.DateTimeField(allow_null=True)
