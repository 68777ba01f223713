"""Lists of runs: filters, and pages that follow one another by the id of their last run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from executions.errors import Invalid
from executions.models import Run, RunEvent
from executions.rules.ids import first_id, has_prefix
from executions.rules.statuses import RunStatus
from executions.rules.values import plain_text

MAX_SIZE = 100
DEFAULT_SIZE = 25
DEFAULT_PERIOD = timedelta(days=7)
# Ids are made by the clock of the machine that triggers, which may be wrong by this much.
_CLOCK_ERROR = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which runs; None means any. A run needs one of the values of each filter."""

    statuses: Sequence[RunStatus] | None = None
    tasks: Sequence[str] | None = None
    tags: Sequence[str] | None = None
    queues: Sequence[str] | None = None
    source: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    period: timedelta | None = None
    """Counted back from now. Without it, `since` and `until`, the last seven days."""
    is_nothing: bool = False
    """No run passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some runs, newest first, and the cursors of the pages after and before, if there are any."""

    runs: list[Run]
    next: str | None = None
    previous: str | None = None


def page(
    runs: QuerySet[Run], filters: Filters, *, size: int = DEFAULT_SIZE,
    after: str | None = None, before: str | None = None,
) -> Page:  # fmt: skip
    """A page of those of the given runs that pass the filters.

    `after`: the runs older than that one; `before`: the newer ones next to it. Each run carries
    `updated_at`, when it last changed. Raises Invalid naming what does not fit.
    """
    if isinstance(size, bool) or not 1 <= size <= MAX_SIZE:
        raise Invalid(f"page[size] lies between 1 and {MAX_SIZE}.", field="page[size]")
    if after is not None and before is not None:
        raise Invalid("Give page[after] or page[before], not both.", field="page[before]")
    found = _of_filters(runs, filters).select_related("data", "workspace")
    if before is None:
        if after is not None:
            found = found.filter(id__lt=_cursor(after, "page[after]"))
        taken = _take(found.order_by("-id"), size + 1)
        shown, is_more = taken[:size], len(taken) > size
        return Page(
            runs=shown,
            next=shown[-1].id if is_more else None,
            previous=shown[0].id if shown and after is not None else None,
        )
    found = found.filter(id__gt=_cursor(before, "page[before]"))
    taken = _take(found.order_by("id"), size + 1)
    shown, is_more = taken[:size][::-1], len(taken) > size
    return Page(
        runs=shown,
        next=shown[-1].id if shown else None,
        previous=shown[0].id if is_more else None,
    )


def _take(runs: QuerySet[Run], count: int) -> list[Run]:
    return list(with_updated_at(runs)[:count])


def with_updated_at(runs: QuerySet[Run]) -> QuerySet[Run]:
    """The runs, each with `updated_at`: when its last event was."""
    last = RunEvent.objects.filter(run=OuterRef("pk"), seq=OuterRef("event_seq")).values("at")
    return runs.annotate(updated_at=Coalesce(Subquery(last[:1]), "finished_at", "created_at"))


def _of_filters(runs: QuerySet[Run], filters: Filters) -> QuerySet[Run]:
    found = runs.none() if filters.is_nothing else runs
    if filters.statuses is not None:
        found = found.filter(status__in=filters.statuses)
    if filters.tasks is not None:
        found = found.filter(task__in=_texts(filters.tasks, "taskIdentifier"))
    if filters.queues is not None:
        found = found.filter(queue__in=_texts(filters.queues, "queue"))
    if filters.source is not None:
        found = found.filter(source=plain_text(filters.source, field="source"))
    if filters.tags is not None:
        # The index holds runs with tags only, and has to be told so.
        found = found.filter(tags__overlap=_texts(filters.tags, "tag")).exclude(tags=[])
    return _of_time(found, filters)


def _of_time(found: QuerySet[Run], filters: Filters) -> QuerySet[Run]:
    since, until = filters.since, filters.until
    if filters.period is not None or (since is None and until is None):
        started = _now() - (filters.period or DEFAULT_PERIOD)
        since = started if since is None else max(since, started)
    if since is not None:
        found = found.filter(created_at__gte=since, id__gte=_bound(since - _CLOCK_ERROR))
    if until is not None:
        found = found.filter(created_at__lte=until, id__lt=_bound(until + _CLOCK_ERROR))
    return found


def _bound(moment: datetime) -> str:
    return first_id("run", moment)


def _now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT flowmaestro_now()")
        row: tuple[datetime] = cursor.fetchone()
    return row[0]


def _cursor(value: str, field: str) -> str:
    if not has_prefix(value, "run"):
        raise Invalid(f"{field} is a cursor of the page before: the id of a run.", field=field)
    return value


def _texts(values: Sequence[str], field: str) -> list[str]:
    return [plain_text(value, field=f"filter[{field}]") for value in values]
