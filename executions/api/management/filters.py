"""Reading the filters and the page of a list of runs. No filter is passed over in silence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.http import QueryDict

from executions.access import Grants
from executions.api.management import shapes
from executions.api.management.base import moment_of, whole
from executions.api.management.cursors import Place, place_of
from executions.api.management.options import queue_name
from executions.errors import Invalid
from executions.inspection.run_lists import DEFAULT_SIZE, MAX_SIZE, Filters
from executions.rules import durations

_NOT_HERE: Final[dict[str, str]] = {
    "filter[version]": "runs here have no version",
    "filter[bulkAction]": "there are no bulk actions here",
    "filter[machine]": "workers here are all of one size",
    "filter[region]": "there are no regions here",
    "filter[env]": "an API key belongs to one workspace, which is its environment",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which page of which runs."""

    filters: Filters
    size: int
    place: Place


def read(query: QueryDict) -> Query:
    """What a query string asks for. Raises Invalid naming what is wrong or not possible here."""
    values = {name: str(query[name]) for name in query if query[name] != ""}
    for name in values:
        if name in _NOT_HERE:
            raise Invalid(f"{name} is not possible: {_NOT_HERE[name]}.", field=name)
        if name not in _KNOWN:
            raise Invalid(f"There is no filter {name!r}; there are {_KNOWN_TEXT}.", field=name)
    statuses = _many(values, "filter[status]")
    queues = _many(values, "filter[queue]")
    found = Filters(
        statuses=None if statuses is None else shapes.statuses_asked(statuses),
        tasks=_many(values, "filter[taskIdentifier]"),
        tags=_many(values, "filter[tag]"),
        queues=None if queues is None else [queue_name(name) for name in queues],
        source=_source(values),
        since=_moment(values, "filter[createdAt][from]"),
        until=_moment(values, "filter[createdAt][to]"),
        period=_period(values),
        is_nothing=_is_test(values) or _is_contradiction(values),
    )
    return Query(
        filters=found,
        size=whole(
            values.get("page[size]"), field="page[size]", default=DEFAULT_SIZE, most=MAX_SIZE
        ),
        place=place_of(values.get("page[after]"), values.get("page[before]")),
    )


def covered(query: QueryDict, grants: Grants | None) -> bool:
    """Whether a public token covers all runs that can pass the filters."""
    if grants is None:
        return False
    tags = str(query.get("filter[tag]", ""))
    tasks = str(query.get("filter[taskIdentifier]", ""))
    batch = str(query.get("filter[batch]", ""))
    return (
        grants.allows("read", "runs")
        or bool(tags and all(grants.allows("read", "tags", tag) for tag in tags.split(",")))
        or bool(tasks and all(grants.allows("read", "tasks", task) for task in tasks.split(",")))
        or bool(batch and grants.allows("read", "batch", batch))
    )


_KNOWN: Final = (
    "filter[status]",
    "filter[taskIdentifier]",
    "filter[tag]",
    "filter[queue]",
    "filter[batch]",
    "filter[schedule]",
    "filter[isTest]",
    "filter[createdAt][from]",
    "filter[createdAt][to]",
    "filter[createdAt][period]",
    "page[size]",
    "page[after]",
    "page[before]",
)
_KNOWN_TEXT: Final = ", ".join(_KNOWN)


def _many(values: dict[str, str], name: str) -> list[str] | None:
    return values[name].split(",") if name in values else None


def _source(values: dict[str, str]) -> str | None:
    """Batches and schedules are both what started a run."""
    return values.get("filter[batch]") or values.get("filter[schedule]")


def _is_contradiction(values: dict[str, str]) -> bool:
    return "filter[batch]" in values and "filter[schedule]" in values


def _is_test(values: dict[str, str]) -> bool:
    """Whether test runs are asked for: there are none."""
    value = values.get("filter[isTest]", "false")
    if value not in ("true", "false"):
        raise Invalid(f"filter[isTest] is true or false, not {value!r}.", field="filter[isTest]")
    return value == "true"


def _moment(values: dict[str, str], name: str) -> datetime | None:
    return moment_of(values[name], field=name) if name in values else None


def _period(values: dict[str, str]) -> timedelta | None:
    name = "filter[createdAt][period]"
    if name not in values:
        return None
    return timedelta(seconds=durations.seconds(values[name], field=name))
