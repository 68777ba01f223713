"""API keys for people: issued once, never beyond who issues them, revoked with all they signed."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from executions import audit, connections, workspaces
from executions.audit import Actor
from executions.errors import NotFound
from executions.models import AuditEntry
from executions.tests.management.callers import Caller
from executions.tests.people import person
from flowmaestro import keys
from flowmaestro.models import ApiKey

OLD, NEW = ("old", b"\1" * 32), ("new", b"\2" * 32)

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada():
    """A caller who may do everything in a workspace."""
    return Caller("ada")


def ask(caller, **given):
    return caller.post("keys", {"name": "new", "scopes": ["read"], **given})


def delete(caller, path):
    return caller._client.delete(f"/api/{path}")


def works(key, path="workspaces"):
    return Client(headers={"Authorization": f"Bearer {key}"}).get(f"/api/{path}").status_code == 200


# ---- over HTTP ----------------------------------------------------------------------------------


def test_a_new_key_is_shown_once_and_works(ada):
    answer = ask(ada, scopes=["read", "trigger"])
    assert answer.status_code == 201
    made = answer.json()["data"]
    row = ApiKey.objects.get(pk=made["id"])
    assert (row.user, row.workspace_id, row.scopes) == (
        ada.user,
        ada.workspace,
        ["read", "trigger"],
    )
    assert works(made["key"])
    listed = ada.get("keys").json()["data"]
    assert [each["id"] for each in listed] == [row.pk, ada.row.pk]
    assert made.pop("key") not in json.dumps(listed)
    # It was used in between.
    assert {**listed[0], "lastUsedAt": None} == made
    assert row.key_hash not in json.dumps(listed)


def test_a_revoked_key_ends_at_once_with_all_that_it_signed(ada):
    second = Caller("second")
    second.row, second.key = ApiKey.issue(ada.user, name="second", scopes=["*"])
    second._client = Client(headers={"Authorization": f"Bearer {second.key}"})
    holder = second.token("read:runs")
    assert holder.get("v1/runs").status_code == 200
    answer = delete(ada, f"keys/{second.row.pk}")
    assert (answer.status_code, answer.json()["data"]["revokedAt"] is None) == (200, False)
    assert not works(second.key)
    assert holder.get("v1/runs").status_code == 401
    at = ApiKey.objects.get(pk=second.row.pk).revoked_at
    assert delete(ada, f"keys/{second.row.pk}").status_code == 200
    assert ApiKey.objects.get(pk=second.row.pk).revoked_at == at


@pytest.mark.parametrize(
    ("held", "wanted", "given"),
    [
        (["admin", "read"], ["read"], ["read"]),
        (["admin", "read"], ["read", "trigger"], None),
        (["admin", "read"], ["*"], ["admin", "read"]),
        (["*"], ["*"], ["admin", "cancel", "complete", "read", "replay", "trigger"]),
        (["admin"], ["replay"], None),
    ],
)
def test_a_key_makes_no_key_that_may_more(held, wanted, given):
    answer = ask(Caller("eve", *held), scopes=wanted)
    if given is None:
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
        assert answer.json()["details"] == {"field": "scopes"}
        assert ApiKey.objects.count() == 1
    else:
        assert answer.json()["data"]["scopes"] == given


@pytest.mark.parametrize("given", [
    {"scopes": []}, {"scopes": ["fly"]}, {"scopes": "read"}, {"name": ""}, {"name": "x" * 101},
    {"name": "nul\0"}, {"reason": "x" * 2001},
])  # fmt: skip
def test_a_bad_wish_is_refused(ada, given):
    assert ask(ada, **given).status_code == 400
    assert ApiKey.objects.count() == 1


def test_only_who_sees_all_workspaces_makes_keys_that_do(ada):
    assert ask(ada, allWorkspaces=True).status_code == 403
    boss = Caller("boss", is_staff=True)
    made = ask(boss, allWorkspaces=True, scopes=["*"]).json()["data"]
    assert made["allWorkspaces"]
    seen = Client(headers={"Authorization": f"Bearer {made['key']}"}).get("/api/keys").json()
    assert len(seen["data"]) == 3


@pytest.mark.parametrize("scopes", [["read", "trigger", "cancel", "complete", "replay"]])
def test_keys_are_the_admins_to_see_and_to_make(scopes):
    eve = Caller("eve", *scopes)
    assert eve.get("keys").status_code == 403
    assert ask(eve).status_code == 403
    assert delete(eve, f"keys/{eve.row.pk}").status_code == 403


def test_keys_of_other_workspaces_are_not_there(ada):
    bo = Caller("bo")
    assert [each["id"] for each in bo.get("keys").json()["data"]] == [bo.row.pk]
    for key in (ada.row.pk, 10**12, 0):
        assert delete(bo, f"keys/{key}").status_code == 404
    assert delete(bo, f"keys/{10**30}").status_code == 404
    assert works(ada.key)


def test_what_is_done_to_keys_is_recorded(ada):
    made = ask(ada, reason="for the robot").json()["data"]
    delete(ada, f"keys/{made['id']}")
    entries = list(AuditEntry.objects.order_by("number"))
    assert [(entry.action, entry.subject, entry.reason) for entry in entries] == [
        ("key.issue", f"key_{made['id']}", "for the robot"),
        ("key.revoke", f"key_{made['id']}", ""),
    ]
    assert {entry.user_id for entry in entries} == {ada.user.pk}
    assert made["key"] not in json.dumps([entry.after for entry in entries])
    assert audit.broken_links() == []


# ---- services -----------------------------------------------------------------------------------


def test_a_key_is_found_by_its_id_or_its_beginning(ada):
    assert keys.find(str(ada.row.pk)).pk == ada.row.pk
    assert keys.find(ada.row.prefix).pk == ada.row.pk
    for nothing in ("fm_none", "0", "9" * 30, "", "nul\0"):
        with pytest.raises(NotFound):
            keys.find(nothing)
    with pytest.raises(NotFound):
        keys.revoke(ada.row.pk, among=keys.list_keys(workspace="workspace_x"), actor=Actor("x"))


def test_rotation_reaches_the_sealed_keys(settings):
    settings.ENCRYPTION_KEYS = (OLD,)
    eve = Caller("eve")
    sealed = eve.row.as_sealed.sealed
    settings.ENCRYPTION_KEYS = (NEW, OLD)
    assert connections.rotate()["rotated"] == 1
    settings.ENCRYPTION_KEYS = (NEW,)
    row = ApiKey.objects.get(pk=eve.row.pk)
    assert (row.reveal(), row.sealed_with, row.as_sealed.sealed) == (eve.key, "new", sealed)
    assert eve.token("read:runs").get("v1/runs").status_code == 200


def test_a_key_that_does_not_open_is_named_without_its_hash(settings):
    settings.ENCRYPTION_KEYS = (OLD,)
    eve = Caller("eve")
    settings.ENCRYPTION_KEYS = (NEW,)
    failed = connections.rotate()["failed"]
    assert list(failed) == [f"key_{eve.row.pk}"]
    assert eve.row.key_hash not in str(failed)


# ---- commands -----------------------------------------------------------------------------------


def command(*args):
    out = io.StringIO()
    call_command(*args, stdout=out)
    return out.getvalue()


def test_the_commands_issue_list_and_revoke():
    user = person("ada")
    key = command("create_api_key", "ada", "--name", "ci", "--scopes", "read, trigger").strip()
    row = ApiKey.objects.get()
    assert (row.user, row.scopes, row.workspace_id) == (
        user, ["read", "trigger"], workspaces.personal(user.pk).id,
    )  # fmt: skip
    assert works(key)
    listed = command("list_api_keys") + command("list_api_keys", "--json", "--user", "ada")
    assert row.prefix in listed
    assert key not in listed
    assert json.loads(command("list_api_keys", "--json", "--workspace", "workspace_x")) == []
    assert "is revoked" in command("revoke_api_key", row.prefix, "--reason", "Lost.")
    assert not works(key)
    assert "revoked" in command("list_api_keys")
    shown: Any = json.loads(command("revoke_api_key", str(row.pk), "--json"))
    assert shown["id"] == row.pk
    entries = AuditEntry.objects.order_by("number")
    assert [(e.action, e.reason) for e in entries] == [("key.issue", ""), ("key.revoke", "Lost.")]


def test_the_commands_refuse_by_name():
    person("ada")
    other = workspaces.create("other", owner=person("bo").pk).id
    for args in (
        ("nobody", "--name", "x"),
        ("ada", "--name", "x", "--scopes", "fly"),
        ("ada", "--name", "x", "--workspace", other),
        ("ada", "--name", "x", "--all-workspaces"),
    ):
        with pytest.raises(CommandError):
            command("create_api_key", *args)
    with pytest.raises(CommandError):
        command("revoke_api_key", "fm_nothing")
    assert not ApiKey.objects.exists()


# ---- admin --------------------------------------------------------------------------------------


def test_the_admin_revokes_with_a_reason_and_a_record(admin_client, ada):
    listed = admin_client.get("/admin/flowmaestro/apikey/")
    assert ada.row.prefix in listed.text
    act = f"/admin/flowmaestro/apikey/act/revoke/?id={ada.row.pk}"
    assert (
        act.split("?")[0]
        in admin_client.get(f"/admin/flowmaestro/apikey/{ada.row.pk}/change/").text
    )
    assert admin_client.post(act, {"reason": ""}).status_code == 200
    assert works(ada.key)
    admin_client.post(act, {"reason": "Leaked."})
    assert not works(ada.key)
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor, entry.reason) == ("key.revoke", "admin", "Leaked.")
