"""How Django finds the project's own app: API keys, commands, start-up checks."""

from __future__ import annotations

from django.apps import AppConfig


class FlowmaestroConfig(AppConfig):
    """The project: wires the apps together, owns no behaviour of theirs."""

    name = "flowmaestro"

    def ready(self) -> None:
        """Register the start-up checks, what this app keeps sealed, and what it lets workers do."""
        from executions import connections, duties
        from flowmaestro import checks, keys, tidying  # noqa: F401

        connections.also_sealed("API keys", keys.rewrap)
        duties.register(tidying.duty())
        tidying.register_with_prune()
