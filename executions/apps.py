"""How Django finds the app `executions`."""

from __future__ import annotations

from django.apps import AppConfig


class ExecutionsConfig(AppConfig):
    """The engine and workflows: runs, steps, wait tokens, events."""

    name = "executions"

    def ready(self) -> None:
        """Registers the tasks of every app, so that any process can trigger them."""
        from executions.registry import load_tasks

        load_tasks()
