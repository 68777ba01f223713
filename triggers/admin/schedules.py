"""Schedules as operators see them: when they fire, what became of it; pause, run, fill, create."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.html import format_html_join
from unfold.decorators import display

from executions.admin.acts import Act, ActingAdmin
from executions.admin.common import LookingAdmin, link, list_url, moment, page_url, pre
from executions.admin.filters import ChoiceFilter, TextFilter
from executions.audit import Actor
from executions.errors import FlowMaestroError
from triggers import schedules
from triggers.admin.schedule_forms import BackfillForm, RunNowForm, ScheduleForm
from triggers.models import Outcome, Schedule, ScheduleFire
from triggers.rules import specs

MANAGE = "triggers.manage_schedule"
RUN = "triggers.run_schedule"
_SHOWN_FIRES = 20


def _pause(key: str, data: dict[str, Any], **who: Any) -> None:
    schedules.deactivate(key, **who)


def _unpause(key: str, data: dict[str, Any], **who: Any) -> None:
    schedules.activate(key, **who)


def _run(key: str, data: dict[str, Any], **who: Any) -> str | None:
    fire = schedules.run_now(key, overlap=data["overlap"], **who)
    return page_url("run", fire.run) if fire.run else None


def _backfill(key: str, data: dict[str, Any], **who: Any) -> None:
    schedules.backfill(key, data["start"], data["end"], overlap=data["overlap"], **who)


class ByTask(TextFilter):
    """Schedules of one task."""

    title = "task"
    parameters = ("task",)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Its schedules."""
        return queryset.filter(task=self.value()) if self.value() else queryset


class BySchedule(TextFilter):
    """What became of one schedule's times."""

    title = "schedule"
    parameters = ("schedule",)
    help_text = "The whole id."

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Its fires."""
        return queryset.filter(schedule=self.value()) if self.value() else queryset


class OutcomeFilter(ChoiceFilter):
    """Times of one outcome."""

    title = field = "outcome"
    parameters = ("outcome",)

    def offered(self) -> list[str]:
        """All there are."""
        return list(Outcome.values)


@admin.register(Schedule)
class ScheduleAdmin(ActingAdmin):
    """Schedules, the newest first."""

    acts = (
        Act(
            name="pause", label="Pause", permission=MANAGE, do=_pause, for_many=True,
            explains="It fires no more until it goes on; times that come meanwhile are let go.",
            done="Paused", is_offered=lambda row: row.paused_at is None,
        ),
        Act(
            name="unpause", label="Unpause", permission=MANAGE, do=_unpause, for_many=True,
            explains="It fires again, from now on. What disabled it must be put right first.",
            done="It goes on", is_offered=lambda row: not row.is_active,
        ),
        Act(
            name="run", label="Run now", permission=RUN, do=_run, form=RunNowForm,
            explains="It fires once, now, also while it is paused.", done="Fired",
        ),
        Act(
            name="backfill", label="Backfill", permission=MANAGE, do=_backfill, form=BackfillForm,
            explains="Runs start for the times of a past range that have none.", done="Filled",
        ),
    )  # fmt: skip
    list_display = ("id", "task", "expression", "timezone", "state", "next", "last", "workspace")
    list_filter = (ByTask,)
    # Not the rows that say when: one with a zone that is none would take the list with it.
    list_select_related = ("workspace",)
    search_fields = ("id__startswith", "external_id", "deduplication_key")
    search_help_text = "The beginning of an id; an external id or a deduplication key"
    fields = (
        "id", "task", "state", "note", "expression", "in_words", "timezone", "next", "effective",
        "following", "last", "last_run_link", "outcomes", "overlap", "catch_up_seconds", "window",
        "pause_on_failure", "remaining_actions", "starts_at", "ends_at", "external_id",
        "deduplication_key", "workspace", "owner", "is_declarative", "shown_payload", "tags",
        "queue", "metadata", "ttl_seconds", "created_at", "updated_at",
    )  # fmt: skip

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Whoever manages schedules creates them, by the service."""
        return bool(getattr(request.user, "has_perm")(MANAGE))  # noqa: B009

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Asks for what a schedule is to be, and has it made."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        given = request.POST if request.method == "POST" else None
        form = ScheduleForm(given, subject=None, request=request)
        status = 200
        if form.is_bound and form.is_valid():
            try:
                made = schedules.create(**form.options(), actor=Actor.of(request.user))
            except FlowMaestroError as error:
                form.add_error(error.field if error.field in form.fields else None, error.message)
                status = error.http_status
            else:
                messages.success(request, f"Created: {made.pk}.")
                return redirect(page_url("schedule", made.pk, app="triggers"))
        context = {
            **self.admin_site.each_context(request),
            "title": _CREATE.label,
            "opts": self.opts,
            "media": self.media,
            "act": _CREATE,
            "form": form,
            "rows": [],
            "back": list_url("schedule", app="triggers"),
        }
        return TemplateResponse(request, "admin/executions/act.html", context, status=status)

    @display(
        description="state",
        label={"active": "success", "paused": "warning", "exhausted": "info", "broken": "danger"},
    )
    def state(self, row: Schedule) -> str:
        if row.disabled_at is not None:
            return "broken"
        if row.paused_at is not None:
            return "paused"
        return "exhausted" if row.exhausted_at is not None else "active"

    @admin.display(description="why")
    def note(self, row: Schedule) -> str:
        return row.error or row.pause_note or "-"

    @admin.display(description="in words")
    def in_words(self, row: Schedule) -> str:
        return specs.describe(row.expression)

    @admin.display(description="next time (UTC)")
    def next(self, row: Schedule) -> str:
        return moment(row.next_fire_at)

    @admin.display(description="fires then at (UTC)")
    def effective(self, row: Schedule) -> str:
        return moment(row.next_effective_at)

    @admin.display(description="and then (UTC)")
    def following(self, row: Schedule) -> str:
        if row.next_fire_at is None:
            return "-"
        try:
            found = schedules.upcoming_times(row.pk, after=row.next_fire_at)
        except FlowMaestroError as error:
            return error.message
        return ", ".join(moment(at) for at in found) or "-"

    @admin.display(description="last time (UTC)")
    def last(self, row: Schedule) -> str:
        return moment(row.last_fire_at)

    @admin.display(description="last run")
    def last_run_link(self, row: Schedule) -> str:
        return link("run", row.last_run)

    @admin.display(description="what became of its times")
    def outcomes(self, row: Schedule) -> str:
        found = ScheduleFire.objects.filter(schedule=row).order_by("-id")[:_SHOWN_FIRES]
        lines = ((_times(f), f.outcome, link("run", f.run) if f.run else f.note) for f in found)
        return format_html_join("", "<div>{} {} {}</div>", lines) or "-"

    @admin.display(description="payload")
    def shown_payload(self, row: Schedule) -> str:
        return pre(row.payload)


_CREATE = Act(
    name="create", label="Create a schedule", permission=MANAGE, do=_pause, done="Created",
    explains="Runs of a task start by themselves. Say when in one way: a cron, a length, a moment, "
    "or something that was saved before.",
)  # fmt: skip


def _times(fire: ScheduleFire) -> str:
    if fire.nominal_at is None:
        return f"{moment(fire.at)} (by hand)"
    if fire.last_nominal_at is None:
        return moment(fire.nominal_at)
    return f"{moment(fire.nominal_at)} to {moment(fire.last_nominal_at)} ({fire.count:,} times)"


@admin.register(ScheduleFire)
class ScheduleFireAdmin(LookingAdmin):
    """What became of the times of schedules, the latest first."""

    list_display = ("id", "schedule_link", "times", "outcome", "origin", "run_link", "note", "at")
    list_filter = (BySchedule, OutcomeFilter)
    list_select_related = False
    fields = list_display

    @admin.display(description="schedule")
    def schedule_link(self, fire: ScheduleFire) -> str:
        return link("schedule", fire.schedule_id, app="triggers")

    @admin.display(description="time (UTC)")
    def times(self, fire: ScheduleFire) -> str:
        return _times(fire)

    @admin.display(description="run")
    def run_link(self, fire: ScheduleFire) -> str:
        return link("run", fire.run)
