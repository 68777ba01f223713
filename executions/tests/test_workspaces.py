"""Workspaces, their members, and who calls."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory

from executions import access, workspaces
from executions.access import Caller, Scope, ScopeMissing
from executions.audit import Actor
from executions.errors import Conflict, Invalid, NotFound
from executions.models import AuditEntry, Membership, Run
from executions.rules import scopes
from executions.rules.ids import new_id
from executions.rules.scopes import EVERY_SCOPE, SCOPES_OF, Role
from executions.tests.people import person

pytestmark = pytest.mark.django_db


def run_in(workspace):
    """A run's row, of a workspace or of none."""
    return Run.objects.create(
        id=new_id("run"), task="t", status="QUEUED", queue="t", workspace_id=workspace
    )


def test_a_user_has_one_personal_workspace_and_governs_it():
    ada = person("ada")
    first = workspaces.personal(ada.pk)
    assert workspaces.personal(ada.pk) == first
    assert workspaces.role_of(ada.pk, first.id) == Role.ADMIN
    with pytest.raises(NotFound, match="no user 999"):
        workspaces.personal(999)


def test_a_workspace_is_shared_and_the_last_admin_stays():
    ada, bob = person("ada"), person("bob")
    team = workspaces.create("Team", owner=ada.pk, actor=Actor.of(ada))
    workspaces.set_role(team.id, bob.pk, "viewer", actor=Actor.of(ada))
    assert {m.user for m in Membership.objects.filter(workspace=team)} == {ada, bob}
    with pytest.raises(Conflict, match="no admin"):
        workspaces.set_role(team.id, ada.pk, "member")
    with pytest.raises(Conflict, match="no admin"):
        workspaces.remove_member(team.id, ada.pk)
    workspaces.set_role(team.id, bob.pk, "admin")
    workspaces.remove_member(team.id, ada.pk, actor=Actor.of(bob))
    assert workspaces.role_of(ada.pk, team.id) is None
    written = list(AuditEntry.objects.order_by("number").values_list("action", flat=True))
    assert written == ["workspace.create", "workspace.set_role", "workspace.remove_member"]


def test_an_unknown_role_user_or_workspace_is_refused():
    ada = person("ada")
    team = workspaces.create("Team", owner=ada.pk)
    with pytest.raises(Invalid, match="viewer, member, admin"):
        workspaces.set_role(team.id, ada.pk, "king")
    with pytest.raises(NotFound):
        workspaces.set_role(team.id, 999, "viewer")
    with pytest.raises(NotFound):
        workspaces.remove_member(team.id, 999)
    with pytest.raises(NotFound):
        workspaces.retrieve(new_id("workspace"))
    with pytest.raises(Invalid, match="name"):
        workspaces.create("", owner=ada.pk)


def test_something_belongs_to_the_workspace_named_or_else_to_its_owners_own():
    ada = person("ada")
    own, team = workspaces.personal(ada.pk).id, workspaces.create("Team", owner=ada.pk).id
    assert workspaces.place_of(ada.pk, None) == own
    assert workspaces.place_of(ada.pk, team) == team
    assert workspaces.place_of(None, None) is None
    with pytest.raises(NotFound):
        workspaces.place_of(999, team)
    with pytest.raises(NotFound):
        workspaces.place_of(ada.pk, new_id("workspace"))


def test_a_caller_sees_the_workspace_and_what_is_shared_only_where_that_is_meant():
    ada, bob = person("ada"), person("bob")
    caller = access.of_user(ada)
    mine, theirs = run_in(caller.workspace_id), run_in(workspaces.personal(bob.pk).id)
    common = run_in(None)
    assert set(caller.visible(Run.objects.all())) == {mine}
    assert set(caller.visible(Run.objects.all(), shared=True)) == {mine, common}
    staff = access.of_user(person("boss", is_staff=True))
    assert set(staff.visible(Run.objects.all())) == {mine, theirs, common}
    nobody = Caller(name="", user_id=None, workspace_id=None, scopes=frozenset())
    assert not nobody.visible(Run.objects.all()).exists()


def test_a_user_may_in_a_workspace_what_their_role_says():
    ada, bob = person("ada"), person("bob")
    team = workspaces.create("Team", owner=ada.pk).id
    with pytest.raises(NotFound):
        access.of_user(bob, team)
    for role, held in SCOPES_OF.items():
        workspaces.set_role(team, bob.pk, role)
        caller = access.of_user(bob, team)
        assert (caller.scopes, caller.workspace_id, caller.sees_all) == (held, team, False)
    workspaces.set_role(team, bob.pk, "viewer")
    with pytest.raises(ScopeMissing, match="trigger"):
        access.of_user(bob, team).require(Scope.TRIGGER)
    # Staff who name a workspace act in that one only.
    boss = access.of_user(person("boss", is_staff=True), team)
    assert (boss.sees_all, boss.scopes) == (False, EVERY_SCOPE)


def test_a_key_acts_in_its_own_workspace_and_one_for_all_in_any():
    ada = access.of_user(person("ada"))
    other = workspaces.personal(person("bob").pk).id
    assert ada.within(str(ada.workspace_id)).workspace_id == ada.workspace_id
    with pytest.raises(NotFound):
        ada.within(other)
    narrowed = access.of_user(person("boss", is_staff=True)).within(other)
    assert (narrowed.workspace_id, narrowed.sees_all) == (other, False)
    with pytest.raises(NotFound):
        access.of_user(person("chief", is_staff=True)).within("workspace_nope")


def test_scopes_are_read_by_name():
    assert scopes.parse(["read", "cancel"]) == {Scope.READ, Scope.CANCEL}
    assert scopes.parse(["*"]) == EVERY_SCOPE
    refused: list[Any] = [["write"], "read", [1]]
    for bad in refused:
        with pytest.raises(Invalid, match="scope"):
            scopes.parse(bad)


def test_options_of_cross_origin_requests_need_no_caller():
    from executions.api.executions import Executions

    answer = Executions.as_view()(RequestFactory().options("/api/executions"))
    assert answer.status_code == 200
