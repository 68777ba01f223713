"""API keys over HTTP: the workspace's keys, a new one, revoking one."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from executions.access import Scope, ScopeMissing
from executions.api.base import ApiView, read, success
from executions.api.schema import enveloped
from flowmaestro import keys
from flowmaestro.models import ApiKey


class NewKey(serializers.Serializer[Any]):
    """What a key is asked for with."""

    name = serializers.CharField(max_length=100, help_text="What it is for.")
    scopes = serializers.ListField(
        child=serializers.CharField(), allow_empty=False,
        help_text="read, trigger, cancel, complete, replay, admin; * is all that you may.",
    )  # fmt: skip
    allWorkspaces = serializers.BooleanField(
        default=False, help_text="For the staff: also what belongs to other workspaces or to none."
    )
    reason = serializers.CharField(required=False, max_length=2000, help_text="For the audit log.")


class KeyShown(serializers.Serializer[Any]):
    """A key without the key itself."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="How the key begins.")
    user = serializers.CharField()
    workspace = serializers.CharField()
    allWorkspaces = serializers.BooleanField()
    scopes = serializers.ListField(child=serializers.CharField())
    createdAt = serializers.DateTimeField()
    lastUsedAt = serializers.DateTimeField(allow_null=True)
    revokedAt = serializers.DateTimeField(allow_null=True)


class KeyMade(KeyShown):
    """A new key."""

    key = serializers.CharField(help_text="The key itself. It is never shown again.")


class KeyView(ApiView):
    """A view about the keys of the caller's workspace."""

    tag = "API keys"

    def rows(self) -> QuerySet[ApiKey]:
        """The keys that the caller sees."""
        return self.caller.visible(keys.list_keys())


class Keys(KeyView):
    """GET and POST /api/keys"""

    scopes: ClassVar = {"GET": Scope.ADMIN, "POST": Scope.ADMIN}

    @extend_schema(responses={200: enveloped(KeyShown, many=True)})
    def get(self, request: Request) -> Response:
        """The keys of the workspace, the newest first; revoked ones too."""
        return success([keys.public(row) for row in self.rows()])

    @extend_schema(request=NewKey, responses={201: enveloped(KeyMade)})
    def post(self, request: Request) -> Response:
        """A new key for the workspace, in your name.

        It may do no more than you may. The key itself is in this answer and nowhere else.
        """
        given = read(NewKey, request.data)
        if given["allWorkspaces"] and not self.caller.sees_all:
            raise ScopeMissing(
                "A key for all workspaces is for who sees them all.", field="allWorkspaces"
            )
        row, key = keys.issue(
            get_user_model()._default_manager.get(pk=int(self.caller.user_id or 0)),
            name=given["name"], scopes=given["scopes"], workspace=self.caller.workspace_id,
            all_workspaces=given["allWorkspaces"], within=self.caller.scopes,
            reason=given.get("reason"), actor=self.caller.actor,
        )  # fmt: skip
        return success({**keys.public(row), "key": key}, http_status=201)


class Key(KeyView):
    """DELETE /api/keys/{id}"""

    scopes: ClassVar = {"DELETE": Scope.ADMIN}

    @extend_schema(responses={200: enveloped(KeyShown)})
    def delete(self, request: Request, key_id: int) -> Response:
        """Revokes the key, and with it every public token that was signed with it."""
        row = keys.revoke(key_id, among=self.rows(), actor=self.caller.actor)
        return success(keys.public(row))
