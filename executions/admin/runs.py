"""Runs: found by what they are, looked at as a whole, changed through `executions/runs.py`."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.decorators import display

from executions import runs
from executions.admin import searching
from executions.admin.acts import Act, ActingAdmin
from executions.admin.bounded import TooSlow, bounded
from executions.admin.common import COLOURS, link, moment, page_url
from executions.admin.filters import CreatedFilter, QueueFilter, StatusFilter, TagFilter, TaskFilter
from executions.admin.forms import ABSENT, EDIT, ForkForm, ReplayForm
from executions.admin.run_page import context_of
from executions.models import Run
from executions.rules.statuses import RunStatus
from executions.templatetags.run_format import lasting

HELD = (RunStatus.PAUSED, RunStatus.NEEDS_ATTENTION)


def _cancel(key: str, data: dict[str, Any], **who: Any) -> None:
    runs.cancel(key, **who)


def _terminate(key: str, data: dict[str, Any], **who: Any) -> None:
    runs.terminate(key, **who)


def _pause(key: str, data: dict[str, Any], **who: Any) -> None:
    runs.pause(key, **who)


def _resume(key: str, data: dict[str, Any], **who: Any) -> None:
    runs.resume(key, **who)


def _release(key: str, data: dict[str, Any], **who: Any) -> None:
    runs.release(key, **who)


def _replay(key: str, data: dict[str, Any], **who: Any) -> str:
    given = {} if data.get("payload", ABSENT) is ABSENT else {"payload": data["payload"]}
    return page_url("run", runs.replay(key, **given, **who).id)


def _fork(key: str, data: dict[str, Any], **who: Any) -> str:
    step = data["step"]
    part: dict[str, Any] = {"from_step": step}
    if data["how"] == EDIT:
        part = {"outputs": {step: data["output"]}}
    return page_url("run", runs.replay(key, **part, **who).id)


ACTS = (
    Act(
        name="cancel", label="Cancel", permission="executions.cancel_run", do=_cancel,
        explains="The run's code gets to clean up; a run that never began ends at once.",
        done="The cancellation is under way", for_many=True, is_grave=True,
        is_offered=lambda run: not run.is_final and run.cancel_requested_at is None,
    ),
    Act(
        name="terminate", label="Terminate", permission="executions.terminate_run", do=_terminate,
        explains="The run ends at once, and its code does not get to clean up.",
        done="Terminated", for_many=True, is_grave=True, is_offered=lambda run: not run.is_final,
    ),
    Act(
        name="pause", label="Pause", permission="executions.pause_run", do=_pause,
        explains="No new step begins; those under way end and are stored, then the run is held.",
        done="The pause is under way", for_many=True,
        is_offered=lambda run: not (
            run.is_final or run.status in HELD or run.pause_requested_at is not None
        ),
    ),
    Act(
        name="resume", label="Resume", permission="executions.pause_run", do=_resume,
        explains="The run goes on where it was held.", done="Resumed", for_many=True,
        is_offered=lambda run: (
            run.status == RunStatus.PAUSED
            or (not run.is_final and run.pause_requested_at is not None)
        ),
    ),
    Act(
        name="release", label="Release", permission="executions.release_run", do=_release,
        explains="The run is queued again, to go on with the code as it is now.",
        done="Queued again", for_many=True,
        is_offered=lambda run: run.status == RunStatus.NEEDS_ATTENTION,
    ),
    Act(
        name="replay", label="Replay", permission="executions.replay_run", do=_replay,
        explains="A new run of the same task, from the start; this one stays as it is.",
        done="Started anew", form=ReplayForm,
    ),
    Act(
        name="replay-all", label="Replay", permission="executions.replay_run", do=_replay,
        explains="New runs of the same tasks with the same payloads; these stay as they are.",
        done="Started anew", for_many=True, is_offered=lambda run: False,
    ),
    Act(
        name="fork", label="Fork", permission="executions.replay_run", do=_fork,
        explains="A new run that takes over the journal up to a step; this one stays as it is.",
        done="Forked", form=ForkForm,
    ),
)  # fmt: skip


@admin.register(Run)
class RunAdmin(ActingAdmin):
    """Runs: what they were given, what happened, what they came to."""

    acts = ACTS
    change_form_template = "admin/executions/run/change_form.html"
    list_display = ("id", "task", "shown_status", "queue", "attempt", "created", "duration")
    list_filter = (StatusFilter, TaskFilter, TagFilter, QueueFilter, CreatedFilter)
    list_select_related = False
    search_fields = ("id",)
    search_help_text = searching.HELP
    fieldsets = (
        (None, {"fields": (
            ("id", "task"),
            ("shown_status", "page"),
            ("queue_link", "attempts"),
            ("created", "started"),
            ("finished", "duration"),
            ("owner", "shown_tags"),
            ("worker_link", "stalls"),
        )}),
        ("How it goes on, and where it belongs", {"classes": ("collapse",), "fields": (
            ("wake_at", "expires_at"),
            ("deadline_at", "limit_of_time"),
            ("priority", "concurrency_key"),
            ("cancel_requested_at", "cancel_reason"),
            ("pause_requested_at", "generation"),
            ("parent_link", "parent_step"),
            ("root_link", "parent_close"),
            ("fork_link", "definition"),
            "hook_link",
        )}),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        """Runs without what is large; a run's page reads that by itself."""
        return super().get_queryset(request).defer("output", "error")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Run], search_term: str
    ) -> tuple[QuerySet[Run], bool]:
        """By the beginning of an id, else in the payloads of the newest that are left."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if searching.is_id(term):
            return queryset.filter(pk__startswith=term), False
        try:
            with bounded():
                last = searching.end_of_window(queryset)
        except TooSlow as error:
            messages.error(request, error.message)
            return queryset.none(), False
        request.search_end = last  # type: ignore[attr-defined]
        found = queryset if last is None else queryset.filter(pk__gte=last)
        return searching.by_payload(found, term), False

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """A run with its steps, events, tokens and neighbours."""
        context: dict[str, Any] = dict(extra_context or {})
        run = Run.objects.filter(pk=unquote(object_id)).first()
        if run is not None and self.has_view_permission(request, run):
            context |= context_of(request, run) | {
                "may_fork": request.user.has_perm("executions.replay_run"),
                "may_complete": request.user.has_perm("executions.complete_waittoken"),
            }
        return super().change_view(request, object_id, form_url, context)

    # ---- columns --------------------------------------------------------------------------------

    @display(description="status", label=dict(COLOURS))
    def shown_status(self, run: Run) -> str:
        return run.status

    @admin.display(description="attempt")
    def attempts(self, run: Run) -> str:
        return f"{run.attempt} of {run.max_attempts}" if run.max_attempts else str(run.attempt)

    @admin.display(description="duration")
    def duration(self, run: Run) -> str:
        return lasting(run.started_at, run.finished_at) or "-"

    @admin.display(description="active, of at most")
    def limit_of_time(self, run: Run) -> str:
        most = f" of {run.max_duration:g} s" if run.max_duration else ""
        return f"{run.active_ms / 1000:g} s{most}"

    @admin.display(description="created (UTC)")
    def created(self, run: Run) -> str:
        return moment(run.created_at)

    @admin.display(description="started (UTC)")
    def started(self, run: Run) -> str:
        return moment(run.started_at)

    @admin.display(description="finished (UTC)")
    def finished(self, run: Run) -> str:
        return moment(run.finished_at)

    @admin.display(description="tags")
    def shown_tags(self, run: Run) -> str:
        return ", ".join(run.tags) or "-"

    @admin.display(description="queue")
    def queue_link(self, run: Run) -> str:
        # Its list, since a queue without a limit may have no row.
        url = reverse("admin:executions_queue_changelist")
        return format_html('<a class="fm-link" href="{}">{}</a>', url, run.queue)

    @admin.display(description="watch")
    def page(self, run: Run) -> str:
        url = reverse("run", args=[run.pk])
        return format_html('<a class="fm-link" href="{}">its own page</a>', url)

    @admin.display(description="worker")
    def worker_link(self, run: Run) -> str:
        return link("worker", run.worker)

    @admin.display(description="parent")
    def parent_link(self, run: Run) -> str:
        return link("run", run.parent_id)

    @admin.display(description="root")
    def root_link(self, run: Run) -> str:
        return link("run", run.root_id if run.root_id != run.pk else None)

    @admin.display(description="forked from")
    def fork_link(self, run: Run) -> str:
        return link("run", run.forked_from)

    @admin.display(description="run of its hooks")
    def hook_link(self, run: Run) -> str:
        return link("run", run.hook_run)
