"""How Django finds the project's own app: API keys, commands, start-up checks."""

from __future__ import annotations

from django.apps import AppConfig


class FlowmaestroConfig(AppConfig):
    """The project: wires the apps together, owns no behaviour of theirs."""

    name = "flowmaestro"

    def ready(self) -> None:
        """Register the start-up checks."""
        from flowmaestro import checks  # noqa: F401
