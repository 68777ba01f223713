"""Workflows and their frozen editions."""

from __future__ import annotations

from django.contrib import admin

from executions.admin.common import LookingAdmin, pre
from executions.models import Workflow, WorkflowVersion


@admin.register(Workflow)
class WorkflowAdmin(LookingAdmin):
    """Workflows by name."""

    list_display = ("id", "name", "workspace", "owner", "updated_at", "deleted_at")
    list_select_related = ("owner", "workspace")
    search_fields = ("name__icontains",)
    fields = (
        "id", "name", "description", "workspace", "owner", "created_at", "updated_at", "deleted_at",
    )  # fmt: skip


@admin.register(WorkflowVersion)
class WorkflowVersionAdmin(LookingAdmin):
    """The frozen editions of workflows."""

    list_display = ("id", "workflow", "number", "created_at")
    list_select_related = ("workflow",)
    fields = ("id", "workflow", "number", "created_at", "drawn")

    @admin.display(description="definition")
    def drawn(self, version: WorkflowVersion) -> str:
        return pre(version.definition)
