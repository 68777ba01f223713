"""What workflows are made of, over HTTP: node types with their forms, and registered tasks."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from executions import node_catalogue
from executions.access import Scope
from executions.api.base import ApiView, success
from executions.api.schema import enveloped
from executions.api.serializers import catalogue as shapes
from executions.registry import Task, all_tasks, get_task

Json = Any


class NodeTypes(ApiView):
    """/api/node-types"""

    tag = "Catalogue"
    scopes = {"GET": Scope.READ}

    @extend_schema(responses={200: enveloped(shapes.NodeTypeShape, many=True)})
    def get(self, request: Request) -> Response:
        """Every node type with its config as JSON Schema."""
        return success(node_catalogue.describe_all())


class NodeType(ApiView):
    """/api/node-types/{name}"""

    tag = "Catalogue"
    scopes = {"GET": Scope.READ}

    @extend_schema(responses={200: enveloped(shapes.NodeTypeShape)})
    def get(self, request: Request, name: str) -> Response:
        """A node type by its name or a synonym."""
        return success(node_catalogue.describe_one(name))


class Tasks(ApiView):
    """/api/tasks"""

    tag = "Catalogue"
    scopes = {"GET": Scope.READ}

    @extend_schema(responses={200: enveloped(shapes.TaskShape, many=True)})
    def get(self, request: Request) -> Response:
        """Every task that runs here."""
        return success([_shown(task) for task in all_tasks()])


class TaskView(ApiView):
    """/api/tasks/{id}"""

    tag = "Catalogue"
    scopes = {"GET": Scope.READ}

    @extend_schema(responses={200: enveloped(shapes.TaskShape)})
    def get(self, request: Request, task_id: str) -> Response:
        """A task by its id."""
        return success(_shown(get_task(task_id)))


def _shown(task: Task) -> Json:
    retry = task.retry
    return {
        "id": task.id,
        "description": (task.function.__doc__ or "").strip().partition("\n\n")[0],
        "queue": task.queue,
        "maxDurationSeconds": task.max_duration,
        "runTimeoutSeconds": task.run_timeout,
        "ttlSeconds": task.ttl,
        "maxAttempts": None if retry is None else retry.max_attempts,
    }
