"""How Django finds the app `triggers`."""

from __future__ import annotations

from django.apps import AppConfig


class TriggersConfig(AppConfig):
    """The app `triggers`: what starts runs from outside."""

    name = "triggers"
