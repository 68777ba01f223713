"""Connections: what goes in sealed, who may use it, how keys change, and that nothing comes out."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client

from executions import audit, connections, workspaces
from executions.audit import Actor
from executions.connections import envelope
from executions.connections.envelope import KeyMissing, NotGenuine
from executions.errors import Conflict, Invalid, NotFound
from executions.masking import hiding
from executions.models import AuditEntry, Connection
from executions.tests.admin_pages import list_of, page_of, text_of
from executions.tests.people import person

pytestmark = pytest.mark.django_db(transaction=True)

OLD, NEW, OTHER = ((name, bytes([n]) * 32) for n, name in enumerate(("old", "new", "other"), 1))
SECRET = "canary-4711"


@pytest.fixture(autouse=True)
def keys(settings):
    settings.ENCRYPTION_KEYS = (OLD,)


def add(name="api", provider="http", secret=SECRET, **more):
    return connections.create(name, provider, secrets={"token": secret}, **more)


def home(name):
    """The personal workspace of somebody."""
    return workspaces.personal(person(name).pk).id


def secrets_of(reference, workspace=None, **more):
    with hiding():
        return dict(connections.resolve(reference, workspace=workspace, **more).secrets)


def every_row():
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(c)::text FROM executions_connection c")
        rows = [row[0] for row in cursor.fetchall()]
        cursor.execute("SELECT row_to_json(a)::text FROM executions_auditentry a")
        return "".join(rows + [row[0] for row in cursor.fetchall()])


def test_secrets_come_back_to_a_node_and_to_nobody_else():
    row = add(fields={"baseUrl": "https://api.example.com"}, actor=Actor("tests"))
    assert secrets_of(row.id) == {"token": SECRET}
    assert secrets_of("api") == {"token": SECRET}
    shown = connections.public(connections.retrieve("api", workspace=None))
    assert shown["secrets"] == ["token"]
    assert SECRET not in json.dumps(shown)
    assert SECRET not in every_row()
    assert SECRET.encode().hex() not in every_row()
    with hiding():
        assert SECRET not in repr(connections.resolve("api", workspace=None))


def test_secrets_are_given_only_where_they_are_hidden():
    add()
    with pytest.raises(Conflict, match="body of a node"):
        connections.resolve("api", workspace=None)


def test_a_use_is_noted():
    row = add()
    secrets_of("api")
    first = Connection.objects.get(pk=row.pk).last_used_at
    assert first is not None
    secrets_of("api")
    assert Connection.objects.get(pk=row.pk).last_used_at == first


def test_own_and_shared_connections_are_there_and_foreign_ones_are_not():
    ada, bob = home("ada"), home("bob")
    add("shared")
    own = add("own", workspace=ada)
    assert [row.name for row in connections.list_connections(workspace=ada)] == ["own", "shared"]
    assert [row.name for row in connections.list_connections(workspace=bob)] == ["shared"]
    assert secrets_of("own", workspace=ada)
    for other in (bob, None):
        texts = set()
        for reference in (own.id, "own", "never"):
            with pytest.raises(NotFound) as caught:
                secrets_of(reference, workspace=other)
            texts.add(str(caught.value).replace(reference, "X"))
        assert len(texts) == 1


def test_an_own_connection_hides_a_shared_one_of_its_name():
    ada = home("ada")
    add("api", secret="shared-secret")
    add("api", secret="own-secret", workspace=ada)
    assert secrets_of("api", workspace=ada) == {"token": "own-secret"}
    assert secrets_of("api", workspace=None) == {"token": "shared-secret"}


def test_another_provider_is_as_good_as_absent():
    add()
    with pytest.raises(NotFound):
        secrets_of("api", provider="postgresql")


def test_the_only_connection_of_a_provider_is_found_and_several_are_a_choice():
    ada = home("ada")
    with hiding():
        assert connections.resolve_only("http", workspace=ada) is None
        add("one")
        assert connections.resolve_only("http", workspace=ada).name == "one"
        add("mine", workspace=ada)
        assert connections.resolve_only("http", workspace=ada).name == "mine"
        add("mine too", workspace=ada)
        with pytest.raises(Conflict, match=r"'mine', 'mine too'.*name one"):
            connections.resolve_only("http", workspace=ada)


def test_a_name_is_used_once_per_owner_also_where_nobody_owns_it():
    ada = home("ada")
    add("api")
    with pytest.raises(Conflict, match="already"):
        add("api")
    add("api", workspace=ada)
    with pytest.raises(Conflict, match="already"):
        add("api", workspace=ada)
    assert Connection.objects.count() == 2


def test_secrets_are_replaced_one_by_one_or_all_together():
    row = connections.create("api", "http", secrets={"user": "ada-1", "password": "first"})
    connections.update(row.id, secrets={"password": "second"})
    assert secrets_of("api") == {"user": "ada-1", "password": "second"}
    connections.update(row.id, secrets={"token": "third"}, replace_secrets=True)
    assert secrets_of("api") == {"token": "third"}
    connections.update(row.id, secrets={"token": None})
    assert secrets_of("api") == {}
    connections.update(row.id, name="other", fields={"host": "h"})
    assert connections.retrieve("other", workspace=None).fields == {"host": "h"}


def test_a_revoked_connection_has_no_secrets_and_says_so():
    row = add()
    connections.revoke(row.id)
    stored = Connection.objects.get(pk=row.pk)
    assert (bytes(stored.sealed), bytes(stored.wrapped_key), stored.key_id) == (b"", b"", "")
    with pytest.raises(Conflict, match="revoked"):
        secrets_of("api")
    with pytest.raises(Conflict, match="revoked"):
        connections.update(row.id, name="x")
    with pytest.raises(IntegrityError), transaction.atomic():
        Connection.objects.filter(pk=row.pk).update(sealed=b"x")


def test_a_user_does_not_change_what_is_shared_or_foreign():
    ada, bob = home("ada"), home("bob")
    add("shared")
    own = add("own", workspace=ada)
    with pytest.raises(Conflict, match="shared"):
        connections.update("shared", workspace=ada, name="mine")
    with pytest.raises(NotFound):
        connections.delete(own.id, workspace=bob)
    connections.delete(own.id, workspace=ada)
    assert not Connection.objects.filter(pk=own.pk).exists()


def test_the_connections_of_a_user_who_is_gone_are_nobody_elses():
    ada = person("ada")
    add("own", owner=ada.pk)
    ada.delete()
    assert Connection.objects.get().workspace is not None
    assert connections.list_connections(workspace=home("bob")) == []


@pytest.mark.parametrize(
    "bad",
    [
        {"name": ""},
        {"name": "conn_01k9s1w5zyfaz8n2wv2sxkk8f1"},
        {"name": " x"},
        {"name": "a\nb"},
        {"provider": ""},
        {"secrets": {"password": "abc"}},
        {"secrets": {"password": "a\0bcd"}},
        {"secrets": {"password": 12345}},
        {"fields": {"a": {"b": 1}}},
        {"fields": {"a": "x" * 5000}},
        {"fields": {"token": "x"}, "secrets": {"token": "abcd"}},
    ],
)
def test_what_cannot_be_kept_is_refused_and_nothing_is_stored(bad):
    given = {"name": "api", "provider": "http", **bad}
    with pytest.raises(Invalid) as caught:
        connections.create(given.pop("name"), given.pop("provider"), **given)
    assert "abc" not in str(caught.value)
    assert not Connection.objects.exists()


def test_every_change_is_in_the_audit_log_without_secrets():
    who: Any = {"actor": Actor("ada"), "reason": "Because."}
    row = add(**who)
    connections.update(row.id, secrets={"token": "another-secret"}, **who)
    connections.rotate(**who)
    connections.revoke(row.id, **who)
    connections.delete(row.id, **who)
    entries = list(AuditEntry.objects.order_by("number"))
    assert [entry.action for entry in entries] == [
        "connection.create", "connection.update", "connection.rotate", "connection.revoke",
        "connection.delete",
    ]  # fmt: skip
    assert entries[1].after["secretsChanged"] == ["token"]
    assert {entry.reason for entry in entries} == {"Because."}
    assert SECRET not in every_row()
    assert "another-secret" not in every_row()
    assert audit.broken_links() == []


# ---- keys ---------------------------------------------------------------------------------------


def test_rotation_puts_every_row_under_the_current_key(settings, monkeypatch):
    monkeypatch.setattr(connections, "_BATCH", 2)
    rows = [add(f"c{n}", secret=f"secret-{n}") for n in range(5)]
    sealed = {row.pk: bytes(row.sealed) for row in rows}
    settings.ENCRYPTION_KEYS = (NEW, OLD)
    connections.create("fresh", "http", secrets={"token": "new-secret"})
    assert connections.rotate() == {"key": "new", "rotated": 5, "failed": {}}
    assert connections.rotate()["rotated"] == 0
    settings.ENCRYPTION_KEYS = (NEW,)
    for number, row in enumerate(rows):
        assert secrets_of(row.id) == {"token": f"secret-{number}"}
        # The secrets themselves are not touched.
        assert bytes(Connection.objects.get(pk=row.pk).sealed) == sealed[row.pk]


def test_a_row_whose_key_is_gone_is_named_and_the_others_go_on(settings):
    lost = add("lost")
    settings.ENCRYPTION_KEYS = (OTHER,)
    add("found")
    settings.ENCRYPTION_KEYS = (NEW, OTHER)
    outcome = connections.rotate()
    assert outcome["rotated"] == 1
    assert list(outcome["failed"]) == [lost.id]
    assert "'old'" in outcome["failed"][lost.id]
    with pytest.raises(KeyMissing, match="FLOWMAESTRO_ENCRYPTION_KEYS"):
        secrets_of("lost")


def test_a_sealed_value_opens_in_its_own_row_only():
    first, second = add("first"), add("second", secret="other-secret")
    for field in ("sealed", "wrapped_key"):
        Connection.objects.filter(pk=second.pk).update(**{field: getattr(first, field)})
        with pytest.raises(NotGenuine):
            secrets_of("second")
    Connection.objects.filter(pk=first.pk).update(provider="postgresql")
    with pytest.raises(NotGenuine):
        secrets_of("first")


def test_a_changed_byte_is_noticed(settings):
    row = add()
    broken = bytearray(row.sealed)
    broken[-1] ^= 1
    Connection.objects.filter(pk=row.pk).update(sealed=bytes(broken))
    with pytest.raises(NotGenuine):
        secrets_of("api")
    settings.ENCRYPTION_KEYS = (("old", b"\7" * 32),)
    with pytest.raises(NotGenuine):
        secrets_of("api")


def test_two_rows_with_one_secret_look_different():
    first, second = (envelope.seal({"token": SECRET}, row="r", provider="http") for _ in range(2))
    assert first.sealed != second.sealed
    assert first.wrapped_key != second.wrapped_key


# ---- commands and admin -------------------------------------------------------------------------


def command(*args, stdin="", monkeypatch=None):
    out, err = io.StringIO(), io.StringIO()
    if monkeypatch is not None:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
    call_command(*args, stdout=out, stderr=err)
    return out.getvalue() + err.getvalue()


def test_the_commands_store_list_and_rotate(settings, monkeypatch, tmp_path):
    file = tmp_path / "token"
    file.write_text("from-a-file\n")
    said = command(
        "add_connection", "pg", "--provider", "postgresql", "--field", "host=db", "--field",
        "port=5432", "--secret", "password=-", "--secret", f"token=@{file}",
        stdin="typed-in\n", monkeypatch=monkeypatch,
    )  # fmt: skip
    assert "conn_" in said
    assert secrets_of("pg") == {"password": "typed-in", "token": "from-a-file"}
    listed = command("list_connections") + command("list_connections", "--json")
    assert "host=db, port=5432, password=••••, token=••••" in listed
    assert "typed-in" not in listed
    settings.ENCRYPTION_KEYS = (NEW, OLD)
    assert json.loads(command("rotate_connection_keys", "--json"))["rotated"] == 1
    command("add_connection", "pg", "--replace", "--field", "host=other")
    assert secrets_of("pg") == {}
    assert AuditEntry.objects.filter(action="connection.rotate").exists()


def test_a_secret_on_the_command_line_is_refused_and_not_repeated():
    with pytest.raises(CommandError) as caught:
        command("add_connection", "api", "--provider", "http", "--secret", "token=hunter2")
    assert caught.value.returncode == 2
    assert "hunter2" not in str(caught.value)
    assert not Connection.objects.exists()


def test_rotation_that_leaves_a_row_behind_exits_with_1(settings):
    add()
    settings.ENCRYPTION_KEYS = (NEW,)
    with pytest.raises(SystemExit) as caught:
        command("rotate_connection_keys")
    assert caught.value.code == 1


def test_the_admin_shows_fields_and_names_of_secrets_only():
    row = add(fields={"baseUrl": "https://api.example.com"})
    client = Client()
    client.force_login(person("boss", is_staff=True, is_superuser=True))
    texts = text_of(client.get(list_of("connection"))) + text_of(
        client.get(page_of(row.pk, "connection"))
    )
    assert "https://api.example.com" in texts
    assert "token: ••••" in texts
    assert SECRET not in texts
    assert bytes(row.sealed).hex() not in texts
    assert client.post(list_of("connection") + "add/", {}).status_code == 403
