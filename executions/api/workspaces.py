"""Workspaces over HTTP: one's own list, a new one, its members and their roles."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from executions import access, workspaces
from executions.access import Caller, Scope
from executions.api.base import ApiView, read, success
from executions.api.schema import enveloped
from executions.errors import NotFound
from executions.models import Membership, Workspace
from executions.rules.scopes import Role

Json = Any


class NewWorkspace(serializers.Serializer[Any]):
    """What a workspace is made with."""

    name = serializers.CharField(max_length=100)


class WorkspaceShown(serializers.Serializer[Any]):
    """A workspace, and what the caller is in it."""

    id = serializers.CharField()
    name = serializers.CharField()
    isPersonal = serializers.BooleanField()
    role = serializers.ChoiceField(choices=list(Role), allow_null=True)
    createdAt = serializers.DateTimeField()


class NewRole(serializers.Serializer[Any]):
    """What a member is from now on."""

    role = serializers.ChoiceField(
        choices=list(Role), help_text="A viewer reads; a member does all but change what runs."
    )


class MemberShown(serializers.Serializer[Any]):
    """Somebody in a workspace."""

    user = serializers.IntegerField()
    name = serializers.CharField()
    role = serializers.ChoiceField(choices=list(Role))
    since = serializers.DateTimeField()


class Workspaces(ApiView):
    """GET and POST /api/workspaces"""

    tag = "Workspaces"
    scopes: ClassVar = {"GET": Scope.READ, "POST": Scope.ADMIN}

    @extend_schema(responses={200: enveloped(WorkspaceShown, many=True)})
    def get(self, request: Request) -> Response:
        """The workspaces that you are in, the oldest first; a key is in one."""
        found = workspaces.of_user(int(self.caller.user_id or 0))
        if self.caller.key_id is not None and not self.caller.sees_all:
            found = [each for each in found if each.workspace_id == self.caller.workspace_id]
        return success([_shown(each.workspace, each.role) for each in found])

    @extend_schema(request=NewWorkspace, responses={201: enveloped(WorkspaceShown)})
    def post(self, request: Request) -> Response:
        """A workspace to share, with you as its first admin."""
        given = read(NewWorkspace, request.data)
        made = workspaces.create(
            given["name"], owner=int(self.caller.user_id or 0), actor=self.caller.actor
        )
        return success(_shown(made, Role.ADMIN), http_status=201)


class MemberView(ApiView):
    """A view about the members of one workspace, which need not be the caller's present one."""

    tag = "Workspaces"

    def enter(self, workspace_id: str, scope: Scope) -> Workspace:
        """The workspace, if the caller has the scope in it. Raises NotFound or ScopeMissing."""
        _caller_in(self.caller, self.request, workspace_id).require(scope)
        return workspaces.retrieve(workspace_id)


class Members(MemberView):
    """GET /api/workspaces/{id}/members"""

    scopes: ClassVar = {"GET": Scope.READ}

    @extend_schema(responses={200: enveloped(MemberShown, many=True)})
    def get(self, request: Request, workspace_id: str) -> Response:
        """Who is in the workspace."""
        workspace = self.enter(workspace_id, Scope.READ)
        found = workspace.memberships.select_related("user")
        return success([_member(each) for each in found])


class Member(MemberView):
    """PUT and DELETE /api/workspaces/{id}/members/{user}"""

    scopes: ClassVar = {"PUT": Scope.ADMIN, "DELETE": Scope.ADMIN}

    @extend_schema(request=NewRole, responses={200: enveloped(MemberShown)})
    def put(self, request: Request, workspace_id: str, user: int) -> Response:
        """Takes a user in, or changes what a member may do. The last admin stays one."""
        role = read(NewRole, request.data)["role"]
        workspace = self.enter(workspace_id, Scope.ADMIN)
        return success(
            _member(workspaces.set_role(workspace.id, user, role, actor=self.caller.actor))
        )

    @extend_schema(responses={200: enveloped(MemberShown, many=True)})
    def delete(self, request: Request, workspace_id: str, user: int) -> Response:
        """Shows a member out, and answers who is left. What the member made stays."""
        workspace = self.enter(workspace_id, Scope.ADMIN)
        workspaces.remove_member(workspace.id, user, actor=self.caller.actor)
        found = workspace.memberships.select_related("user")
        return success([_member(each) for each in found])


def _caller_in(caller: Caller, request: Request, workspace_id: str) -> Caller:
    """What the caller is in a workspace. A key is at home in one; a person may be in several."""
    if caller.key_id is None:
        return access.of_user(request.user, workspace_id)
    if caller.workspace_id != workspace_id and not caller.sees_all:
        raise NotFound(f"There is no workspace {workspace_id!r}.", field="workspace")
    return caller


def _shown(workspace: Workspace, role: str | None) -> dict[str, Json]:
    return {
        "id": workspace.id,
        "name": workspace.name,
        "isPersonal": workspace.personal_of_id is not None,
        "role": role,
        "createdAt": workspace.created_at.isoformat(),
    }


def _member(row: Membership) -> dict[str, Json]:
    return {
        "user": row.user_id,
        "name": row.user.get_username(),
        "role": row.role,
        "since": row.created_at.isoformat(),
    }
