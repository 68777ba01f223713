"""Schedules that tasks declare in code: `@task(..., cron="0 9 * * *", timezone="Europe/Paris")`.

Each worker brings the rows in line with its code when it starts; all workers are to have the same
code. What an operator paused stays paused.
"""

from __future__ import annotations

import logging
from typing import Final

from django.db import connection, transaction

from executions import registry
from executions.errors import FlowMaestroError
from executions.registry import Cron, Task
from triggers import schedules
from triggers.models import Schedule
from triggers.rules import cron, window

logger = logging.getLogger(__name__)

# One process at a time; the number only has to be nobody else's.
_LOCK: Final = "SELECT pg_advisory_xact_lock(7305145)"


def declared() -> dict[str, Cron]:
    """The cron of each task that has one, by the task's id."""
    return {task.id: task.cron for task in registry.all_tasks() if task.cron is not None}


def check(task: Task) -> None:
    """Raises Invalid unless the task's cron can be kept, if it has one."""
    if task.cron is not None:
        cron.parse(task.cron.pattern, task.cron.timezone)
        window.parse(task.cron.window)


def sync() -> None:
    """Makes, changes and takes out of service what the code declares; the same again is nothing.

    A cron that is wrong is logged, and stops no other and no worker.
    """
    wanted = declared()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK)
        known = {row.task: row for row in Schedule.objects.filter(is_declarative=True)}
        for task_id, wish in wanted.items():
            try:
                with transaction.atomic():
                    schedules.declare(task_id, wish, known.get(task_id))
            except FlowMaestroError as error:
                logger.error("Task %s has a cron that cannot be kept: %s", task_id, error)
                _withdraw(known.get(task_id), str(error))
        for task_id, row in known.items():
            if task_id not in wanted:
                _withdraw(row, schedules.NOT_DECLARED)


def _withdraw(row: Schedule | None, why: str) -> None:
    if row is not None and row.disabled_at is None:
        schedules.withdraw(row.pk, why)
