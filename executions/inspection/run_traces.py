"""A run as a trace: a span for itself, one for each of its steps, one for each run it started."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import TextField, Value
from django.db.models.functions import MD5, Concat, Left

from executions.errors import NotFound
from executions.models import Run, Step
from executions.rules.statuses import RunStatus, StepStatus

Json = Any
MAX_SPANS = 10_000
_ID_LENGTH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A timed entry; `ended_at` is None while it goes on, or where nobody knows how it ended."""

    id: str
    parent_id: str | None
    run_id: str
    name: str
    started_at: datetime
    ended_at: datetime | None
    is_error: bool = False
    is_cancelled: bool = False
    attempt: int | None = None
    details: Mapping[str, Json] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long it took."""
        ended_at = self.ended_at or self.started_at
        return max(0.0, (ended_at - self.started_at).total_seconds())


def spans(run: Run, *, after: str | None = None, limit: int = MAX_SPANS) -> list[Span]:
    """The run's span, then those of its steps by their keys, then those of the runs it started.

    At most `limit` steps. `after`: without the run's own span, the steps after that key.
    """
    steps = Step.objects.filter(run=run.id).defer("input", "output").order_by("key")
    if after is not None:
        steps = steps.filter(key__gt=after)
    found = [_of_step(run, step) for step in steps[:limit]]
    if after is not None:
        return found
    children = Run.objects.filter(parent=run.id).order_by("id")[:MAX_SPANS]
    return [of_run(run), *found, *(of_run(child, below=run) for child in children)]


def span(run: Run, span_id: str) -> tuple[Span, Sequence[Run]]:
    """One span of the run, and the runs that were started in it. Raises NotFound."""
    if span_id == id_of(run.id):
        return of_run(run), list(Run.objects.filter(parent=run.id, parent_step=None)[:MAX_SPANS])
    name = Concat("run_id", Value(" ", output_field=TextField()), "key", output_field=TextField())
    digest = Left(MD5(name), _ID_LENGTH)
    step = Step.objects.filter(run=run.id).annotate(span=digest).filter(span=span_id).first()
    if step is None:
        raise NotFound(f"Run {run.id} has no span {span_id!r}.", field="span")
    started = Run.objects.filter(parent=run.id, parent_step=step.key).order_by("id")[:MAX_SPANS]
    return _of_step(run, step, output=step.output), list(started)


def id_of(run_id: str, key: str | None = None) -> str:
    """The id of the span of a run, or of a step of it."""
    text = run_id if key is None else f"{run_id} {key}"
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:_ID_LENGTH]


def of_run(run: Run, *, below: Run | None = None) -> Span:
    """The span of a run, by itself or within the run that started it."""
    parent = None
    if below is not None:
        parent = id_of(below.id, run.parent_step)
    return Span(
        id=id_of(run.id),
        parent_id=parent,
        run_id=run.id,
        name=run.task,
        started_at=run.started_at or run.created_at,
        ended_at=run.finished_at,
        is_error=run.is_final and run.status not in (RunStatus.COMPLETED, RunStatus.CANCELED),
        is_cancelled=run.status == RunStatus.CANCELED,
        attempt=run.attempt,
        details={"task": run.task, "queue": run.queue, "status": run.status},
    )


def _of_step(run: Run, step: Step, **details: Json) -> Span:
    is_open = step.finished_at is None
    return Span(
        id=id_of(run.id, step.key),
        parent_id=id_of(run.id),
        run_id=run.id,
        name=step.key,
        started_at=step.started_at,
        # A step that was under way when its run ended, ended with it.
        ended_at=run.finished_at if is_open else step.finished_at,
        is_error=step.status == StepStatus.FAILED,
        is_cancelled=is_open and run.status == RunStatus.CANCELED,
        attempt=step.attempt,
        details={"kind": step.kind, "status": step.status, "error": step.error, **details},
    )
