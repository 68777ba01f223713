"""How Django finds the app `knowledge`."""

from __future__ import annotations

from django.apps import AppConfig


class KnowledgeConfig(AppConfig):
    """The app `knowledge`: documents in, passages out."""

    name = "knowledge"
