"""Definitions and people for the tests of pages, API and commands."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model

from executions import runs, workflow_runs
from executions.tests.conftest import eventually
from executions.tests.flows import flow

REVIEW = flow(
    {
        "start": ("input", {"inputName": "name", "defaultValue": "Ada"}),
        "ask": (
            "humanReview",
            {
                "prompt": "How many for {{name}}?",
                "variableName": "count",
                "inputType": "number",
                "validation": {"min": 1, "max": 5},
            },
        ),
        "end": ("output", {"outputName": "count", "value": "{{count}}", "format": "number"}),
    },
    "start>ask",
    "ask>end",
)
SUM = flow(
    {
        "add": ("transform", {"operation": "custom", "expression": "a + b"}),
        "end": ("output", {"outputName": "sum", "value": "{{add}}", "format": "number"}),
    },
    "add>end",
)
BROKEN = flow({"call": ("http", {"url": "http://127.0.0.1:1/", "retry": 1})})


def person(name: str, **more: Any) -> Any:
    """Somebody with an account."""
    return get_user_model().objects.create_user(name, password="a good password", **more)


def until_asked(run_id: str) -> dict[str, Any]:
    """The run as it is shown once its question is open."""

    def check() -> dict[str, Any] | None:
        shown = workflow_runs.describe(runs.retrieve(run_id))
        return shown if shown["reviews"] else None

    return eventually(check)
