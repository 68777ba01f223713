"""The log of requests to webhooks, for looking only; what was secret in them was never kept."""

from __future__ import annotations

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from executions.admin.common import LookingAdmin, link, moment, pre
from executions.admin.filters import CreatedFilter, TextFilter
from triggers.models import Delivery


class ByTrigger(TextFilter):
    """Requests to one webhook."""

    title = "trigger"
    parameters = ("trigger",)
    help_text = "The whole id."

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        """The requests."""
        return queryset.filter(trigger=self.value()) if self.value() else queryset


class ReceivedFilter(CreatedFilter):
    """Requests received in a span of time."""

    title = "received"
    prefix = "delivery"

    def fields(self) -> dict[str, forms.Field]:
        """Two times in UTC."""
        found = super().fields()
        for name, label in zip(self.parameters, ("Received from", "Received before"), strict=True):
            found[name].label = f"{label} (UTC)"
        return found


@admin.register(Delivery)
class DeliveryAdmin(LookingAdmin):
    """Requests, the newest first."""

    list_display = (
        "id", "received", "trigger_link", "method", "status", "error", "run_link", "ip",
        "duration_ms",
    )  # fmt: skip
    list_filter = (ByTrigger, ReceivedFilter)
    list_select_related = False
    search_fields = ("id__startswith",)
    search_help_text = "The beginning of a delivery's id"
    fields = (
        "id", "received", "trigger_link", "method", "path", "shown_query", "shown_headers", "body",
        "body_bytes", "ip", "user_agent", "delivery_id", "status", "error", "is_repeated",
        "run_link", "duration_ms", "expires_at",
    )  # fmt: skip

    @admin.display(description="received (UTC)")
    def received(self, row: Delivery) -> str:
        return moment(row.received_at)

    @admin.display(description="trigger")
    def trigger_link(self, row: Delivery) -> str:
        return link("trigger", row.trigger_id, app="triggers")

    @admin.display(description="run")
    def run_link(self, row: Delivery) -> str:
        return link("run", row.run)

    @admin.display(description="query")
    def shown_query(self, row: Delivery) -> str:
        return pre(row.query)

    @admin.display(description="headers")
    def shown_headers(self, row: Delivery) -> str:
        return pre(row.headers)
