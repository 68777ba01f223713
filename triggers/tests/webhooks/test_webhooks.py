"""Webhooks: who may, in which order one is told so, what starts, what is written down."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from datetime import timedelta
from importlib import import_module

import pytest
from django.test import Client

from executions import runs
from triggers import triggers
from triggers.models import Delivery, Receipt, Trigger
from triggers.tests import senders
from triggers.tests.senders import inputs_of, send, someone, started, webhook
from triggers.webhooks import receive
from triggers.webhooks.answers import Request

pytestmark = pytest.mark.django_db

FORM = "application/x-www-form-urlencoded"


def fresh(trigger: Trigger) -> Trigger:
    return triggers.retrieve(trigger.id, workspace=trigger.workspace_id)


def last() -> Delivery:
    return Delivery.objects.order_by("-id")[0]


# ---- what starts --------------------------------------------------------------------------------


def test_a_request_starts_the_workflow_and_learns_the_id_of_its_run(engine):
    ada = someone("ada")
    trigger, _ = webhook(ada.pk)
    answer = send(trigger, {"order": 7}, query="?a=1&b=2&b=3")
    assert answer.status_code == 202
    said = answer.json()
    run = runs.retrieve(said["executionId"])
    assert said == {
        "success": True, "executionId": run.id, "message": "The workflow is started."
    }  # fmt: skip
    assert (run.task, run.owner_id, run.workspace_id, run.source) == (
        "triggered-workflow", ada.pk, trigger.workspace_id, trigger.id,
    )  # fmt: skip
    got = engine.result(run.id)["outputs"]
    assert got["body"] == {"order": 7}
    assert got["query"] == {"a": "1", "b": ["2", "3"]}
    assert (got["method"], got["triggerId"]) == ("POST", trigger.id)
    assert got["timestamp"].startswith(str(engine.now().date()))
    assert got["headers"]["content-type"] == "application/json"
    now = fresh(trigger)
    assert (now.fired, now.fired_at) == (1, engine.now())


def test_a_text_answer_says_ok():
    trigger, _ = webhook(responseFormat="text")
    assert send(trigger).json()["message"] == "OK"


def test_the_run_the_log_and_the_count_are_one_transaction(monkeypatch):
    trigger, _ = webhook(deliveryIdHeader="X-Id")

    def fail(*args, **more):
        raise RuntimeError("the log broke")

    with monkeypatch.context() as patch:
        patch.setattr("triggers.webhooks.deliveries.write", fail)
        with pytest.raises(RuntimeError):
            send(trigger, headers={"X-Id": "1"})
    assert (started(), Delivery.objects.count(), Receipt.objects.count()) == (0, 0, 0)
    assert fresh(trigger).fired == 0
    assert send(trigger, headers={"X-Id": "1"}).status_code == 202
    assert (started(), Delivery.objects.count(), Receipt.objects.count()) == (1, 1, 1)
    assert fresh(trigger).fired == 1


@pytest.mark.parametrize(
    ("kind", "body", "parsed"),
    [
        ("application/json", b'{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}),
        ("application/cloudevents+json; charset=utf-8", b"[true]", [True]),
        ("application/json", b'"text"', "text"),
        (FORM, b"a=1&b=x+y&b=%C3%A9&c=", {"a": "1", "b": ["x y", "é"], "c": ""}),
        ("text/plain", "grüß".encode(), "grüß"),
        ("text/plain; charset=iso-8859-1", "grüß".encode("latin-1"), "grüß"),
        ("application/xml", b"<a/>", "<a/>"),
        ("", b'{"a": 1}', {"a": 1}),
        ("", b"plain", "plain"),
        ("application/json", b"", None),
        (
            "image/png", b"\x89PNG\xff",
            {
                "encoding": "base64", "contentType": "image/png",
                "data": base64.b64encode(b"\x89PNG\xff").decode(),
            },
        ),
        (
            "text/plain", b"\xff\xfe\xfd",
            {
                "encoding": "base64", "contentType": "text/plain",
                "data": base64.b64encode(b"\xff\xfe\xfd").decode(),
            },
        ),
    ],
)  # fmt: skip
def test_bodies_of_all_kinds_reach_the_workflow(kind, body, parsed):
    trigger, _ = webhook()
    answer = send(trigger, body, kind=kind)
    assert inputs_of(answer.json()["executionId"])["body"] == parsed


@pytest.mark.parametrize(
    "body",
    [b"{", b'{"a": NaN}', b"\xff{}", b"[" * 200_000, b'{"a":' * 150 + b"1" + b"}" * 150,
     b'{"a": "\\u0000"}', b'{"a": "\\ud800"}', b"9" * 6000],
)  # fmt: skip
def test_a_body_that_is_no_json_is_refused_and_starts_nothing(body):
    trigger, _ = webhook(deliveryIdHeader="X-Id")
    answer = send(trigger, body, {"X-Id": "1"})
    assert answer.status_code == 400
    assert answer.json()["success"] is False
    assert (started(), Receipt.objects.count()) == (0, 0)
    assert last().status == 400
    # What was refused was not taken in: corrected, it starts.
    assert send(trigger, {}, {"X-Id": "1"}).status_code == 202


# ---- who may ------------------------------------------------------------------------------------


def test_the_first_thing_wrong_is_what_one_is_told():
    trigger, secret = webhook(
        authType="api_key", method="PUT", allowedOrigins=["https://app.example.com"],
        payloadLimit=10,
    )  # fmt: skip
    key = {"X-API-Key": secret}
    bad = {"Origin": "https://evil.example.com"}
    big = b'"' + b"x" * 100 + b'"'
    assert send("trigger_" + "0" * 26, big, bad).status_code == 404
    triggers.disable(trigger.id)
    assert send(trigger, big, bad).status_code == 403
    triggers.enable(trigger.id)
    assert send(trigger, big, bad).status_code == 401
    assert send(trigger, big, {**key, **bad}).status_code == 405
    assert send(trigger, big, {**key, **bad}, method="PUT").status_code == 403
    assert send(trigger, big, key, method="PUT").status_code == 413
    assert send(trigger, {}, key, method="PUT").status_code == 202
    told = Delivery.objects.order_by("id").values_list("status", flat=True)
    assert list(told) == [403, 401, 405, 403, 413, 202]


@pytest.mark.parametrize(
    "trigger_id", ["trigger_0", "x", "run_" + "0" * 26, "%00", "trigger_" + "é" * 26]
)
def test_what_is_no_webhook_is_not_found(trigger_id):
    answer = send(trigger_id)
    assert answer.status_code == 404
    assert not Delivery.objects.exists()


def test_other_triggers_and_deleted_ones_are_as_absent_as_none():
    trigger, _ = webhook()
    event = senders.event_trigger()
    triggers.delete(trigger.id)
    texts = {send(one).content for one in (trigger, event, "trigger_" + "0" * 26)}
    assert len(texts) == 1
    assert started() == 0


METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")


@pytest.mark.parametrize("wanted", [None, "ANY", *METHODS])
def test_methods(wanted):
    trigger, _ = webhook(**({} if wanted is None else {"method": wanted}))
    for method in METHODS:
        answer = send(trigger, method=method)
        fits = wanted in (None, "ANY", method)
        assert answer.status_code == (202 if fits else 405), method
        assert answer.get("Allow") == (None if fits else wanted)


def test_no_webhook_takes_other_methods():
    trigger, _ = webhook()
    for method in ("HEAD", "OPTIONS", "TRACE", "PROPFIND"):
        assert send(trigger, method=method).status_code == 405


@pytest.mark.parametrize(
    ("auth", "shown"),
    [
        ("api_key", lambda secret: {"X-API-Key": secret}),
        ("bearer", lambda secret: {"Authorization": f"Bearer {secret}"}),
        ("bearer", lambda secret: {"Authorization": f"bearer  {secret}"}),
        ("hmac", lambda secret: senders.generic(secret, b"{}")),
    ],
)
def test_who_shows_the_secret_may(auth, shown):
    trigger, secret = webhook(authType=auth)
    assert len(secret) == 64
    assert send(trigger, b"{}", shown(secret)).status_code == 202
    wrong = [shown(secret[:-1]), shown(secret + "0"), shown("0" * 64), shown(""), {}]
    texts = set()
    for headers in wrong:
        answer = send(trigger, b"{}", headers)
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"]
        texts.add(answer.content)
    assert len(texts) == 1, "The answer must not tell what was wrong."
    assert started() == 1


def test_the_key_may_have_a_header_of_its_own():
    trigger, secret = webhook(authType="api_key", apiKeyHeader="X-Shop")
    assert send(trigger, headers={"X-Shop": secret}).status_code == 202
    assert send(trigger, headers={"X-API-Key": secret}).status_code == 401
    assert Delivery.objects.order_by("id")[0].headers["x-shop"] == "••••"


@pytest.mark.parametrize(
    ("style", "sign"),
    [("github", senders.github), ("stripe", senders.stripe), ("slack", senders.slack),
     ("standard", senders.standard)],
)  # fmt: skip
def test_deliveries_as_their_senders_sign_them(style, sign):
    trigger, secret = webhook(authType="hmac", signatureStyle=style)
    # With the spaces that a re-serialized body would lose.
    body = b'{ "a" : 1 }'
    assert send(trigger, body, sign(secret, body)).status_code == 202
    assert send(trigger, b'{"a":1}', sign(secret, body)).status_code == 401
    assert send(trigger, body, sign("whsec_b3RoZXJvdGhlcg==", body)).status_code == 401
    assert send(trigger, body).status_code == 401
    assert started() == 1


def test_a_delivery_without_a_signature_is_told_apart_in_the_log_only():
    trigger, secret = webhook(authType="hmac", timestampHeader="X-Timestamp")
    body = b"{}"
    reasons = []
    for headers in (
        {}, senders.timed("other-secret", body), senders.timed(secret, body, at=time.time() - 400),
        senders.timed(secret, body, at=time.time() + 400),
    ):  # fmt: skip
        assert send(trigger, body, headers).status_code == 401
        reasons.append(last().error)
    assert reasons == [
        "It carries no signature.",
        "Its signature does not fit secret and body.",
        *2 * ["Its timestamp is missing, or further than five minutes from now."],
    ]
    assert send(trigger, body, senders.timed(secret, body)).status_code == 202


def test_the_window_is_measured_by_the_clock_of_the_database(engine):
    trigger, secret = webhook(authType="hmac", timestampHeader="X-Timestamp")
    headers = senders.timed(secret, b"{}", at=engine.now().timestamp())
    engine.advance(minutes=6)
    assert send(trigger, b"{}", headers).status_code == 401
    later = senders.timed(secret, b"{}", at=engine.now().timestamp())
    assert send(trigger, b"{}", later).status_code == 202


def test_a_new_secret_counts_at_once_and_the_old_one_as_long_as_said(engine):
    trigger, old = webhook(authType="bearer")
    new = triggers.rotate_secret(trigger.id, old_valid_for=timedelta(hours=1)).secret

    def status(secret):
        return send(trigger, headers={"Authorization": f"Bearer {secret}"}).status_code

    assert (status(old), status(new)) == (202, 202)
    engine.advance(hours=1)
    assert (status(old), status(new)) == (401, 202)
    newest = triggers.rotate_secret(trigger.id).secret
    assert (status(new), status(newest)) == (401, 202)


# ---- where from ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 202),
        ("https://app.example.com", 202),
        ("https://app.example.com:443", 202),
        ("HTTPS://APP.example.com", 202),
        ("https://app.example.com.evil.com", 403),
        ("https://evil.com/https://app.example.com", 403),
        ("http://app.example.com", 403),
        ("https://app.example.com:8443", 403),
        ("https://sub.app.example.com", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_origins(origin, status):
    trigger, _ = webhook(allowedOrigins=["https://app.example.com"])
    answer = send(trigger, headers={} if origin is None else {"Origin": origin})
    assert answer.status_code == status
    is_allowed = status == 202 and origin is not None
    assert answer.get("Access-Control-Allow-Origin") == (origin if is_allowed else None)


def test_without_a_list_origins_do_not_matter_and_no_page_reads_the_answer():
    trigger, _ = webhook()
    answer = send(trigger, headers={"Origin": "https://anywhere.example.com"})
    assert answer.status_code == 202
    assert "Access-Control-Allow-Origin" not in answer


def test_a_browser_asks_before_it_sends():
    trigger, _ = webhook(allowedOrigins=["https://app.example.com"], method="PUT")
    ask = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-signature"}
    answer = send(trigger, headers={"Origin": "https://app.example.com", **ask}, method="OPTIONS")
    assert answer.status_code == 204
    assert answer["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert answer["Access-Control-Allow-Methods"] == "PUT"
    assert answer["Access-Control-Allow-Headers"] == "x-signature"
    evil = send(trigger, headers={"Origin": "https://evil.example.com", **ask}, method="OPTIONS")
    assert evil.status_code == 403
    assert "Access-Control-Allow-Origin" not in evil
    assert send("trigger_" + "0" * 26, headers=ask, method="OPTIONS").status_code == 404
    assert started() == 0


def test_a_page_of_the_site_itself_gains_nothing_by_its_cookies():
    trigger, _ = webhook(authType="bearer")
    client = Client(enforce_csrf_checks=True)
    client.force_login(someone("ada", is_staff=True))
    answer = client.post(f"/webhooks/{trigger.id}", {}, content_type="application/json")
    assert answer.status_code == 401


# ---- limits -------------------------------------------------------------------------------------


def test_a_body_over_the_limit_is_refused_before_it_is_read():
    trigger, _ = webhook(payloadLimit=1000)
    within = b'"' + b"x" * 998 + b'"'
    assert send(trigger, within).status_code == 202
    answer = send(trigger, within + b" ")
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"
    assert (last().status, last().body, last().body_bytes) == (413, "", 1001)


def test_a_body_that_says_nothing_of_its_length_is_read_no_further_than_the_limit():
    trigger, _ = webhook(payloadLimit=1000)
    asked = []

    def endless(size):
        asked.append(size)
        return b"x" * size

    request = Request(method="POST", path="/", query="", headers={}, read=endless)
    assert receive(trigger.id, request).status == 413
    assert asked == [1001]


def test_no_webhook_takes_more_than_a_payload_may_have(settings):
    settings.FLOWMAESTRO = replace(settings.FLOWMAESTRO, PAYLOAD_LIMIT=2000)
    trigger, _ = webhook(payloadLimit=10**9)
    assert send(trigger, b'"' + b"x" * 2100 + b'"').status_code == 413
    # With the headers around it the payload is over its limit too.
    assert send(trigger, b'"' + b"x" * 1900 + b'"').status_code == 413
    assert started() == 0


def test_too_many_fields_are_refused():
    trigger, _ = webhook()
    many = "&".join(f"a{n}=1" for n in range(2000))
    assert send(trigger, many.encode(), kind=FORM).status_code == 400
    assert send(trigger, query="?" + many[:6000]).status_code in (202, 400)
    assert send(trigger, many.encode() * 1, kind=FORM).json()["details"] == {"field": "body"}


@pytest.fixture
def rates(settings):
    def set_rates(**limits):
        named = {f"RATE_LIMIT_{name}": value for name, value in limits.items()}
        settings.FLOWMAESTRO = replace(settings.FLOWMAESTRO, RATE_LIMIT_BURST_SECONDS=60.0, **named)

    yield set_rates
    # What this process remembers of whom it refused outlives the test's transaction.
    import_module(settings.RATE_LIMITER.rpartition(".")[0])._refused.clear()


def test_a_webhook_that_gets_too_much_says_when_to_come_back(rates):
    rates(WEBHOOK=3)
    trigger, _ = webhook()
    answers = [send(trigger) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429, 429]
    assert answers[4].json()["code"] == "rate_limited"
    assert int(answers[4]["Retry-After"]) >= 1
    # A flood makes no work, not even in the log.
    assert (started(), Delivery.objects.count()) == (3, 3)
    assert send(webhook()[0]).status_code == 202


def test_strangers_spend_their_own_budget_and_not_that_of_the_webhook(rates):
    rates(WEBHOOK=3, ADDRESS=2)
    trigger, secret = webhook(authType="bearer")
    assert [send(trigger).status_code for _ in range(4)] == [401, 401, 429, 429]
    assert send("trigger_" + "0" * 26).status_code == 429
    answer = send(trigger, headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 202


# ---- greetings ----------------------------------------------------------------------------------


def test_slack_gets_its_challenge_back_and_starts_nothing():
    trigger, secret = webhook(authType="hmac", signatureStyle="slack")
    body = json.dumps({"type": "url_verification", "challenge": "3eZbrw1aB", "token": "x"}).encode()
    answer = send(trigger, body, senders.slack(secret, body))
    assert (answer.status_code, answer.json()) == (200, {"challenge": "3eZbrw1aB"})
    assert send(trigger, body, senders.slack("other-secret", body)).status_code == 401
    assert (started(), fresh(trigger).fired) == (0, 0)
    assert sorted(Delivery.objects.values_list("status", flat=True)) == [200, 401]


def test_nobody_but_slack_gets_a_challenge_back():
    trigger, _ = webhook()
    answer = send(trigger, {"type": "url_verification", "challenge": "x"})
    assert answer.status_code == 202


def test_github_is_told_that_its_ping_arrived():
    trigger, secret = webhook(authType="hmac", signatureStyle="github")
    body = b'{"zen": "Keep it logically awesome."}'
    answer = send(trigger, body, senders.github(secret, body, event="ping"))
    assert (answer.status_code, answer.json()["message"]) == (200, "pong")
    assert started() == 0
