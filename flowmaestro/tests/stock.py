"""One thing of every kind in a workspace, and the routes of the API, for tests of all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from django.contrib.auth import get_user_model
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone
from rest_framework.views import APIView

from executions import (
    access,
    batches,
    connections,
    parcels,
    runs,
    tokens,
    workflow_edits,
    workflow_runs,
    workspaces,
)
from executions.inspection import run_traces
from executions.intake import Ask
from executions.models import Run, RunData, RunEvent, Step, WaitToken
from executions.rules.ids import new_id
from executions.tests.people import REVIEW, SUM
from flowmaestro import keys
from triggers import schedules, triggers

Json = Any


def routes() -> Iterator[tuple[str, type[APIView]]]:
    """Every path of the API, as OpenAPI writes it, with its view."""
    yield from _routes(get_resolver().url_patterns, "/")


def _routes(patterns: list[Any], prefix: str) -> Iterator[tuple[str, type[APIView]]]:
    for pattern in patterns:
        path = prefix + _braced(str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            yield from _routes(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern) and path.startswith("/api/"):
            view = getattr(pattern.callback, "cls", None)
            assert view is not None, f"{path} is no view of the API."
            yield path, view


def _braced(route: str) -> str:
    """`<str:run_id>` as `{run_id}`."""
    parts = route.replace("<", "{").replace(">", "}").split("{")
    return parts[0] + "".join("{" + part.split(":", 1)[-1] for part in parts[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """A request that succeeds."""

    path: str
    parameters: dict[str, Json]
    query: dict[str, Json] = field(default_factory=dict)
    body: Json = None
    content_type: str = "application/json"


class Stock:
    """What a user has in a workspace, by the parameters of paths; and a good request for each."""

    def __init__(
        self, user: Any, workspace: str | None = None, *, all_workspaces: bool = False
    ) -> None:
        self.user = user
        self.workspace = workspace or workspaces.personal(user.pk).id
        self.mine = {"owner": user.pk, "workspace": self.workspace}
        caller = access.of_user(user, self.workspace)
        version = workflow_edits.create(caller, "Sum", SUM)
        self.workflow = version.workflow_id
        hand = triggers.create(workflow=self.workflow, name="Hand", type="manual", **self.mine)
        self.hook, self.open_hook = (
            triggers.create(
                workflow=self.workflow, name=kind, type="webhook", config={"authType": kind},
                **self.mine,
            ).trigger.id
            for kind in ("hmac", "none")
        )  # fmt: skip
        batch, _ = batches.trigger_all(
            [Ask(task="user-input", payload={}, payload_type=None, options={})], **self.mine
        )
        self.announced = batches.create(1, **self.mine)[0].id
        token = tokens.create(tags=["t"], **self.mine)
        row, self.key = keys.issue(
            user, name="stock", scopes=["*"], workspace=self.workspace,
            all_workspaces=all_workspaces,
        )  # fmt: skip
        self.delayed = self._delayed()
        self.ended = self._ended()
        self.asking, self.asked = self._asking()
        secrets = {"apiKey": "hunter2-and-more"}
        schedule = schedules.create("user-input", cron="0 9 * * *", timezone="UTC", **self.mine)
        self._values: dict[str, list[Json]] = {
            "workflow_id": [self.workflow],
            "version": [version.pk, "1"],
            "run_id": [self.ended, self.delayed, self.asking],
            "connection_id": [connections.create("Shop", "http", secrets=secrets, **self.mine).id],
            "slug": ["sort-an-order"],
            "task_id": ["user-input"],
            "task": ["user-input"],
            "trigger_id": [hand.trigger.id],
            "schedule_id": [schedule.pk],
            "batch_id": [batch.id],
            "token_id": [token.id],
            "secret": [token.url.rpartition("/")[2]],
            "span_id": [run_traces.id_of(self.ended)],
            "key": ["once"],
            "key_id": [row.pk],
            "workspace_id": [self.workspace],
            "user": [user.pk],
            "word": [parcels.announce(self.workspace)[1]],
        }

    # ---- requests -------------------------------------------------------------------------------

    def values(self, path: str) -> dict[str, list[Json]]:
        """What the parameters of a path may be."""
        found = {name: self._values[name] for name in _parameters(path) if name != "name"}
        if "name" in _parameters(path):
            # It stands for different things.
            names = {"node-types": "http", "queues": "user-input", "packets": "payload.json"}
            found["name"] = [next(value for part, value in names.items() if part in path)]
        return found

    def good(self, method: str, path: str) -> Good:
        """A request that succeeds, once, for who may do everything here."""
        given = {name: values[0] for name, values in self.values(path).items()}
        where = path.removeprefix("/api/")
        given |= self._other(method, where)
        for name, value in given.items():
            path = path.replace("{" + name + "}", str(value))
        good = Good(path=path, parameters=given, body=self._body(method, where))
        if where == "executions/compare":
            return replace(good, query={"left": self.ended, "right": self.delayed})
        if where.endswith("/items"):
            line = json.dumps({"index": 0, "task": "user-input", "payload": {}})
            return replace(good, body=line, content_type="application/x-ndjson")
        return good

    def _other(self, method: str, path: str) -> dict[str, Json]:
        """What is in the condition that the request takes, where that is another one."""
        act = path.rpartition("/")[2]
        if "run_id" in path and act in ("pause", "cancel", "terminate", "reschedule", "metadata"):
            return {"run_id": self.delayed}
        if "run_id" in path and act in ("resume", "release"):
            status = {"resume": "PAUSED", "release": "NEEDS_ATTENTION"}[act]
            Run.objects.filter(pk=self.delayed).update(status=status)
            return {"run_id": self.delayed}
        if act in ("submit-input", "submit-response"):
            return {"run_id": self.asking if act == "submit-input" else self._reviewing()}
        if act == "rotate-secret":
            return {"trigger_id": self.hook}
        if path.startswith("/webhooks"):
            return {"trigger_id": self.open_hook}
        if act == "items":
            return {"batch_id": self.announced}
        if path.endswith("members/{user}"):
            return {"user": self._guest()}
        return {}

    def _body(self, method: str, path: str) -> Json:
        item = {"task": "user-input", "payload": {}}
        found: dict[str, Json] = {
            "POST workflows": {"name": "New", "definition": SUM},
            "PUT workflows/{workflow_id}": {"description": "New."},
            "PATCH workflows/{workflow_id}": {"definition": {**SUM, "description": "New."}},
            "POST workflows/execute": {"workflowDefinition": SUM, "inputs": {"a": 1, "b": 2}},
            "POST workflows/{workflow_id}/execute": {"inputs": {"a": 1, "b": 2}, "tags": ["t"]},
            "POST workflows/validate": {"workflowDefinition": {"nodes": {"a": {"type": "?"}}}},
            "POST executions/{run_id}/fork": {"outputs": {"add": 7}},
            "POST executions/{run_id}/submit-response": {"response": 3},
            "POST executions/{run_id}/submit-input": {"userResponse": 3, "tokenId": self.asked},
            "POST connections": {"name": "New", "provider": "http", "secrets": {"key": "abcdef"}},
            "PATCH connections/{connection_id}": {"fields": {"host": "shop.example"}},
            "POST triggers": {"workflowId": self.workflow, "name": "New", "triggerType": "manual"},
            "PUT triggers/{trigger_id}": {"name": "New"},
            "PATCH triggers/{trigger_id}": {"enabled": False},
            "POST triggers/{trigger_id}/execute": {"inputs": {"a": 1, "b": 2}},
            "POST events": {"name": "order.paid", "payload": {}},
            "POST keys": {"name": "New", "scopes": ["admin"]},
            "POST workspaces": {"name": "New"},
            "PUT workspaces/{workspace_id}/members/{user}": {"role": "viewer"},
            "POST v1/tasks/{task}/trigger": {"payload": {}},
            "POST v1/tasks/{task}/batch": {"items": [{"payload": {}}]},
            "POST v1/tasks/batch": {"items": [item]},
            "POST v2/tasks/batch": {"items": [item]},
            "POST v3/batches": {"runCount": 2, "taskIdentifiers": ["user-input"]},
            "PUT v1/uploads/{word}": {"large": True},
            "POST v1/runs/{run_id}/reschedule": {"delay": "2h"},
            "POST v1/runs/{run_id}/tags": {"tags": ["u"]},
            "PUT v1/runs/{run_id}/metadata": {"metadata": {"a": 1}},
            "POST v1/waitpoints/tokens/{token_id}/complete": {"data": {"a": 1}},
            "POST v1/queues/{name}/pause": {"action": "pause"},
            "POST v1/queues/{name}/concurrency/override": {"concurrencyLimit": 3},
            "POST v1/idempotencyKeys/{key}/reset": {"taskIdentifier": "orchestrator"},
            "POST v1/schedules": {"task": "user-input", "cron": "0 9 * * *",
                                  "deduplicationKey": "new"},
            "PUT v1/schedules/{schedule_id}": {"task": "user-input", "cron": "0 10 * * *"},
        }  # fmt: skip
        body = found.get(f"{method} {path}")
        return {} if body is None and method in ("POST", "PUT", "PATCH") else body

    # ---- runs -----------------------------------------------------------------------------------

    def _delayed(self) -> str:
        return workflow_runs.start_stored(
            self.workflow, inputs={"a": 1, "b": 2}, idempotency_key="once", tags=["t"], delay="1h",
            **self.mine,
        ).id  # fmt: skip

    def _ended(self) -> str:
        """A run as the engine leaves it, without an engine."""
        run_id = workflow_runs.start(SUM, inputs={"a": 1, "b": 2}, **self.mine).id
        now = timezone.now()
        nodes = {
            "add": {"status": "completed", "attempts": 1, "output": 3},
            "end": {"status": "failed", "attempts": 2, "error": {"type": "E", "message": "no"}},
        }
        output = {"success": False, "status": "failed", "outputs": {}, "error": "no"}
        Run.objects.filter(pk=run_id).update(
            status="FAILED", started_at=now, finished_at=now, event_seq=3,
            output={**output, "nodes": nodes}, error={"type": "WorkflowFailed", "message": "no"},
        )  # fmt: skip
        Step.objects.create(
            run_id=run_id, key="add/run", kind="step", status="COMPLETED", seq=1, started_at=now,
            finished_at=now, output={"output": 3, "size": 1, "attempts": 1},
        )  # fmt: skip
        for seq, (kind, data) in enumerate(
            [
                ("node_started", {"nodeId": "add", "nodeName": "add", "nodeType": "transform"}),
                ("run.failed", {"error": {"message": "no"}}),
            ],
            2,
        ):
            RunEvent.objects.create(run_id=run_id, seq=seq, type=kind, data=data)
        return run_id

    def _asking(self) -> tuple[str, str]:
        """A run that waits for a person, and its token."""
        run_id = runs.trigger("user-input", {"prompt": "Go?"}, source="sched_1", **self.mine).id
        return run_id, self._token(run_id, "input")

    def _reviewing(self) -> str:
        """A run whose review is open."""
        run_id = workflow_runs.start(REVIEW, **self.mine).id
        form = {"tokenId": self._token(run_id, "ask"), "inputType": "number", "nodeId": "ask"}
        RunData.objects.filter(run=run_id).update(metadata={"pauseContexts": [form]})
        return run_id

    def _token(self, run_id: str, step: str) -> str:
        Run.objects.filter(pk=run_id).update(status="WAITING", started_at=timezone.now())
        token_id = new_id("waitpoint")
        WaitToken.objects.create(
            id=token_id, run_id=run_id, step_key=step, workspace_id=self.workspace
        )
        return token_id

    def _guest(self) -> int:
        """Somebody else who is a member."""
        guest, _ = get_user_model().objects.get_or_create(username="guest")
        workspaces.set_role(self.workspace, guest.pk, "member")
        return guest.pk


def _parameters(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]
