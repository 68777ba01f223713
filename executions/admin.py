"""The admin is for looking: runs with their steps and events, wait tokens, workers, workflows.

Nothing is added, changed or deleted here, and no list counts its table.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.db.models import F, Model, QuerySet, TextField
from django.db.models.functions import Cast, Left
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from executions import registry, runs
from executions.errors import FlowMaestroError
from executions.models import Run, RunEvent, Step, WaitToken, Worker, Workflow, WorkflowVersion
from executions.rules.statuses import RunStatus
from executions.templatetags.run_format import SHOWN_CHARACTERS, as_text, lasting

ROWS_PER_PAGE = 200
# Filters offer what so many of the newest runs have; a DISTINCT would read the whole table.
SAMPLE = 1000
COLOURS = {
    RunStatus.COMPLETED: "success",
    RunStatus.EXECUTING: "info",
    RunStatus.WAITING: "warning",
    RunStatus.NEEDS_ATTENTION: "warning",
    RunStatus.FAILED: "danger",
    RunStatus.CRASHED: "danger",
    RunStatus.TIMED_OUT: "danger",
    RunStatus.SYSTEM_FAILURE: "danger",
}


class LookingAdmin(ModelAdmin):
    """A list and a page of what is there, for looking only."""

    paginator = InfinitePaginator
    show_full_result_count = False
    list_disable_select_all = True
    list_per_page = 50
    ordering = ("-id",)
    sortable_by = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never."""
        return False


class _Seen(admin.SimpleListFilter):
    """A filter that offers the values that the newest runs have, and those of known tasks."""

    field: str

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        newest = Run.objects.order_by("-id").values_list(self.field, flat=True)[:SAMPLE]
        known = {task.queue if self.field == "queue" else task.id for task in registry.all_tasks()}
        return [(value, value) for value in sorted({*newest, *known})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        return queryset.filter(**{self.field: self.value()}) if self.value() else queryset


class TaskFilter(_Seen):
    """Runs of one task."""

    title = parameter_name = field = "task"


class QueueFilter(_Seen):
    """Runs of one queue."""

    title = parameter_name = field = "queue"


@admin.register(Run)
class RunAdmin(LookingAdmin):
    """Runs: what they were given, what happened, what they came to."""

    list_display = ("id", "task", "shown_status", "queue", "attempt", "created", "duration")
    list_filter = ("status", TaskFilter, QueueFilter)
    list_select_related = False
    search_fields = ("id__startswith",)
    search_help_text = "The beginning of a run's id."
    actions = ("cancel_runs", "release_runs")
    fieldsets = (
        (None, {"fields": (
            ("shown_status", "task"),
            ("queue", "attempt"),
            ("created", "started"),
            ("finished", "duration"),
            ("owner", "tags"),
            "page",
        )}),
        ("What it was given and came to", {"fields": ("payload", "metadata", "result", "failure")}),
        ("How it goes on", {"fields": (
            ("worker_link", "stalls"),
            ("wake_at", "expires_at"),
            ("deadline_at", "max_duration"),
            ("active_ms", "max_attempts"),
            ("priority", "concurrency_key"),
            ("cancel_requested_at", "cancel_reason"),
        )}),
        ("Where it belongs", {"fields": (
            ("parent_link", "parent_step"),
            ("root_link", "parent_close"),
            ("forked_from", "definition"),
        )}),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        """Runs without what is large; a run's page reads that by itself."""
        return super().get_queryset(request).defer("output", "error")

    # ---- columns --------------------------------------------------------------------------------

    @display(description="status", label=dict(COLOURS))
    def shown_status(self, run: Run) -> str:
        return run.status

    @admin.display(description="duration")
    def duration(self, run: Run) -> str:
        return lasting(run.started_at, run.finished_at) or "-"

    @admin.display(description="created (UTC)")
    def created(self, run: Run) -> str:
        return _moment(run.created_at)

    @admin.display(description="started (UTC)")
    def started(self, run: Run) -> str:
        return _moment(run.started_at)

    @admin.display(description="finished (UTC)")
    def finished(self, run: Run) -> str:
        return _moment(run.finished_at)

    @admin.display(description="page")
    def page(self, run: Run) -> str:
        return format_html('<a href="{}">watch it</a>', reverse("run", args=[run.pk]))

    @admin.display(description="payload")
    def payload(self, run: Run) -> str:
        return _pre(run.data.payload)

    @admin.display(description="metadata")
    def metadata(self, run: Run) -> str:
        return _pre(run.data.metadata)

    @admin.display(description="output")
    def result(self, run: Run) -> str:
        return _pre(run.output)

    @admin.display(description="error")
    def failure(self, run: Run) -> str:
        return _pre(run.error)

    @admin.display(description="worker")
    def worker_link(self, run: Run) -> str:
        return _link("worker", run.worker)

    @admin.display(description="parent")
    def parent_link(self, run: Run) -> str:
        return _link("run", run.parent_id)

    @admin.display(description="root")
    def root_link(self, run: Run) -> str:
        return _link("run", run.root_id if run.root_id != run.pk else None)

    # ---- the page -------------------------------------------------------------------------------

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """A run with its steps, events, tokens and children."""
        run_id = unquote(object_id)
        # In order of completion, what is still open last.
        order = (F("seq").asc(nulls_last=True), "started_at", "key")
        steps = _with_text(Step.objects.filter(run_id=run_id).order_by(*order))
        events = _with_text(RunEvent.objects.filter(run_id=run_id), "data")
        tokens = _with_text(WaitToken.objects.filter(run_id=run_id).order_by("id"), "output")
        children = Run.objects.filter(parent_id=run_id).defer("output", "error").order_by("id")
        context = {
            "steps": _page_of(request, "steps", steps),
            "events": _page_of(request, "events", events),
            "tokens": _page_of(request, "tokens", tokens),
            "children": _page_of(request, "children", children),
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)

    # ---- actions --------------------------------------------------------------------------------

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whether this user may cancel runs: whoever may change them elsewhere."""
        return bool(request.user.has_perm("executions.change_run"))

    @admin.action(description="Cancel the selected runs", permissions=["cancel"])
    def cancel_runs(self, request: HttpRequest, queryset: QuerySet[Run]) -> None:
        """Ask each run to stop, and report each that refuses."""
        reason = f"Cancelled in the admin by {request.user}."
        done = self._each(request, queryset, lambda run_id: runs.cancel(run_id, reason=reason))
        if done:
            text = f"The cancellation of {_count(done)} is under way."
            self.message_user(request, text, messages.SUCCESS)

    def has_release_permission(self, request: HttpRequest) -> bool:
        """Whether this user may release runs: whoever may cancel them."""
        return self.has_cancel_permission(request)

    @admin.action(description="Release the selected runs", permissions=["release"])
    def release_runs(self, request: HttpRequest, queryset: QuerySet[Run]) -> None:
        """Queue each run that needed attention again, and report each that does not need any."""
        done = self._each(request, queryset, runs.release)
        if done:
            self.message_user(request, f"Queued again: {_count(done)}.", messages.SUCCESS)

    def _each(
        self, request: HttpRequest, queryset: QuerySet[Run], act: Callable[[str], Run]
    ) -> int:
        """Do it to each run, report each that refuses; how many did not."""
        done = 0
        for run_id in queryset.values_list("pk", flat=True):
            try:
                act(run_id)
            except FlowMaestroError as error:
                self.message_user(request, f"{run_id}: {error.message}", messages.WARNING)
            else:
                done += 1
        return done


@admin.register(WaitToken)
class WaitTokenAdmin(LookingAdmin):
    """Wait tokens and their outcome."""

    list_display = ("id", "run_link", "step_key", "status", "timeout_at", "created_at")
    list_filter = ("status",)
    list_select_related = False
    search_fields = ("id__startswith",)
    search_help_text = "The beginning of a token's id."
    fields = (
        "id", "run_link", "step_key", "status", "timeout_at", "tags", "created_at",
        "completed_at", "outcome",
    )  # fmt: skip

    @admin.display(description="run")
    def run_link(self, token: WaitToken) -> str:
        return _link("run", token.run_id)

    @admin.display(description="output")
    def outcome(self, token: WaitToken) -> str:
        return _pre(token.output)


@admin.register(Worker)
class WorkerAdmin(LookingAdmin):
    """Worker processes and their last heartbeat."""

    list_display = ("id", "host", "pid", "started_at", "seen_at", "dead_at")
    list_select_related = False
    fields = (*list_display, "held_runs")

    @admin.display(description="runs in hand")
    def held_runs(self, worker: Worker) -> str:
        held = Run.objects.filter(worker=worker.pk, status=RunStatus.EXECUTING).only("id")
        return format_html("<pre>{}</pre>", "\n".join(run.pk for run in held[:ROWS_PER_PAGE]))


@admin.register(Workflow)
class WorkflowAdmin(LookingAdmin):
    """Workflows by name."""

    list_display = ("id", "name", "owner", "created_at")
    list_select_related = ("owner",)
    search_fields = ("name__icontains",)
    fields = ("id", "name", "description", "owner", "created_at")


@admin.register(WorkflowVersion)
class WorkflowVersionAdmin(LookingAdmin):
    """The frozen editions of workflows."""

    list_display = ("id", "workflow", "number", "created_at")
    list_select_related = ("workflow",)
    fields = ("id", "workflow", "number", "created_at", "drawn")

    @admin.display(description="definition")
    def drawn(self, version: WorkflowVersion) -> str:
        return _pre(version.definition)


def _pre(value: Any) -> str:
    return "-" if value is None else format_html('<pre class="fm-json">{}</pre>', as_text(value))


def _count(number: int) -> str:
    return f"{number} {'run' if number == 1 else 'runs'}"


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else "-"


def _link(model: str, pk: str | None) -> str:
    if not pk:
        return "-"
    url = reverse(f"admin:executions_{model}_change", args=[quote(pk)])
    return format_html('<a href="{}">{}</a>', url, pk)


def _with_text(found: QuerySet[Any], *names: str) -> QuerySet[Any]:
    """The rows with their JSON as text, cut in the database: a page shows hundreds of them."""
    names = names or ("input", "output", "error")
    texts = {f"{name}_text": Left(Cast(name, TextField()), SHOWN_CHARACTERS + 1) for name in names}
    return found.defer(*names).annotate(**texts)


def _page_of(request: HttpRequest, name: str, found: QuerySet[Any]) -> dict[str, Any]:
    """One page of rows; which one is said by a parameter of the rows' name."""
    raw = request.GET.get(name, "1")
    number = min(max(int(raw), 1), 1_000_000) if raw.isascii() and raw.isdigit() else 1
    start = (number - 1) * ROWS_PER_PAGE
    rows = list(found[start : start + ROWS_PER_PAGE + 1])
    for row in rows:
        for attribute in [key for key in vars(row) if key.endswith("_text")]:
            setattr(row, attribute, _indented(getattr(row, attribute)))
    return {
        "name": name,
        "rows": rows[:ROWS_PER_PAGE],
        "previous": number - 1,
        "next": number + 1 if len(rows) > ROWS_PER_PAGE else None,
    }


def _indented(text: str | None) -> str:
    """JSON text, indented when it is whole."""
    if text is None or text == "null":
        return ""
    try:
        return as_text(json.loads(text))
    except ValueError:
        return f"{text[:SHOWN_CHARACTERS]}\n…"
