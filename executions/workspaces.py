"""What is done to workspaces: make one, take members in, change what they may do."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.db import transaction

from executions import audit
from executions.audit import Actor
from executions.errors import Conflict, Invalid, NotFound
from executions.models import Membership, Workspace
from executions.planned import Planned
from executions.rules.ids import has_prefix, new_id
from executions.rules.scopes import Role
from executions.rules.values import plain_text

PREFIX = "workspace"


def personal(user_id: int) -> Workspace:
    """The user's own workspace, made when it is first asked for. Raises NotFound."""
    found = Workspace.objects.filter(personal_of=user_id).first()
    return found or _make_personal(user_id)


def place_of(owner: int | None, workspace: str | None) -> str | None:
    """Where something belongs: the workspace named, or the owner's own, or none.

    Raises NotFound for an owner or a workspace that is not there.
    """
    if workspace is not None:
        if owner is not None and not _has_user(owner):
            raise NotFound(f"There is no user {owner!r}.", field="owner")
        return retrieve(workspace).id
    return None if owner is None else personal(owner).id


def _make_personal(user_id: int) -> Workspace:
    user = get_user_model().objects.filter(pk=user_id).first()
    if user is None:
        raise NotFound(f"There is no user {user_id!r}.", field="owner")
    with transaction.atomic():
        workspace, is_new = Workspace.objects.get_or_create(
            personal_of=user, defaults={"id": new_id(PREFIX), "name": user.get_username()}
        )
        if is_new:
            Membership.objects.create(workspace=workspace, user=user, role=Role.ADMIN)
    return workspace


def create(name: str, *, owner: int, actor: Actor | None = None) -> Workspace:
    """A workspace to share; its owner is its first admin. Raises Invalid or NotFound."""
    name = plain_text(name, field="name", limit=100)
    if not get_user_model().objects.filter(pk=owner).exists():
        raise NotFound(f"There is no user {owner!r}.", field="owner")
    with transaction.atomic():
        workspace = Workspace.objects.create(id=new_id(PREFIX), name=name)
        Membership.objects.create(workspace=workspace, user_id=owner, role=Role.ADMIN)
        audit.record(actor, "workspace.create", workspace.id, after={"name": name})
    return workspace


def retrieve(workspace_id: str) -> Workspace:
    """The workspace. Raises NotFound."""
    found = None
    if has_prefix(workspace_id, PREFIX):
        found = next(iter(_by_id(workspace_id)), None)
    if found is None:
        raise NotFound(f"There is no workspace {workspace_id!r}.", field="workspace")
    return found


# Every trigger asks these.
_by_id = Planned(lambda workspace_id: Workspace.objects.filter(pk=workspace_id), str)
_has_user = Planned(lambda owner: get_user_model().objects.only("pk").filter(pk=owner), int)


def of_user(user_id: int) -> list[Membership]:
    """The user's memberships with their workspaces, the oldest first."""
    return list(Membership.objects.filter(user=user_id).select_related("workspace"))


def role_of(user_id: int, workspace_id: str) -> Role | None:
    """What the user is in the workspace; None for no member of it."""
    role = (
        Membership.objects.filter(user=user_id, workspace=workspace_id)
        .values_list("role", flat=True)
        .first()
    )
    return None if role is None else Role(role)


def set_role(
    workspace_id: str, user_id: int, role: str, *, actor: Actor | None = None
) -> Membership:
    """Takes a user in, or changes what a member may do. The last admin stays one."""
    if role not in list(Role):
        raise Invalid(f"role is one of {', '.join(Role)}, not {role!r}.", field="role")
    if not get_user_model().objects.filter(pk=user_id).exists():
        raise NotFound(f"There is no user {user_id!r}.", field="user")
    with transaction.atomic():
        workspace = _locked(workspace_id)
        known = workspace.memberships.filter(user=user_id).first()
        before = None if known is None else known.role
        if role != Role.ADMIN:
            _keep_an_admin(workspace, without=user_id)
        member, _ = Membership.objects.update_or_create(
            workspace=workspace, user_id=user_id, defaults={"role": role}
        )
        audit.record(
            actor, "workspace.set_role", workspace.id,
            before={"user": user_id, "role": before}, after={"user": user_id, "role": role},
        )  # fmt: skip
    return member


def remove_member(workspace_id: str, user_id: int, *, actor: Actor | None = None) -> None:
    """Shows a member out. Raises NotFound, or Conflict for the last admin."""
    with transaction.atomic():
        workspace = _locked(workspace_id)
        member = workspace.memberships.filter(user=user_id).first()
        if member is None:
            raise NotFound(f"User {user_id!r} is no member of {workspace.name!r}.", field="user")
        _keep_an_admin(workspace, without=user_id)
        member.delete()
        before = {"user": user_id, "role": member.role}
        audit.record(actor, "workspace.remove_member", workspace.id, before=before)


def _locked(workspace_id: str) -> Workspace:
    retrieve(workspace_id)
    return Workspace.objects.select_for_update().get(pk=workspace_id)


def _keep_an_admin(workspace: Workspace, *, without: int) -> None:
    if workspace.personal_of_id == without:
        raise Conflict(
            f"{workspace.name!r} is that member's own workspace; they stay its admin.", field="role"
        )
    admins = workspace.memberships.filter(role=Role.ADMIN)
    if admins.filter(user=without).exists() and not admins.exclude(user=without).exists():
        raise Conflict(
            f"Workspace {workspace.name!r} would have no admin; make somebody else one first.",
            field="role",
        )
