"""Search of runs: by the beginning of an id, else in payloads, so many runs at a time.

Payloads have no index: one over whole documents would cost every trigger more than the run itself.
"""

from __future__ import annotations

import json

from django.db import models
from django.db.models import Func, OuterRef, QuerySet, Subquery, TextField, Value
from django.db.models.functions import Cast

from executions.models import Run, RunData

# The newest runs within the filters whose payloads one page reads.
WINDOW = 10_000
HELP = 'The beginning of an id, or text or {"key": "value"} within payloads'


def is_id(term: str) -> bool:
    """Whether the term looks like the beginning of a run's id."""
    return term.startswith("run_")


def end_of_window(found: QuerySet[Run]) -> str | None:
    """The id of the last run that one page searches; None where there are not as many."""
    keys = found.order_by("-id").values_list("pk", flat=True)
    return keys[WINDOW - 1 : WINDOW].first()


def by_payload(found: QuerySet[Run], term: str) -> QuerySet[Run]:
    """Those of the runs whose payload holds the term.

    One look by key for each run, in their order, as long as a page lacks rows: a join could read
    the payloads of all runs first.
    """
    data = RunData.objects.filter(run_id=OuterRef("pk"))
    return found.filter(
        Subquery(data.values_list(_holds(term)), output_field=models.BooleanField())
    )


def _holds(term: str) -> Func:
    try:
        value = json.loads(term)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict | list):
        return _Contains(Cast("payload", models.JSONField()), Value(value, models.JSONField()))
    text = Cast("payload", TextField())
    # As JSON writes it: quotes and line ends are escaped there.
    escaped = json.dumps(term, ensure_ascii=False)[1:-1]
    return _Has(text, Value(term), Value(escaped))


class _Contains(Func):
    template = "(%(expressions)s)"
    arg_joiner = " @> "
    output_field = models.BooleanField()


class _Has(Func):
    """strpos is plain: no character of the term means anything else."""

    template = "greatest(%(expressions)s) > 0"
    output_field = models.BooleanField()

    def __init__(self, text: Cast, *terms: Value) -> None:
        found = [
            Func(text, term, function="strpos", output_field=models.IntegerField())
            for term in terms
        ]
        super().__init__(*found)
