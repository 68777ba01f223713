"""Workspaces over HTTP: who is in which, who may change that."""

from __future__ import annotations

import pytest
from django.test import Client

from executions import workspaces
from executions.models import AuditEntry, Membership, Workspace
from executions.tests.admin_pages import text_of
from executions.tests.management.callers import JSON, Caller

pytestmark = pytest.mark.django_db


class Person:
    """Somebody who is signed in, and names a workspace or none."""

    def __init__(self, user, workspace=None):
        headers = {} if workspace is None else {"X-Workspace-Id": workspace}
        self._client = Client(headers=headers)
        self._client.force_login(user)

    def call(self, method, path, data=None):
        """An answer of /api/…"""
        return getattr(self._client, method)(f"/api/{path}", data, content_type=JSON)


@pytest.fixture
def ada():
    """A caller with a key of a workspace of their own."""
    return Caller("ada")


@pytest.fixture
def bo():
    """Another one."""
    return Caller("bo")


@pytest.fixture
def team(ada):
    """A workspace that ada has made to share."""
    return ada.post("workspaces", {"name": "Team"}).json()["data"]["id"]


def members(answer):
    assert answer.status_code == 200, answer.content
    return {row["name"]: row["role"] for row in answer.json()["data"]}


def test_a_made_workspace_has_its_maker_as_admin(ada, team):
    assert Workspace.objects.get(pk=team).name == "Team"
    assert workspaces.role_of(ada.user.pk, team) == "admin"
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.subject, entry.user_id) == (
        "workspace.create", team, ada.user.pk,
    )  # fmt: skip
    for bad in ({}, {"name": ""}, {"name": "x" * 101}, {"name": "a\nb"}):
        assert ada.post("workspaces", bad).status_code == 400


def test_a_person_sees_all_their_workspaces_and_a_key_its_own(ada, team):
    def listed(answer):
        return {row["id"]: (row["isPersonal"], row["role"]) for row in answer.json()["data"]}

    own = {ada.workspace: (True, "admin")}
    assert listed(ada.get("workspaces")) == own
    assert listed(Person(ada.user).call("get", "workspaces")) == {**own, team: (False, "admin")}


def test_an_admin_takes_people_in_and_shows_them_out(ada, bo, team):
    person = Person(ada.user)
    here = f"workspaces/{team}/members"
    assert members(person.call("get", here)) == {"ada": "admin"}
    assert Person(bo.user).call("get", here).status_code == 404
    answer = person.call("put", f"{here}/{bo.user.pk}", {"role": "viewer"})
    assert (answer.status_code, answer.json()["data"]["role"]) == (200, "viewer")
    assert members(Person(bo.user).call("get", here)) == {"ada": "admin", "bo": "viewer"}
    person.call("put", f"{here}/{bo.user.pk}", {"role": "member"})
    assert workspaces.role_of(bo.user.pk, team) == "member"
    assert members(person.call("delete", f"{here}/{bo.user.pk}")) == {"ada": "admin"}
    assert person.call("delete", f"{here}/{bo.user.pk}").status_code == 404
    actions = list(AuditEntry.objects.order_by("number").values_list("action", flat=True))
    assert actions == [
        "workspace.create", "workspace.set_role", "workspace.set_role", "workspace.remove_member",
    ]  # fmt: skip


@pytest.mark.parametrize("role", ["viewer", "member"])
def test_whoever_is_no_admin_changes_nothing(ada, bo, team, role):
    workspaces.set_role(team, bo.user.pk, role)
    before = AuditEntry.objects.count()
    for person in (Person(bo.user), Person(bo.user, team)):
        for user in (ada.user.pk, bo.user.pk):
            path = f"workspaces/{team}/members/{user}"
            for method in ("put", "delete"):
                answer = person.call(method, path, {"role": "admin"})
                assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert workspaces.role_of(bo.user.pk, team) == role
    assert AuditEntry.objects.count() == before


def test_the_last_admin_stays_one(ada, bo, team):
    person = Person(ada.user)
    path = f"workspaces/{team}/members/{ada.user.pk}"
    assert person.call("put", path, {"role": "viewer"}).status_code == 409
    assert person.call("delete", path).status_code == 409
    person.call("put", f"workspaces/{team}/members/{bo.user.pk}", {"role": "admin"})
    assert person.call("delete", path).status_code == 200
    assert members(Person(bo.user).call("get", f"workspaces/{team}/members")) == {"bo": "admin"}


def test_a_key_acts_in_its_own_workspace_only(ada, bo, team):
    # Of a workspace that its user governs all the same.
    for call in (
        lambda: ada.get(f"workspaces/{team}/members"),
        lambda: ada.put(f"workspaces/{team}/members/{bo.user.pk}", {"role": "admin"}),
        lambda: ada._client.delete(f"/api/workspaces/{team}/members/{ada.user.pk}"),
    ):
        answer = call()
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    own = f"workspaces/{ada.workspace}/members"
    assert ada.put(f"{own}/{bo.user.pk}", {"role": "viewer"}).status_code == 200
    assert members(ada.get(own)) == {"ada": "admin", "bo": "viewer"}


def test_what_is_not_there_is_not_found_and_nonsense_is_refused(ada, team):
    person = Person(ada.user)
    here = f"workspaces/{team}/members"
    for user in (0, 10**12, 10**30):
        assert person.call("put", f"{here}/{user}", {"role": "viewer"}).status_code == 404
    assert person.call("get", "workspaces/workspace_x/members").status_code == 404
    for bad in ({}, {"role": "king"}, {"role": None}):
        assert person.call("put", f"{here}/{ada.user.pk}", bad).status_code == 400
    assert Membership.objects.filter(workspace=team).count() == 1


def test_a_public_token_learns_nothing(ada, team):
    holder = ada.token("admin", "read:all")
    for path in ("workspaces", f"workspaces/{ada.workspace}/members"):
        assert holder.get(path).status_code == 403


def test_the_admin_shows_workspaces_and_their_members(admin_client, ada, team):
    listed = text_of(admin_client.get("/admin/executions/workspace/"))
    assert "Team" in listed
    shown = text_of(admin_client.get(f"/admin/executions/workspace/{team}/change/"))
    assert "ada: admin" in shown
    assert "Team" in text_of(admin_client.get("/admin/executions/workspace/", {"q": "team"}))
    assert "ada" in text_of(admin_client.get("/admin/executions/membership/"))
    assert admin_client.post("/admin/executions/workspace/add/", {}).status_code == 403
    assert admin_client.post(f"/admin/executions/workspace/{team}/delete/").status_code == 403
