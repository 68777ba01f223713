"""How Django finds the app `executions`."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ExecutionsConfig(AppConfig):
    """The engine and workflows: runs, steps, wait tokens, events."""

    name = "executions"

    def ready(self) -> None:
        """Registers the tasks of every app, so that any process can trigger them."""
        from executions.registry import load_tasks
        from executions.roles import after_migrate

        load_tasks()
        post_migrate.connect(after_migrate, sender=self, dispatch_uid="executions.roles")
