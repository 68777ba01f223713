"""Lists of wait tokens: filters, and pages that follow one another by the id of their last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import DateTimeField, F, Func, QuerySet, Value
from django.db.models.expressions import CombinedExpression

from executions.errors import Invalid
from executions.models import WaitToken
from executions.rules.ids import first_id, has_prefix
from executions.rules.statuses import TokenStatus
from executions.rules.values import plain_text

MAX_SIZE: Final = 100
DEFAULT_SIZE: Final = 25
# Ids are made by the clock of the machine that creates, which may be wrong by this much.
_CLOCK_ERROR = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which tokens; None means any. A token needs one of the statuses and one of the tags."""

    statuses: Sequence[str] | None = None
    tags: Sequence[str] | None = None
    idempotency_key: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    period: timedelta | None = None
    """Counted back from now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some tokens, newest first, and the cursors of the pages after and before, if there are any.

    Their outputs are not read.
    """

    tokens: list[WaitToken]
    next: str | None = None
    previous: str | None = None


def page(
    tokens: QuerySet[WaitToken], filters: Filters, *, size: int = DEFAULT_SIZE,
    after: str | None = None, before: str | None = None,
) -> Page:  # fmt: skip
    """A page of those of the given tokens that pass the filters.

    `after`: the tokens older than that one; `before`: the newer ones next to it. Raises Invalid
    naming what does not fit.
    """
    if isinstance(size, bool) or not 1 <= size <= MAX_SIZE:
        raise Invalid(f"page[size] lies between 1 and {MAX_SIZE}.", field="page[size]")
    if after is not None and before is not None:
        raise Invalid("Give page[after] or page[before], not both.", field="page[before]")
    found = _of_filters(tokens, filters).defer("output")
    if before is None:
        if after is not None:
            found = found.filter(id__lt=_cursor(after, "page[after]"))
        taken = list(found.order_by("-id")[: size + 1])
        shown, is_more = taken[:size], len(taken) > size
        return Page(
            tokens=shown,
            next=shown[-1].id if is_more else None,
            previous=shown[0].id if shown and after is not None else None,
        )
    found = found.filter(id__gt=_cursor(before, "page[before]"))
    taken = list(found.order_by("id")[: size + 1])
    shown, is_more = taken[:size][::-1], len(taken) > size
    return Page(
        tokens=shown,
        next=shown[-1].id if shown else None,
        previous=shown[0].id if is_more else None,
    )


def _of_filters(tokens: QuerySet[WaitToken], filters: Filters) -> QuerySet[WaitToken]:
    found = tokens
    if filters.statuses is not None:
        for status in filters.statuses:
            if status not in list(TokenStatus):
                known = ", ".join(TokenStatus)
                raise Invalid(
                    f"filter[status] is one of {known}, not {status!r}.", field="filter[status]"
                )
        found = found.filter(status__in=list(filters.statuses))
    if filters.tags is not None:
        wanted = [plain_text(tag, field="filter[tags]", limit=128) for tag in filters.tags]
        found = found.filter(tags__overlap=wanted)
    if filters.idempotency_key is not None:
        key = plain_text(filters.idempotency_key, field="filter[idempotencyKey]", limit=2048)
        found = found.filter(idempotency_key=key)
    if filters.since is not None:
        bound = first_id("waitpoint", filters.since - _CLOCK_ERROR)
        found = found.filter(created_at__gte=filters.since, id__gte=bound)
    if filters.until is not None:
        bound = first_id("waitpoint", filters.until + _CLOCK_ERROR)
        found = found.filter(created_at__lte=filters.until, id__lt=bound)
    if filters.period is not None:
        now = Func(function="flowmaestro_now", output_field=DateTimeField())
        begin = CombinedExpression(now, "-", Value(filters.period), output_field=DateTimeField())
        found = found.annotate(begin=begin).filter(created_at__gte=F("begin"))
    return found


def _cursor(value: str, field: str) -> str:
    if not has_prefix(value, "waitpoint"):
        raise Invalid(f"{field} is a cursor of the page before: the id of a token.", field=field)
    return value
