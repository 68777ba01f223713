"""A drawn graph and its frozen editions; runs point at an edition."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from executions.models.fields import IdField, OrderedJSONField


class Workflow(models.Model):
    """A named graph that people edit; each save is a new version."""

    id = IdField(primary_key=True)
    name = models.TextField()
    description = models.TextField(blank=True, default="")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="workflows",
    )
    workspace = models.ForeignKey(
        "Workspace",
        null=True,
        blank=True,
        # Without one a workflow would be everybody's.
        on_delete=models.PROTECT,
        related_name="workflows",
        help_text="None: shared by the whole installation.",
    )
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    deleted_at = models.DateTimeField(
        null=True, blank=True, help_text="Its versions stay: runs point at them."
    )

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                name="workflow_name_once",
                fields=("workspace", "name"),
                condition=Q(deleted_at__isnull=True),
                nulls_distinct=False,
            ),
        )

    def __str__(self) -> str:
        return self.name


class WorkflowVersion(models.Model):
    """One frozen edition of a workflow."""

    id = IdField(primary_key=True)
    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="versions")
    number = models.IntegerField()
    definition = OrderedJSONField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("workflow", "-number")
        constraints = (
            models.UniqueConstraint(name="version_number_once", fields=("workflow", "number")),
        )

    def __str__(self) -> str:
        return f"{self.workflow} v{self.number}"
