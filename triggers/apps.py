"""How Django finds the app `triggers`."""

from __future__ import annotations

from django.apps import AppConfig


class TriggersConfig(AppConfig):
    """The app `triggers`: what starts runs from outside."""

    name = "triggers"

    def ready(self) -> None:
        """Adds what the engine does for this app."""
        from executions import connections, duties, roles, workflow_edits
        from triggers import (
            checks,  # noqa: F401
            permissions,
            tidying,
            triggers,
        )
        from triggers.schedules import doctor, sources, ticks
        from triggers.webhooks import sealing

        roles.register(self, permissions.ROLES)
        duties.register(ticks.DUTY)
        doctor.register()
        sources.register()
        duties.register(tidying.duty())
        tidying.register_with_prune()
        workflow_edits.when_deleted(triggers.disable_those_of)
        connections.also_sealed("webhooks", sealing.rewrap)
