"""What a run's page shows beside the run's own fields."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest

from executions.admin.bounded import TooSlow, bounded
from executions.admin.pages import page_of, with_text
from executions.admin.timeline import Attempts, Timeline, timeline
from executions.models import AuditEntry, PastStep, Run, RunData, RunEvent, Step, WaitToken, Worker

TIMELINE_STEPS = 500
_EVENTS_OF_RETRIES = 5000
_FORKS = 50
# What the bars of the timeline mean.
LOOKS = (
    ("completed", "completed"), ("running", "running"), ("waited", "waits"),
    ("failed-attempt", "failed attempt"), ("back-off", "back-off"), ("failed", "failed"),
)  # fmt: skip
_ENTRIES = 200


def context_of(request: HttpRequest, run: Run) -> dict[str, Any]:
    """The lists, the timeline and the neighbours of a run."""
    # In order of completion, what is still open last.
    order = (F("seq").asc(nulls_last=True), "started_at", "key")
    texts = ("input", "output", "error")
    steps = with_text(Step.objects.filter(run_id=run.pk), *texts, "heartbeat").order_by(*order)
    past = with_text(PastStep.objects.filter(run_id=run.pk), *texts)
    past = past.order_by("-generation", *order)
    events = with_text(RunEvent.objects.filter(run_id=run.pk), "data")
    tokens = with_text(WaitToken.objects.filter(run_id=run.pk).order_by("id"), "output")
    children = Run.objects.filter(parent_id=run.pk).defer("output", "error").order_by("id")
    forks, forks_note = _forks(run)
    return {
        "run": run,
        "data": RunData.objects.filter(run_id=run.pk).first(),
        "worker": Worker.objects.filter(pk=run.worker).first() if run.worker else None,
        "steps": page_of(request, "steps", steps),
        "past": page_of(request, "past", past),
        "events": page_of(request, "events", events),
        "tokens": page_of(request, "tokens", tokens),
        "children": page_of(request, "children", children),
        "forks": forks,
        "forks_note": forks_note,
        "entries": _entries(request, run),
        **_timeline(request, run),
    }


def _timeline(request: HttpRequest, run: Run) -> dict[str, Any]:
    found = Step.objects.filter(run_id=run.pk).order_by("started_at", "key")
    found = found.only("run_id", "key", "kind", "status", "attempt", "started_at", "finished_at")
    page = page_of(request, "timeline", found, TIMELINE_STEPS)
    return {"timeline_page": page, "timeline": drawn(run, page["rows"]), "looks": LOOKS}


def drawn(run: Run, steps: list[Step]) -> Timeline | None:
    """The steps on the scale of the run; nothing where there are none."""
    if not steps:
        return None
    begins = run.started_at or run.created_at
    if run.generation:
        # The run began long before this journal of it did.
        begins = min(step.started_at for step in steps)
    ends = max([run.finished_at or _now(), *(step.finished_at or begins for step in steps)])
    return timeline(steps, _attempts(run, steps), begins=begins, ends=ends)


def _now() -> datetime:
    """The engine's time: open bars end there."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT flowmaestro_now()")
        now: datetime = cursor.fetchone()[0]
        return now


def _attempts(run: Run, steps: list[Step]) -> Attempts:
    """When attempts of the retried steps began and failed."""
    keys = {step.key for step in steps if step.attempt > 1 or step.status == "RETRYING"}
    found: defaultdict[str, list[tuple[str, datetime]]] = defaultdict(list)
    if keys:
        types = {"step.started": "started", "step.retrying": "failed"}
        rows = RunEvent.objects.filter(run_id=run.pk, type__in=types).order_by("seq")
        for kind, data, at in rows.values_list("type", "data", "at")[:_EVENTS_OF_RETRIES]:
            key = data.get("key") if isinstance(data, dict) else None
            if key in keys:
                found[key].append((types[kind], at))
    return found


def _forks(run: Run) -> tuple[list[Run], str]:
    """Runs that were made of this one."""
    found = Run.objects.filter(forked_from=run.pk).defer("output", "error").order_by("id")
    try:
        with bounded(1.0):
            forks = list(found[: _FORKS + 1])
    except TooSlow:
        return [], "They could not be looked up in time."
    return forks[:_FORKS], f"The first {_FORKS} are shown." if len(forks) > _FORKS else ""


def _entries(request: HttpRequest, run: Run) -> QuerySet[AuditEntry] | None:
    """What people did to the run and its tokens; None for who may not read the audit log."""
    if not getattr(request.user, "has_perm")("executions.view_auditentry"):  # noqa: B009
        return None
    tokens = WaitToken.objects.filter(run_id=run.pk).values_list("pk", flat=True)[:_ENTRIES]
    about = Q(subject__in=[run.pk, *tokens])
    if run.forked_from:
        # Who made it: that is recorded with the run it was made of.
        about |= Q(subject=run.forked_from, action="run.replay", after__run=run.pk)
    return AuditEntry.objects.filter(about).order_by("-number")[:_ENTRIES]
