"""What is kept of requests to webhooks: enough to find out what happened, and no secret."""

from __future__ import annotations

import json
import logging

import pytest
from django.db import connection

from executions.models import AuditEntry, Run
from triggers import triggers
from triggers.models import Delivery
from triggers.tests import senders
from triggers.tests.senders import inputs_of, send, someone, webhook

pytestmark = pytest.mark.django_db


def last() -> Delivery:
    return Delivery.objects.order_by("-id")[0]


def every_text() -> str:
    """All that the database holds, as text, and what is in it as bytes."""
    with connection.cursor() as cursor:
        found = []
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT t::text FROM "{table}" t')
            found += [row[0] for row in cursor.fetchall()]
    return "\n".join(found)


CANARY = "canary-4711-of-the-webhook"


@pytest.mark.parametrize("auth", ["api_key", "bearer", "hmac"])
def test_secrets_are_nowhere_but_in_the_first_answer(engine, auth, caplog):
    caplog.set_level(logging.DEBUG)
    ada = someone("ada")
    trigger, secret = webhook(ada.pk, authType=auth, secret=CANARY)
    assert secret == CANARY
    body = json.dumps({"note": f"my secret is {CANARY}"}).encode()
    signature = senders.hexed(CANARY, body)
    headers = {
        "X-API-Key": CANARY, "Authorization": f"Bearer {CANARY}", "X-Signature": signature,
        "Cookie": "sessionid=canary-4711-of-the-session", "X-Note": f"({CANARY})",
        "User-Agent": f"agent {CANARY}", "X-GitHub-Event": "push",
    }  # fmt: skip
    answers = [
        send(trigger, body, headers, query=f"?a={CANARY}&b=canary%2D4711%2Dof%2Dthe%2Dwebhook"),
        send(trigger, b"{", {**headers, "X-Signature": senders.hexed(CANARY, b"{")}),
        send(trigger, body, {**headers, "X-API-Key": CANARY + "x", "X-Signature": "0" * 64,
                             "Authorization": f"Bearer {CANARY}x"}),
    ]  # fmt: skip
    assert [answer.status_code for answer in answers] == [202, 400, 401]
    triggers.update(trigger.id, name="other")
    engine.run_until_idle()
    shown = [answer.content.decode() for answer in answers]
    shown.append(
        json.dumps(triggers.public(triggers.retrieve(trigger.id, workspace=trigger.workspace_id)))
    )
    shown.append(caplog.text)
    text = every_text() + "\n".join(shown)
    for hidden in (CANARY, signature, "canary-4711-of-the-session"):
        assert hidden not in text, hidden
        assert hidden.encode().hex() not in text, hidden
    inputs = inputs_of(answers[0].json()["executionId"])
    assert inputs["headers"]["x-github-event"] == "push"
    assert inputs["headers"]["authorization"] == "••••"
    assert inputs["body"] == {"note": "my secret is ••••"}


def test_a_secret_across_the_cut_of_the_logged_body_is_hidden_too():
    from triggers.webhooks.deliveries import BODY_LIMIT

    trigger, _ = webhook(authType="bearer", secret=CANARY)
    body = b'"' + b"x" * (BODY_LIMIT - 10) + CANARY.encode() + b'"'
    send(trigger, body, {"Authorization": f"Bearer {CANARY}"})
    assert last().status == 202
    assert "canary" not in last().body


def test_the_log_tells_what_came_and_what_was_said():
    trigger, _ = webhook(deliveryIdHeader="X-Id")
    answer = send(
        trigger, {"a": 1}, {"X-Id": "d-1", "User-Agent": "tests"}, query="?x=1", method="PUT"
    )
    row = last()
    assert (row.method, row.path, row.query) == ("PUT", f"/webhooks/{trigger.id}", {"x": "1"})
    assert (row.body, row.body_bytes, row.status, row.error) == ('{"a": 1}', 8, 202, "")
    assert (row.run, row.delivery_id) == (answer.json()["executionId"], "id:d-1")
    assert (row.ip, row.user_agent, row.is_repeated) == ("127.0.0.1", "tests", False)
    assert 0 < row.duration_ms < 10_000


def test_of_strangers_no_body_is_kept():
    trigger, _ = webhook(authType="bearer")
    send(trigger, b"x" * 5000, kind="text/plain")
    assert (last().status, last().body, last().body_bytes) == (401, "", 5000)


def test_what_cannot_be_stored_as_it_is_is_logged_all_the_same():
    trigger, _ = webhook()
    answer = send(trigger, b"a\0b\xff", kind="text/plain", query="?a=%00&b=%ff")
    assert answer.status_code == 400
    assert last().body == "a\ufffdb\ufffd"


def test_requests_change_nothing_that_is_audited():
    trigger, _ = webhook()
    send(trigger)
    assert not AuditEntry.objects.exists()


def test_a_webhook_of_a_workspace_runs_in_it_also_after_its_owner_has_gone(engine):
    ada = someone("ada")
    trigger, _ = webhook(ada.pk)
    ada.delete()
    run = Run.objects.get(pk=send(trigger, {}).json()["executionId"])
    assert (run.owner_id, run.workspace_id) == (None, trigger.workspace_id)
    assert engine.result(run.id)["success"] is True
