"""The audit log: who changed what and why, and whether anybody has touched the log itself."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html

from executions import audit
from executions.admin.bounded import TooSlow, bounded
from executions.admin.common import LookingAdmin, moment, page_url, pre
from executions.admin.filters import ChoiceFilter, TextFilter
from executions.models import AuditEntry
from executions.rules.ids import has_prefix

SHOWN_BREAKS = 20
ACTIONS = (
    "api.register", "connection.create", "connection.delete", "connection.revoke",
    "connection.rotate", "connection.update",
    "queue.limit", "queue.pause", "queue.resume", "run.cancel", "run.pause", "run.release",
    "run.replay", "run.reschedule", "run.resume", "run.terminate", "token.complete",
)  # fmt: skip


class ActionFilter(ChoiceFilter):
    """Entries of one action."""

    title = field = "action"
    parameters = ("action",)

    def offered(self) -> list[str]:
        """The actions that services record, and what is in the newest entries."""
        found = AuditEntry.objects.order_by("-number").values_list("action", flat=True)[:1000]
        return [*ACTIONS, *found]


class ActorFilter(TextFilter):
    """Entries of one actor."""

    title = "actor"
    parameters = ("actor",)
    help_text = "The whole name."

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """The entries."""
        return queryset.filter(actor=self.value()) if self.value() else queryset


class SubjectFilter(TextFilter):
    """Entries about one thing."""

    title = "subject"
    parameters = ("subject",)
    help_text = "The id of a run or token, the name of a queue."

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """The entries."""
        return queryset.filter(subject=self.value()) if self.value() else queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(LookingAdmin):
    """Entries, newest first, with the state of their chain."""

    change_list_template = "admin/executions/auditentry/change_list.html"
    ordering = ("-number",)
    list_display = ("number", "when", "actor", "action", "about", "reason")
    list_filter = (ActionFilter, ActorFilter, SubjectFilter)
    list_select_related = False
    fields = (
        "number", "when", "actor", "account", "action", "about", "reason", "shown_before",
        "shown_after", "hash", "previous_hash",
    )  # fmt: skip

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The entries, and whether the chain holds."""
        context: dict[str, Any] = dict(extra_context or {})
        if self.has_view_permission(request):
            context["chain"] = chain()
        return super().changelist_view(request, context)

    @admin.display(description="at (UTC)")
    def when(self, entry: AuditEntry) -> str:
        return moment(entry.at)

    @admin.display(description="account")
    def account(self, entry: AuditEntry) -> str:
        return "-" if entry.user_id is None else str(entry.user_id)

    @admin.display(description="subject")
    def about(self, entry: AuditEntry) -> str:
        for prefix, model in (("run", "run"), ("waitpoint", "waittoken")):
            if has_prefix(entry.subject, prefix):
                url = page_url(model, entry.subject)
                return format_html('<a class="fm-link" href="{}">{}</a>', url, entry.subject)
        return entry.subject

    @admin.display(description="before")
    def shown_before(self, entry: AuditEntry) -> str:
        return pre(entry.before)

    @admin.display(description="after")
    def shown_after(self, entry: AuditEntry) -> str:
        return pre(entry.after)


def chain() -> dict[str, Any]:
    """Whether the entries are the ones that were written, in words."""
    try:
        with bounded():
            broken = audit.broken_links()
    except TooSlow:
        return {"look": "unknown", "words": "The log is too long to check its chain on a page."}
    if not broken:
        return {"look": "whole", "words": "The chain of the log is whole."}
    numbers = ", ".join(str(number) for number in broken[:SHOWN_BREAKS])
    more = " …" if len(broken) > SHOWN_BREAKS else ""
    return {
        "look": "broken",
        "words": f"The chain is broken at {numbers}{more}: entries were changed or removed there.",
    }
