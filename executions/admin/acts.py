"""What operators do: a confirmation that asks for a reason, then one service function per row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_http_methods

from executions.admin.common import LookingAdmin, list_url, page_url
from executions.admin.forms import ReasonForm
from executions.audit import Actor
from executions.errors import FlowMaestroError

# A selection travels in an address.
MOST_AT_ONCE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something that can be done to rows of a model.

    `do` gets a row's key, the form's values, and `reason=` and `actor=` for the service; it gives
    the address of what came out of it, or None for the row itself.
    """

    name: str
    label: str
    permission: str
    explains: str
    done: str
    do: Callable[..., str | None]
    form: type[ReasonForm] = ReasonForm
    is_offered: Callable[[Any], bool] = lambda row: True
    for_many: bool = False
    is_grave: bool = False

    def may(self, request: HttpRequest) -> bool:
        """Whether the user may do it at all."""
        return bool(getattr(request.user, "has_perm")(self.permission))  # noqa: B009


class ActingAdmin(LookingAdmin):
    """A list and pages with things to do."""

    acts: tuple[Act, ...] = ()

    def get_urls(self) -> list[URLPattern]:
        """Beside Django's own, one for each act; theirs take any path for a key."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_act"
        view = self.admin_site.admin_view(self.act_view)
        return [path("act/<slug:name>/", view, name=name), *super().get_urls()]

    def offered_acts(self, request: HttpRequest, row: Any) -> list[dict[str, Any]]:
        """The acts that make sense for a row as it is, for a user who may."""
        return [
            {"act": act, "url": self.act_url(act.name, [row.pk])}
            for act in self.acts
            if act.may(request) and act.is_offered(row)
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """A row, and what can be done to it."""
        row = self.get_object(request, unquote(object_id))
        acts = [] if row is None else self.offered_acts(request, row)
        context = {"acts": acts, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    def act_url(self, name: str, keys: list[Any]) -> str:
        """Where the reason is asked for."""
        url = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_act", args=[name])
        return f"{url}?{urlencode([('id', key) for key in keys])}"

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """The acts that can be done to several rows of the list."""
        return {
            act.name: (partial(_ask, act), act.name, f"{act.label} the selected …")
            for act in self.acts
            if act.for_many and act.may(request)
        }

    def act_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Asks for the reason; then does it and says what came of it."""
        return _act_view(request, self, name)


def _ask(act: Act, admin: ActingAdmin, request: HttpRequest, found: QuerySet[Any]) -> HttpResponse:
    # What is selected, and never all that the list would show: that may be a million.
    keys = request.POST.getlist(ACTION_CHECKBOX_NAME)[:MOST_AT_ONCE]
    return redirect(admin.act_url(act.name, keys))


@require_http_methods(["GET", "HEAD", "POST"])
def _act_view(request: HttpRequest, admin: ActingAdmin, name: str) -> HttpResponse:
    act = next((act for act in admin.acts if act.name == name), None)
    if act is None:
        raise Http404(f"Nothing here is called {name!r}.")
    if not (admin.has_view_permission(request) and act.may(request)):
        raise PermissionDenied
    keys = [key.replace("\0", "") for key in request.GET.getlist("id")][:MOST_AT_ONCE]
    rows = list(admin.get_queryset(request).filter(pk__in=keys).order_by("pk"))
    if not rows or (len(rows) > 1 and not act.for_many):
        raise Http404("There is no such row.")
    subject = rows[0] if len(rows) == 1 else None
    given = request.POST if request.method == "POST" else None
    form = act.form(given, subject=subject, request=request)
    status = 200
    if form.is_bound and form.is_valid():
        reached, refusals = _do(request, act, form, rows)
        if subject is None:
            return redirect(_list_of(admin))
        if not refusals:
            return redirect(reached or _page_of(admin, subject))
        # What was entered is not lost.
        status = refusals[0].http_status
    return _asked(request, admin, act, form, rows, status)


def _list_of(admin: ActingAdmin) -> str:
    return list_url(str(admin.opts.model_name), app=admin.opts.app_label)


def _page_of(admin: ActingAdmin, row: Any) -> str:
    return page_url(str(admin.opts.model_name), row.pk, app=admin.opts.app_label)


def _do(
    request: HttpRequest, act: Act, form: ReasonForm, rows: list[Any]
) -> tuple[str | None, list[FlowMaestroError]]:
    """Does it to each row, with a message for each; where the last one led, and all refusals."""
    data = dict(form.cleaned_data)
    reason = data.pop("reason")
    reached, refusals, done = None, [], 0
    for row in rows:
        try:
            reached = act.do(row.pk, data, reason=reason, actor=Actor.of(request.user))
        except FlowMaestroError as error:
            refusals.append(error)
            messages.warning(request, f"{row.pk}: {error.message}")
        else:
            done += 1
    if done:
        what = str(rows[0].pk) if len(rows) == 1 else f"{done} of {len(rows)}"
        messages.success(request, f"{act.done}: {what}.")
    return reached, refusals


def _asked(
    request: HttpRequest, admin: ActingAdmin, act: Act, form: ReasonForm, rows: list[Any],
    status: int,
) -> HttpResponse:  # fmt: skip
    back = _page_of(admin, rows[0]) if len(rows) == 1 else _list_of(admin)
    context = {
        **admin.admin_site.each_context(request),
        "title": act.label,
        "opts": admin.opts,
        "media": admin.media,
        "act": act,
        "form": form,
        "rows": rows,
        "back": back,
    }
    return TemplateResponse(request, "admin/executions/act.html", context, status=status)
