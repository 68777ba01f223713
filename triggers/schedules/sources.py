"""What a run's own page says of the schedule that started it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from executions.inspection import run_sources
from triggers.models import Schedule
from triggers.rules import specs
from triggers.schedules import store

Json = Any


def register() -> None:
    """Has runs described with their schedules."""
    run_sources.register(store.PREFIX, describe)


def describe(ids: list[str]) -> Mapping[str, dict[str, Json]]:
    """What there is to say of these schedules, as Trigger.dev's client takes it."""
    return {schedule.id: _described(schedule) for schedule in Schedule.objects.filter(pk__in=ids)}


def generator_of(schedule: Schedule) -> dict[str, Json]:
    """When a schedule fires, for programs and for people."""
    return {
        "type": "CRON",
        "expression": schedule.expression,
        "description": specs.describe(schedule.expression),
    }


def _described(schedule: Schedule) -> dict[str, Json]:
    keys = {
        "externalId": schedule.external_id,
        "deduplicationKey": schedule.deduplication_key,
    }
    known = {name: value for name, value in keys.items() if value is not None}
    return {"id": schedule.id, **known, "generator": generator_of(schedule)}
