"""Somebody who calls the management API with a key, or with a public token made from it."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from django.apps import apps
from django.test import Client

from executions import workspaces
from executions.tests.people import person

JSON = "application/json"


class Caller:
    """A user with a key."""

    def __init__(
        self, name: str, *scopes: str, is_staff: bool = False, workspace: str | None = None
    ) -> None:
        self.user = person(name, is_staff=is_staff)
        self.workspace = workspace or workspaces.personal(self.user.pk).id
        self.row, self.key = apps.get_model("flowmaestro", "ApiKey").issue(
            self.user,
            name="test",
            scopes=list(scopes) or ["*"],
            workspace=workspace,
            all_workspaces=is_staff,
        )
        self._client = Client(headers={"Authorization": f"Bearer {self.key}"})

    def get(self, path: str, **query: Any) -> Any:
        """GET /api/…"""
        return self._client.get(f"/api/{path}", query)

    def post(self, path: str, data: Any = None, **headers: str) -> Any:
        """POST /api/… with JSON."""
        return self._client.post(
            f"/api/{path}", {} if data is None else data, content_type=JSON, headers=headers
        )

    def put(self, path: str, data: Any = None) -> Any:
        """PUT /api/… with JSON."""
        return self._client.put(f"/api/{path}", data or {}, content_type=JSON)

    def lines(self, batch: str, items: list[Any], **headers: str) -> Any:
        """The items of a batch, a line each."""
        body = "".join(json.dumps(item) + "\n" for item in items)
        return self._client.post(
            f"/api/v3/batches/{batch}/items",
            body,
            content_type="application/x-ndjson",
            headers=headers,
        )

    def trigger(self, task: str, payload: Any = None, **options: Any) -> str:
        """The id of a run of the task."""
        answer = self.post(f"v1/tasks/{task}/trigger", {"payload": payload, "options": options})
        assert answer.status_code == 200, answer.content
        return str(answer.json()["id"])

    def limited(self, *scopes: str) -> Caller:
        """The same user with a key of these scopes."""
        return self._with(self.row.issue(self.user, name="limited", scopes=list(scopes))[1])

    def token(self, *scopes: str, **claims: Any) -> Caller:
        """Who holds a public token of this caller's key."""
        now = datetime.now(UTC)
        content = {
            **self.post("v1/auth/jwt/claims").json(),
            "scopes": list(scopes),
            "iss": "https://id.trigger.dev",
            "aud": "https://api.trigger.dev",
            "iat": now,
            "exp": now + timedelta(hours=1),
            **claims,
        }
        return self._with(jwt.encode(content, self.key, algorithm="HS256"))

    def _with(self, key: str) -> Caller:
        other = copy.copy(self)
        other.key = key
        other._client = Client(headers={"Authorization": f"Bearer {key}"})
        return other
