"""What the pages of the admin share: looking only, links, JSON and times as people read them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.admin import ShowFacets
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import ModelAdmin

from executions.admin.lists import KeysetList, KeysetPaginator, take_cursor
from executions.rules.statuses import RunStatus
from executions.templatetags.run_format import as_text

COLOURS = {
    RunStatus.COMPLETED: "success",
    RunStatus.EXECUTING: "info",
    RunStatus.WAITING: "warning",
    RunStatus.PAUSED: "warning",
    RunStatus.NEEDS_ATTENTION: "warning",
    RunStatus.FAILED: "danger",
    RunStatus.CRASHED: "danger",
    RunStatus.TIMED_OUT: "danger",
    RunStatus.SYSTEM_FAILURE: "danger",
}


class LookingAdmin(ModelAdmin):
    """A list and a page of what is there, for looking only."""

    paginator = KeysetPaginator
    show_full_result_count = False
    list_disable_select_all = True
    list_per_page = 50
    ordering = ("-id",)
    sortable_by = ()
    list_filter_submit = True
    show_facets = ShowFacets.NEVER
    change_form_template = "admin/executions/looking_form.html"

    class Media:
        css = {"all": ("executions/admin.css",)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never."""
        return False

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[KeysetList]:
        """A list that is turned over by the key of its last row."""
        return KeysetList

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list; where in it the page begins is no filter."""
        take_cursor(request)
        return super().changelist_view(request, extra_context)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The page of one row, without Django's own history: the audit log says more."""
        context = {"show_history": False, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    def look_at(self, rows: list[Any]) -> None:
        """Adds to the rows of one page what their columns show."""


def page_url(model: str, pk: str | int, *, app: str = "executions") -> str:
    """The address of a row's page."""
    return reverse(f"admin:{app}_{model}_change", args=[quote(pk)])


def list_url(model: str, *, app: str = "executions") -> str:
    """The address of a list."""
    return reverse(f"admin:{app}_{model}_changelist")


def link(model: str, pk: str | None, *, app: str = "executions") -> str:
    """A link to a row's page, or a dash."""
    if not pk:
        return "-"
    return format_html('<a class="fm-link" href="{}">{}</a>', page_url(model, pk, app=app), pk)


def pre(value: Any) -> str:
    """A JSON value as text, never as markup."""
    return "-" if value is None else format_html('<pre class="fm-json">{}</pre>', as_text(value))


def moment(at: datetime | None) -> str:
    """A time in UTC to the second, or a dash."""
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else "-"
