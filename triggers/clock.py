"""The engine's clock, in queries of this app."""

from __future__ import annotations

from django.db.models import DateTimeField, Func


def database_now() -> Func:
    """The moment by the engine's clock, as the database tells it."""
    return Func(function="flowmaestro_now", output_field=DateTimeField())
