"""Start-up checks: `manage.py check` tells of a cron in code that cannot be kept."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Warning, register

from executions import registry
from executions.errors import FlowMaestroError
from triggers.schedules import declarations


@register()
def check_declared_schedules(**_: Any) -> list[CheckMessage]:
    """A warning for each task whose cron is wrong; the others fire all the same."""
    found: list[CheckMessage] = []
    for task in registry.all_tasks():
        try:
            declarations.check(task)
        except FlowMaestroError as error:
            found.append(
                Warning(f'Task "{task.id}": {error}', hint="It will not fire.", id="triggers.W001")
            )
    return found
