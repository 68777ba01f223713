"""Who shares what: a workspace holds runs, workflows, connections; its members act in it."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from executions.models.fields import IdField
from executions.rules.scopes import Role


class Workspace(models.Model):
    """What its members see, and nobody else but the installation's staff.

    A user has a personal one; it outlives the user, so that nothing in it becomes anybody's.
    """

    id = IdField(primary_key=True)
    name = models.TextField()
    personal_of = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="personal_workspace",
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """What a user may do in a workspace."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships"
    )
    role = models.TextField(choices=[(role.value, role.value) for role in Role])
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(name="member_once", fields=("workspace", "user")),
            models.CheckConstraint(name="member_role_known", condition=Q(role__in=list(Role))),
        )

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.workspace}"
