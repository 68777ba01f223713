"""How Django finds the app `agents`."""

from __future__ import annotations

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    """The app `agents`: conversations with a model, run as tasks."""

    name = "agents"
