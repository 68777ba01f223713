"""Connections over HTTP: what is stored about them, never their secrets."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from executions import connections
from executions.access import Caller, Scope
from executions.api.base import ApiView, read, success
from executions.api.schema import enveloped, paged
from executions.api.serializers import connections as shapes
from executions.api.serializers.common import ReasonBody, ReasonQuery
from executions.connections.fields import PREFIX
from executions.errors import NotFound
from executions.models import Connection as Row
from executions.rules.ids import has_prefix

Json = Any
STORED = enveloped(shapes.ConnectionShape)


class Connections(ApiView):
    """/api/connections"""

    tag = "Connections"
    scopes = {"GET": Scope.READ, "POST": Scope.ADMIN}

    @extend_schema(
        parameters=[shapes.ConnectionsQuery],
        responses={200: enveloped(paged(shapes.ConnectionShape))},
    )
    def get(self, request: Request) -> Response:
        """The connections that the workspace may use, its own before the shared ones."""
        query = read(shapes.ConnectionsQuery, request.query_params)
        limit, offset = query["limit"], query["offset"]
        found = connections.list_connections(
            workspace=where(self.caller), provider=query["provider"],
            include_revoked=query["includeRevoked"],
        )  # fmt: skip
        part = found[offset : offset + limit]
        return success(
            {
                "items": [shown(row) for row in part],
                "total": len(found),
                "page": offset // limit + 1,
                "pageSize": limit,
                "hasMore": offset + len(part) < len(found),
            }
        )

    @extend_schema(request=shapes.NewConnection, responses={201: STORED})
    def post(self, request: Request) -> Response:
        """Stores a connection in the workspace."""
        given = read(shapes.NewConnection, request.data)
        row = connections.create(
            given["name"], given["provider"], fields=given["fields"], secrets=given["secrets"],
            owner=self.caller.user_id, workspace=self.caller.workspace_id, reason=given["reason"],
            actor=self.caller.actor,
        )  # fmt: skip
        return success(shown(row), http_status=status.HTTP_201_CREATED)


class Connection(ApiView):
    """/api/connections/{id}"""

    tag = "Connections"
    scopes = {"GET": Scope.READ, "PATCH": Scope.ADMIN, "DELETE": Scope.ADMIN}

    @extend_schema(responses={200: STORED})
    def get(self, request: Request, connection_id: str) -> Response:
        """A connection without its secrets, of which there are the names."""
        return success(
            shown(connections.retrieve(_id(connection_id), workspace=where(self.caller)))
        )

    @extend_schema(request=shapes.ChangedConnection, responses={200: STORED})
    def patch(self, request: Request, connection_id: str) -> Response:
        """Changes what is given; of the secrets, the ones that are named."""
        given = read(shapes.ChangedConnection, request.data)
        row = connections.update(
            _id(connection_id), workspace=where(self.caller), name=given.get("name"),
            fields=given.get("fields"), secrets=given.get("secrets"), reason=given["reason"],
            actor=self.caller.actor,
        )  # fmt: skip
        return success(shown(row))

    @extend_schema(parameters=[ReasonQuery], responses={204: None})
    def delete(self, request: Request, connection_id: str) -> Response:
        """Removes a connection and its secrets."""
        reason = read(ReasonQuery, request.query_params)["reason"]
        connections.delete(
            _id(connection_id), workspace=where(self.caller), reason=reason,
            actor=self.caller.actor,
        )  # fmt: skip
        return Response(status=status.HTTP_204_NO_CONTENT)


class Revoke(ApiView):
    """/api/connections/{id}/revoke"""

    tag = "Connections"
    scopes = {"POST": Scope.ADMIN}

    @extend_schema(request=ReasonBody, responses={200: STORED})
    def post(self, request: Request, connection_id: str) -> Response:
        """Erases the secrets of a connection, and keeps the rest to say that it was revoked."""
        reason = read(ReasonBody, request.data)["reason"]
        row = connections.revoke(
            _id(connection_id), workspace=where(self.caller), reason=reason,
            actor=self.caller.actor,
        )  # fmt: skip
        return success(shown(row))


def where(caller: Caller) -> connections.Where:
    """Whose connections the caller sees and may change."""
    return connections.ANYONE if caller.sees_all else caller.workspace_id


def shown(row: Row) -> Json:
    """A connection as it is answered."""
    return {**connections.public(row), "isShared": row.workspace_id is None}


def _id(text: str) -> str:
    """The id of a connection; a name could be that of another one tomorrow."""
    if not has_prefix(text, PREFIX):
        raise NotFound(f"There is no connection {text!r}.", field="connection")
    return text
