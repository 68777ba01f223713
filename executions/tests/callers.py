"""Programs that call the API with a key, for tests."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.test import Client

JSON = "application/json"
Json = Any


class Caller:
    """Somebody who calls the API with a key."""

    def __init__(self, user: Any, **more: Any) -> None:
        self.user = user
        keys = apps.get_model("flowmaestro", "ApiKey")
        row, self.key = keys.issue(user, **{"name": "test", "scopes": ["*"], **more})
        self.workspace: str = row.workspace_id
        self._client = Client(headers={"Authorization": f"Bearer {self.key}"})

    def get(self, path: str, **query: Json) -> Any:
        """GET /api/…"""
        return self._client.get(f"/api/{path}", query)

    def post(self, path: str, data: Json = None) -> Any:
        """POST /api/… with JSON."""
        return self._client.post(f"/api/{path}", data or {}, content_type=JSON)

    def put(self, path: str, data: Json) -> Any:
        """PUT /api/… with JSON."""
        return self._client.put(f"/api/{path}", data, content_type=JSON)

    def patch(self, path: str, data: Json) -> Any:
        """PATCH /api/… with JSON."""
        return self._client.patch(f"/api/{path}", data, content_type=JSON)

    def delete(self, path: str) -> Any:
        """DELETE /api/…"""
        return self._client.delete(f"/api/{path}")

    def send(self, path: str, text: str) -> Any:
        """POST /api/… with a body as it is."""
        return self._client.post(f"/api/{path}", text, content_type=JSON)

    def data(self, path: str, **query: Json) -> Json:
        """What a GET that succeeds answers."""
        answer = self.get(path, **query)
        assert answer.status_code == 200, answer.content
        return answer.json()["data"]

    def start(self, definition: Json, **more: Json) -> str:
        """The id of a run that this caller starts."""
        answer = self.post("workflows/execute", {"workflowDefinition": definition, **more})
        assert answer.status_code == 202, answer.content
        run_id: str = answer.json()["data"]["executionId"]
        return run_id
