"""Who calls: what they may do, what they see, and in whose name it is written down."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from django.db.models import Model, Q, QuerySet

from executions import workspaces
from executions.audit import Actor
from executions.errors import FlowMaestroError, NotFound
from executions.rules.scopes import EVERY_SCOPE, SCOPES_OF, Role, Scope

__all__ = ["EVERY_SCOPE", "Caller", "Grants", "Role", "Scope", "ScopeMissing", "of_user"]

M = TypeVar("M", bound=Model)


class Grants(Protocol):
    """What a public token was made for, and nothing beside it."""

    def allows(self, action: str, kind: str, id: str | None = None) -> bool:
        """Whether it covers an action (`read`, `write`, `trigger`) on a thing of this kind."""


class ScopeMissing(FlowMaestroError):
    """The caller may not use this verb."""

    code = "permission_denied"
    http_status = 403


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """A user, a key or a public token at one of the doors."""

    name: str
    user_id: int | None
    workspace_id: str | None
    """What the caller makes belongs here."""
    scopes: frozenset[Scope]
    sees_all: bool = False
    """Whether things of every workspace are shown, and those of none."""
    key_id: int | None = None
    grants: Grants | None = None
    """Of a public token, which has no scopes."""

    @property
    def actor(self) -> Actor:
        """The caller, for the audit log."""
        return Actor(self.name, self.user_id)

    def may(self, scope: Scope) -> bool:
        """Whether the caller may use a verb."""
        return scope in self.scopes

    def require(self, scope: Scope) -> None:
        """Raises ScopeMissing unless the caller may use the verb."""
        if not self.may(scope):
            raise ScopeMissing(
                f"This takes the scope {scope.value!r}, which {self.name} does not have here."
            )

    def within(self, workspace_id: str) -> Caller:
        """The caller in a workspace, and in no other. Raises NotFound for one of others."""
        if workspace_id != self.workspace_id and not self.sees_all:
            raise NotFound(f"There is no workspace {workspace_id!r}.", field="workspace")
        place = workspaces.retrieve(workspace_id).id
        return replace(self, workspace_id=place, sees_all=False)

    def visible(self, rows: QuerySet[M], *, shared: bool = False) -> QuerySet[M]:
        """The rows of the caller's workspace; `shared`: and those that belong to none."""
        if self.sees_all:
            return rows
        own = Q(workspace=self.workspace_id) if self.workspace_id is not None else Q(pk__in=())
        return rows.filter(own | Q(workspace=None) if shared else own)


def of_user(user: object, workspace_id: str | None = None) -> Caller:
    """A signed-in user, in the workspace named or else in their own.

    Staff who name no workspace see all. Raises NotFound for a workspace of others.
    """
    user_id = int(getattr(user, "pk"))  # noqa: B009 - of any user model
    is_staff = bool(getattr(user, "is_staff", False) or getattr(user, "is_superuser", False))
    if workspace_id is None:
        own = workspaces.personal(user_id).id
        return Caller(
            name=str(user), user_id=user_id, workspace_id=own, scopes=EVERY_SCOPE, sees_all=is_staff
        )
    return Caller(
        name=str(user),
        user_id=user_id,
        workspace_id=workspace_id,
        scopes=scopes_in(user_id, workspace_id, is_staff=is_staff),
    )


def scopes_in(user_id: int, workspace_id: str, *, is_staff: bool) -> frozenset[Scope]:
    """What a user may do in a workspace; staff of the installation may do all in any.

    Raises NotFound for a workspace of others.
    """
    workspace = workspaces.retrieve(workspace_id)
    role = workspaces.role_of(user_id, workspace.id)
    if role is not None:
        return SCOPES_OF[role]
    if not is_staff:
        raise NotFound(f"There is no workspace {workspace_id!r}.", field="workspace")
    return EVERY_SCOPE
