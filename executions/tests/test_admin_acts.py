"""What operators do to runs and tokens: by services, with a reason, and each refusal is shown."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from executions import runs, workflow_runs
from executions.models import AuditEntry, Run, Step, WaitToken
from executions.tests.admin_pages import (
    LIST,
    act_url,
    do,
    member,
    page_of,
    plain,
    text_of,
    waits,
)
from executions.tests.bodies import until_parked
from executions.tests.conftest import until_status
from executions.tests.people import SUM, person


@pytest.fixture
def boss(transactional_db):
    """A browser in which a superuser is logged in."""
    client = Client()
    client.force_login(person("boss", is_staff=True, is_superuser=True))
    return client


def entry():
    """The newest entry of the audit log, as far as people write it."""
    newest = AuditEntry.objects.first()
    return newest.actor, newest.action, newest.subject, newest.reason


def finished(executor, payload=None):
    """A run of three steps that completed."""
    run_id = runs.trigger(plain, payload).id
    until_status(run_id, "COMPLETED")
    return run_id


def test_a_waiting_run_is_cancelled_for_a_reason(boss, executor):
    run_id = runs.trigger(waits, 1).id
    until_parked(executor, run_id)
    text = text_of(do(boss, "cancel", run_id, reason="  Wrong\n customer. "))
    assert f"The cancellation is under way: {run_id}." in text
    assert until_status(run_id, "CANCELED").cancel_reason == "Wrong customer."
    assert entry() == ("boss", "run.cancel", run_id, "Wrong customer.")


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("cancel", "QUEUED", "CANCELED"),
        ("terminate", "QUEUED", "CANCELED"),
        ("pause", "QUEUED", "PAUSED"),
        ("resume", "PAUSED", "QUEUED"),
        ("release", "NEEDS_ATTENTION", "QUEUED"),
    ],
)
def test_each_act_moves_the_run_and_is_recorded(boss, name, before, after):
    run_id = runs.trigger(plain, 1).id
    Run.objects.filter(pk=run_id).update(status=before)
    assert act_url(name, run_id).replace("&", "&amp;") in text_of(boss.get(page_of(run_id)))
    answer = do(boss, name, run_id)
    assert answer.redirect_chain == [(page_of(run_id), 302)]
    assert runs.retrieve(run_id).status == after
    assert entry() == ("boss", f"run.{name}", run_id, "Because.")


@pytest.mark.parametrize("name", ["cancel", "terminate", "pause", "resume", "release"])
def test_a_refusal_is_shown_and_nothing_changes(boss, name):
    run_id = runs.trigger(plain, 1).id
    runs.terminate(run_id)
    answer = boss.post(act_url(name, run_id), {"reason": "Kept."})
    assert answer.status_code == 409
    assert f"{run_id}: Run {run_id} ended CANCELED" in answer.content.decode()
    assert "Kept.</textarea>" in answer.content.decode()
    assert not AuditEntry.objects.exists()
    assert act_url(name, run_id) not in text_of(boss.get(page_of(run_id)))


@pytest.mark.parametrize("reason", ["", "   ", "x" * 2001])
def test_nothing_is_done_without_a_reason(boss, reason):
    run_id = runs.trigger(plain, 1).id
    answer = boss.post(act_url("cancel", run_id), {"reason": reason})
    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode() or "required" in answer.content.decode()
    assert runs.retrieve(run_id).status == "QUEUED"


def test_looking_at_the_question_does_nothing_and_the_answer_needs_a_csrf_token(transactional_db):
    client = Client(enforce_csrf_checks=True)
    client.force_login(person("boss", is_staff=True, is_superuser=True))
    run_id = runs.trigger(plain, 1).id
    url = act_url("cancel", run_id)
    asked = client.get(f"{url}&reason=Because.")
    assert 'name="csrfmiddlewaretoken"' in text_of(asked)
    assert client.put(url).status_code == 403
    assert client.post(url, {"reason": "Because."}).status_code == 403
    assert runs.retrieve(run_id).status == "QUEUED"
    token = client.cookies["csrftoken"].value
    client.post(url, {"reason": "Because.", "csrfmiddlewaretoken": token})
    assert runs.retrieve(run_id).status == "CANCELED"


@pytest.mark.parametrize(
    "url",
    [
        act_url("explode", "run_x"),
        act_url("cancel"),
        act_url("cancel", "run_00000000000000000000000000"),
        act_url("cancel", "\0"),
        act_url("replay", "' OR 1=1 --"),
    ],
)
def test_what_does_not_exist_is_not_found(boss, url):
    assert boss.get(url).status_code == 404
    assert boss.post(url, {"reason": "Because."}).status_code == 404


def test_several_runs_are_cancelled_for_one_reason_and_each_refusal_is_shown(boss):
    waiting = [runs.trigger(plain, number).id for number in range(2)]
    final = runs.trigger(plain, 3).id
    runs.terminate(final)
    picked = {"action": "cancel", "_selected_action": [*waiting, final]}
    asked = boss.post(LIST, picked, follow=True)
    assert all(run_id in text_of(asked) for run_id in (*waiting, final))
    assert {runs.retrieve(run_id).status for run_id in waiting} == {"QUEUED"}
    text = text_of(boss.post(asked.redirect_chain[0][0], {"reason": "Over."}, follow=True))
    assert "The cancellation is under way: 2 of 3." in text
    assert f"{final}: Run {final} ended CANCELED" in text
    assert {runs.retrieve(run_id).status for run_id in waiting} == {"CANCELED"}
    assert AuditEntry.objects.filter(action="run.cancel", reason="Over.").count() == 2


def test_several_runs_are_replayed_at_once_but_not_forked(boss):
    ids = [runs.trigger(plain, number).id for number in range(2)]
    assert boss.get(act_url("fork", *ids)).status_code == 404
    assert boss.get(act_url("replay", *ids)).status_code == 404
    text_of(do(boss, "replay-all", *ids))
    made = Run.objects.filter(forked_from__in=ids).select_related("data")
    assert sorted(run.data.payload for run in made) == [0, 1]


# ---- replay and fork ----------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["", '{ "n": 1 }'])
def test_a_replay_takes_the_payload_as_it_was(boss, given):
    run_id = runs.trigger(plain, {"n": 1}).id
    assert "&quot;n&quot;: 1" in text_of(boss.get(act_url("replay", run_id)))
    text_of(do(boss, "replay", run_id, payload=given))
    new = Run.objects.get(forked_from=run_id)
    assert new.data.payload == {"n": 1}
    assert entry() == ("boss", "run.replay", run_id, "Because.")


@pytest.mark.parametrize("value", [None, True, 2, "text", [1], {"n": 2}])
def test_a_replay_takes_an_edited_payload(boss, value):
    run_id = runs.trigger(plain, {"n": 1}).id
    answer = do(boss, "replay", run_id, payload=json.dumps(value))
    new = Run.objects.get(forked_from=run_id)
    assert answer.redirect_chain == [(page_of(new.pk), 302)]
    assert new.data.payload == value


@pytest.mark.parametrize("text", ["{", "NaN", "[" * 100_000, '"\\u0000"', '"\\ud800"'])
def test_what_is_no_json_is_refused_and_not_lost(boss, text):
    run_id = runs.trigger(plain, {"n": 1}).id
    answer = boss.post(act_url("replay", run_id), {"payload": text, "reason": "Kept."})
    assert answer.status_code in (200, 400)
    assert "Kept.</textarea>" in answer.content.decode()
    assert not Run.objects.filter(forked_from=run_id).exists()


def test_a_fork_takes_an_edited_output_and_redoes_what_came_after(boss, executor):
    run_id = finished(executor)
    asked = text_of(boss.get(act_url("fork", run_id, step="first")))
    assert "&quot;n&quot;: 1" in asked
    answer = do(boss, "fork", run_id, step="first", how="edit", output='{"n": 41}')
    fork = Run.objects.get(forked_from=run_id)
    assert answer.redirect_chain == [(page_of(fork.pk), 302)]
    assert "Because." in text_of(answer)
    assert until_status(fork.pk, "COMPLETED").output == {"sum": 83}
    assert runs.retrieve(run_id).output == {"sum": 3}
    assert entry() == ("boss", "run.replay", run_id, "Because.")
    assert AuditEntry.objects.first().after["edited"] == ["first"]


def test_a_fork_redoes_a_step_with_those_before_it_kept(boss, executor):
    run_id = finished(executor)
    do(boss, "fork", run_id, step="second", how="redo")
    fork = Run.objects.get(forked_from=run_id)
    until_status(fork.pk, "COMPLETED")
    first = Step.objects.get(run_id=fork.pk, key="first")
    assert first.finished_at == Step.objects.get(run_id=run_id, key="first").finished_at
    text = text_of(boss.get(page_of(fork.pk)))
    assert "copied from the run this is a fork of" in text


def test_a_fork_that_makes_no_sense_is_refused_and_what_was_entered_stays(boss, executor):
    run_id = finished(executor)
    url = act_url("fork", run_id)
    empty = boss.post(url, {"step": "first", "how": "edit", "output": "", "reason": "Kept."})
    assert "Say what the step" in text_of(empty)
    unknown = boss.post(url, {"step": "nowhere", "how": "redo", "reason": "Kept."})
    assert "nowhere is not one of the available choices" in text_of(unknown)
    gone = act_url("fork", run_id, step="nowhere")
    refused = boss.post(gone, {"step": "nowhere", "how": "redo", "reason": "Kept."})
    assert refused.status_code == 404
    assert "has no step" in refused.content.decode()
    assert "Kept.</textarea>" in refused.content.decode()
    assert not Run.objects.filter(forked_from=run_id).exists()


def test_a_long_payload_is_not_put_into_the_form_and_stays_as_it_was(boss):
    payload = {"text": "x" * 300_000}
    run_id = runs.trigger(plain, payload).id
    assert "x" * 1000 not in text_of(boss.get(act_url("replay", run_id)))
    do(boss, "replay", run_id, payload="")
    assert Run.objects.get(forked_from=run_id).data.payload == payload


def test_a_workflow_is_replayed_with_its_definition(boss, executor):
    run_id = workflow_runs.start(SUM, inputs={"a": 1, "b": 2}).id
    until_status(run_id, "COMPLETED")
    do(boss, "replay", run_id)
    fork = Run.objects.get(forked_from=run_id)
    assert until_status(fork.pk, "COMPLETED").output == runs.retrieve(run_id).output


# ---- tokens -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "output"), [('{"ok": true}', {"ok": True}), ("", None)])
def test_a_token_is_completed_and_the_run_goes_on(boss, executor, given, output):
    run_id = runs.trigger(waits, 1).id
    until_parked(executor, run_id)
    token = WaitToken.objects.get(run_id=run_id).pk
    assert act_url("complete", token, model="waittoken") in text_of(boss.get(page_of(run_id)))
    answer = do(boss, "complete", token, model="waittoken", output=given)
    assert answer.redirect_chain == [(page_of(token, "waittoken"), 302)]
    assert until_status(run_id, "COMPLETED").output == output
    assert entry() == ("boss", "token.complete", token, "Because.")
    again = boss.post(act_url("complete", token, model="waittoken"), {"reason": "Again."})
    assert again.status_code == 409
    assert "a token has one outcome" in again.content.decode()


def test_the_operator_is_the_actor(transactional_db):
    run_id = runs.trigger(plain, 1).id
    do(member("operator"), "pause", run_id)
    newest = AuditEntry.objects.get()
    assert newest.actor == "ms-operator"
    assert newest.user.get_username() == "ms-operator"
