"""Who may do what: viewers look, operators operate, admins govern; nobody else gets in."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.test import Client

from executions import queues, runs, tokens
from executions.audit import Actor
from executions.models import AuditEntry, Queue, Run, WaitToken
from executions.roles import ROLES, ensure_groups
from executions.tests.admin_pages import act_url, list_of, member, page_of, plain, text_of
from executions.tests.people import person

EVERYBODY = {"viewer", "operator", "admin"}
OPERATORS = {"operator", "admin"}
PEOPLE = [None, "viewer", "operator", "admin"]

MAY_LOOK = {
    "run": EVERYBODY, "waittoken": EVERYBODY, "worker": EVERYBODY, "queue": EVERYBODY,
    "workflow": EVERYBODY, "workflowversion": EVERYBODY, "auditentry": {"admin"},
    "connection": {"admin"}, "apidescription": {"admin"}, "workspace": {"admin"},
    "membership": {"admin"},
}  # fmt: skip
# Each act, the status in which it is legal, and who may do it.
MAY_DO = [
    ("run", "cancel", "QUEUED", OPERATORS),
    ("run", "pause", "QUEUED", OPERATORS),
    ("run", "resume", "PAUSED", OPERATORS),
    ("run", "release", "NEEDS_ATTENTION", OPERATORS),
    ("run", "replay", "QUEUED", OPERATORS),
    ("run", "replay-all", "QUEUED", OPERATORS),
    ("run", "fork", "QUEUED", OPERATORS),
    ("run", "terminate", "QUEUED", {"admin"}),
    ("waittoken", "complete", None, OPERATORS),
    ("queue", "pause", None, {"admin"}),
    ("queue", "resume", None, {"admin"}),
    ("queue", "limit", None, {"admin"}),
    ("queue", "reset", None, {"admin"}),
]


def subject_of(model, name, status):
    """A row for which the act is legal."""
    if model == "queue":
        if name == "resume":
            queues.pause("slow")
        return queues.set_limit("slow", 3).name
    if model == "waittoken":
        return tokens.create().id
    run_id = runs.trigger(plain, 1).id
    Run.objects.filter(pk=run_id).update(status=status)
    return run_id


@pytest.mark.parametrize("role", PEOPLE)
@pytest.mark.parametrize("model", MAY_LOOK)
def test_who_may_look(transactional_db, role, model):
    client = member(role)
    seen = {None: 403, True: 200, False: 403}[None if role is None else role in MAY_LOOK[model]]
    assert client.get(list_of(model)).status_code == seen
    for view in ("add/", "x/delete/"):
        assert client.post(list_of(model) + view, {"post": "yes"}).status_code in (302, 403)


@pytest.mark.parametrize("role", PEOPLE)
@pytest.mark.parametrize(("model", "name", "status", "allowed"), MAY_DO)
def test_who_may_do_what(transactional_db, role, model, name, status, allowed):
    pk = subject_of(model, name, status)
    client = member(role)
    url = act_url(name, pk, model=model)
    data = {"reason": "Because.", "limit": "2", "step": "first", "how": "redo", "output": "1"}
    expected = 200 if role in allowed else 403
    assert client.get(url).status_code == expected
    if name == "fork":
        # There is no step to fork from; that it asks for one shows who may.
        assert client.post(url, data).status_code == expected
        return
    answer = client.post(url, data)
    assert answer.status_code == (302 if role in allowed else 403)
    made = AuditEntry.objects.filter(reason="Because.").values_list("actor", flat=True)
    assert list(made) == ([f"ms-{role}"] if role in allowed else [])


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_a_page_offers_what_its_reader_may_do_and_nothing_else(transactional_db, role):
    run_id, queue = runs.trigger(plain, 1).id, queues.set_limit("slow", 3).name
    token = tokens.create().id
    client = member(role)
    for model, pk in (("run", run_id), ("queue", queue), ("waittoken", token)):
        text = text_of(client.get(page_of(pk, model)))
        for of, name, status, allowed in MAY_DO:
            if of == model and status in ("QUEUED", None) and name not in ("replay-all", "resume"):
                link = f'href="{act_url(name, pk, model=model)}"'
                assert (link in text) == (role in allowed), name
        shown = text_of(client.get(list_of(model)))
        for of, name, _, allowed in MAY_DO:
            if of == model and role not in allowed:
                assert f'<option value="{name}">' not in shown


@pytest.mark.parametrize("role", PEOPLE)
def test_an_act_posted_to_the_list_is_refused_to_who_may_not(transactional_db, role):
    run_id = runs.trigger(plain, 1).id
    client = member(role)
    client.post(list_of("run"), {"action": "terminate", "_selected_action": [run_id]}, follow=True)
    assert runs.retrieve(run_id).status == "QUEUED"


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_only_admins_see_who_did_what(transactional_db, role):
    run_id = runs.trigger(plain, 1).id
    runs.pause(run_id, reason="A secret reason.", actor=Actor("Bo"))
    text = text_of(member(role).get(page_of(run_id)))
    assert ("A secret reason." in text) == (role == "admin")


def test_who_is_not_staff_or_not_logged_in_is_sent_to_the_login(transactional_db):
    run_id = runs.trigger(plain, 1).id
    ensure_groups()
    outsider = person("outsider")
    outsider.groups.add(Group.objects.get(name="admin"))
    logged_in = Client()
    logged_in.force_login(outsider)
    for client in (Client(), logged_in):
        for url in (list_of("run"), page_of(run_id), act_url("terminate", run_id)):
            answer = client.post(url, {"reason": "Because."})
            assert answer.status_code == 302
            assert answer.headers["location"].startswith("/admin/login/")
    assert runs.retrieve(run_id).status == "QUEUED"


def held_by(name):
    """The permissions of a group, as code names; not those that higher apps list for theirs."""
    group = Group.objects.get(name=name)
    ours = group.permissions.filter(content_type__app_label__in=("executions", "flowmaestro"))
    return set(ours.values_list("codename", flat=True))


def test_every_permission_of_a_role_exists_and_roles_grow(db):
    ensure_groups()
    assert {name: held_by(name) for name in ROLES} == {n: set(p) for n, p in ROLES.items()}
    assert held_by("viewer") < held_by("operator") < held_by("admin")
    never = ("add_", "change_", "delete_")
    assert not [name for name in held_by("admin") if name.startswith(never)]


def test_migrating_makes_the_groups_again_and_keeps_what_others_gave_them(transactional_db):
    ensure_groups()
    group = Group.objects.get(name="viewer")
    foreign = Permission.objects.get(codename="view_apikey")
    terminate = Permission.objects.get(codename="terminate_run")
    group.permissions.set([foreign, terminate])
    Group.objects.filter(name="operator").delete()
    call_command("migrate", verbosity=0)
    assert held_by("viewer") == set(ROLES["viewer"]) | {"view_apikey"}
    assert held_by("operator") == set(ROLES["operator"])


def test_custom_permissions_are_declared_where_they_belong():
    declared = {
        model: {codename for codename, _ in model._meta.permissions}
        for model in (Run, WaitToken, Queue)
    }
    assert declared[WaitToken] == {"complete_waittoken"}
    assert declared[Queue] == {"manage_queue"}
    assert len(declared[Run]) == 5
