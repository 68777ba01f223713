"""Stored connections without their secrets, and the APIs that are described."""

from __future__ import annotations

from django.contrib import admin
from unfold.decorators import display

from executions.admin.common import LookingAdmin, moment, pre
from executions.models import ApiDescription, Connection


@admin.register(Connection)
class ConnectionAdmin(LookingAdmin):
    """Connections by id. What is sealed is on no page, not even as it is stored."""

    list_display = ("id", "name", "provider", "owner", "state", "key_id", "used")
    list_select_related = ("owner",)
    search_fields = ("name__icontains", "provider__icontains")
    fields = (
        "id", "name", "provider", "owner", "state", "shown_fields", "shown_secrets", "key_id",
        "created_at", "updated_at", "used", "revoked",
    )  # fmt: skip

    @display(description="state", label={"revoked": "danger", "usable": "success"})
    def state(self, row: Connection) -> str:
        return "revoked" if row.revoked_at else "usable"

    @admin.display(description="fields")
    def shown_fields(self, row: Connection) -> str:
        return pre(row.fields)

    @admin.display(description="secrets")
    def shown_secrets(self, row: Connection) -> str:
        return ", ".join(f"{name}: ••••" for name in row.secret_names) or "-"

    @admin.display(description="last used (UTC)")
    def used(self, row: Connection) -> str:
        return moment(row.last_used_at)

    @admin.display(description="revoked (UTC)")
    def revoked(self, row: Connection) -> str:
        return moment(row.revoked_at)


@admin.register(ApiDescription)
class ApiDescriptionAdmin(LookingAdmin):
    """Descriptions by provider; the documents themselves are too long for a page."""

    list_display = ("id", "provider", "title", "base_url", "updated_at")
    list_select_related = False
    fields = ("id", "provider", "title", "base_url", "created_at", "updated_at")

    def get_queryset(self, request: object) -> object:
        """Without the documents."""
        return super().get_queryset(request).defer("document")
