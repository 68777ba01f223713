"""Workspaces and who is in them, for looking; changes go through the API."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join

from executions.admin.common import LookingAdmin, link
from executions.models import Membership, Workspace


@admin.register(Workspace)
class WorkspaceAdmin(LookingAdmin):
    """Workspaces, how many share each, and who they are."""

    list_display = ("id", "name", "personal_of", "member_count", "created_at")
    list_select_related = ("personal_of",)
    search_fields = ("id__startswith", "name__icontains")
    fields = ("id", "name", "personal_of", "members", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Workspace]:
        """With the number of members."""
        return super().get_queryset(request).annotate(count=Count("memberships"))

    @admin.display(description="members")
    def member_count(self, row: Any) -> int:
        return int(row.count)

    @admin.display(description="members")
    def members(self, row: Workspace) -> str:
        found = row.memberships.select_related("user")
        return format_html_join("", "<div>{}: {}</div>", ((m.user, m.role) for m in found)) or "-"


@admin.register(Membership)
class MembershipAdmin(LookingAdmin):
    """Who may do what where."""

    list_display = ("id", "user", "in_workspace", "role", "created_at")
    list_select_related = ("user", "workspace")
    search_fields = ("workspace_id__startswith", "user__username__icontains")
    fields = ("user", "in_workspace", "role", "created_at")

    @admin.display(description="workspace")
    def in_workspace(self, row: Membership) -> str:
        return link("workspace", row.workspace_id)
