"""Triggers as operators see them: what they start, how often they fired; on and off."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from executions.admin.acts import Act, ActingAdmin
from executions.admin.common import link, moment, pre
from executions.admin.filters import ChoiceFilter
from triggers import triggers
from triggers.models import Trigger
from triggers.rules.configs import TriggerType

MANAGE = "triggers.manage_trigger"


def _enable(key: str, data: dict[str, Any], **who: Any) -> None:
    triggers.enable(key, **who)


def _disable(key: str, data: dict[str, Any], **who: Any) -> None:
    triggers.disable(key, **who)


class TypeFilter(ChoiceFilter):
    """Triggers of one type."""

    title = field = "type"
    parameters = ("type",)

    def offered(self) -> list[str]:
        """All types."""
        return [kind.value for kind in TriggerType]


@admin.register(Trigger)
class TriggerAdmin(ActingAdmin):
    """Triggers by id. Secrets are on no page, not even as they are stored."""

    acts = (
        Act(
            name="enable", label="Enable", permission=MANAGE, do=_enable, for_many=True,
            explains="What comes in starts the workflow again; its schedule goes on.",
            done="Enabled", is_offered=lambda row: not row.enabled and row.deleted_at is None,
        ),
        Act(
            name="disable", label="Disable", permission=MANAGE, do=_disable, for_many=True,
            explains="What comes in is refused, and its schedule is paused. Runs go on.",
            done="Disabled", is_offered=lambda row: row.enabled,
        ),
    )  # fmt: skip
    list_display = ("id", "name", "type", "state", "workflow_link", "workspace", "times", "last")
    list_filter = (TypeFilter,)
    list_select_related = ("workflow", "workspace")
    search_fields = ("id__startswith", "name__icontains")
    fields = (
        "id", "name", "type", "state", "workflow_link", "workspace", "owner", "settings", "address",
        "schedule_link", "secret", "times", "last", "last_error", "created_at", "updated_at",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Trigger]:
        """With how often each fired."""
        return triggers.with_counts(super().get_queryset(request))

    @display(description="state", label={"on": "success", "off": "warning", "deleted": "danger"})
    def state(self, row: Trigger) -> str:
        if row.deleted_at is not None:
            return "deleted"
        return "on" if row.enabled else "off"

    @admin.display(description="workflow")
    def workflow_link(self, row: Trigger) -> str:
        return link("workflow", row.workflow_id)

    @admin.display(description="schedule")
    def schedule_link(self, row: Trigger) -> str:
        return link("schedule", row.schedule_id, app="triggers")

    @admin.display(description="config")
    def settings(self, row: Trigger) -> str:
        return pre(row.config)

    @admin.display(description="address")
    def address(self, row: Trigger) -> str:
        return triggers.webhook_url(row) if row.type == TriggerType.WEBHOOK else "-"

    @admin.display(description="secret")
    def secret(self, row: Trigger) -> str:
        if not row.key_id:
            return "-"
        return f"••••, of {moment(row.secret_changed_at)}, sealed with {row.key_id}"

    @admin.display(description="fired")
    def times(self, row: Trigger) -> str:
        return f"{row.fired:,}"

    @admin.display(description="last fired (UTC)")
    def last(self, row: Trigger) -> str:
        return moment(row.fired_at)
