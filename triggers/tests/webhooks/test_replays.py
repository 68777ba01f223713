"""A delivery starts one run, however often and however fast it comes."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from django.db import connection, transaction

from executions import prune
from executions.models import Run
from executions.tests.management.sites import running_server
from triggers import receipts, triggers
from triggers.models import Delivery, Receipt
from triggers.tests import senders
from triggers.tests.senders import send, started, webhook
from triggers.tidying import Tidying

BODY = b'{"id": "evt_1", "event_id": "Ev1"}'
STYLES = [
    ({"signatureStyle": "github"}, lambda secret: senders.github(secret, BODY, "72d3162e-cc78")),
    ({"signatureStyle": "stripe"}, lambda secret: senders.stripe(secret, BODY)),
    ({"signatureStyle": "slack"}, lambda secret: senders.slack(secret, BODY)),
    ({"signatureStyle": "standard"}, lambda secret: senders.standard(secret, BODY)),
    ({"timestampHeader": "X-Timestamp"}, lambda secret: senders.timed(secret, BODY)),
    (
        {"deliveryIdHeader": "X-Id"},
        lambda secret: {**senders.generic(secret, BODY), "X-Id": "d-1"},
    ),
    ({"onceBy": "content"}, lambda secret: senders.generic(secret, BODY)),
]


@pytest.mark.parametrize(("config", "sign"), STYLES)
def test_a_delivery_that_comes_again_gets_the_answer_of_the_first_time(db, config, sign):
    trigger, secret = webhook(authType="hmac", **config)
    headers = sign(secret)
    answers = [send(trigger, BODY, headers) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["executionId"] for answer in answers}) == 1
    assert answers[0].json()["message"] != answers[1].json()["message"]
    assert started() == 1
    log = Delivery.objects.order_by("id")
    assert [row.is_repeated for row in log] == [False, True, True]
    assert {row.run for row in log} == {answers[0].json()["executionId"]}
    assert triggers.retrieve(trigger.id, workspace=None).fired == 1


def test_deliveries_with_the_same_id_at_two_triggers_are_two(db):
    for _ in range(2):
        trigger, _ = webhook(deliveryIdHeader="X-Id")
        assert send(trigger, headers={"X-Id": "1"}).status_code == 202
    assert started() == 2


def test_what_has_no_id_and_no_time_is_taken_each_time(db):
    trigger, secret = webhook(authType="hmac")
    for _ in range(2):
        send(trigger, BODY, senders.generic(secret, BODY))
    assert started() == 2


def test_a_retry_of_the_sender_signed_anew_is_the_same_delivery(db):
    trigger, secret = webhook(authType="hmac", signatureStyle="slack")
    now = time.time()
    send(trigger, BODY, senders.slack(secret, BODY, at=now - 200))
    again = senders.slack(secret, BODY, at=now, **{"X-Slack-Retry-Num": "1"})
    assert send(trigger, BODY, again).status_code == 202
    assert started() == 1


def test_a_delivery_whose_run_failed_is_still_the_same_delivery(db):
    trigger, _ = webhook(deliveryIdHeader="X-Id")
    first = send(trigger, headers={"X-Id": "1"}).json()["executionId"]
    Run.objects.filter(pk=first).update(
        status="FAILED", finished_at="2026-01-01T00:00:00Z", error={}, claim=None
    )
    assert send(trigger, headers={"X-Id": "1"}).json()["executionId"] == first


def test_a_receipt_lasts_as_long_as_a_replay_could_pass(engine):
    trigger, secret = webhook(authType="hmac", timestampHeader="X-Timestamp")
    send(trigger, BODY, senders.timed(secret, BODY, at=engine.now().timestamp()))
    receipt = Receipt.objects.get()
    assert 600 <= (receipt.expires_at - engine.now()).total_seconds() <= 1200
    named, _ = webhook(deliveryIdHeader="X-Id")
    send(named, headers={"X-Id": "1"})
    assert (Receipt.objects.get(scope=named.id).expires_at - engine.now()).days == 30
    engine.advance(minutes=30)
    _remove_expired()
    assert Receipt.objects.values_list("scope", flat=True).get() == named.id
    engine.advance(days=31)
    # Past its time a receipt counts no more, whether it was removed or not.
    send(named, headers={"X-Id": "1"})
    assert started() == 3
    _remove_expired()
    assert Delivery.objects.count() == 1


def test_prune_removes_what_is_past_its_time(engine):
    trigger, _ = webhook(deliveryIdHeader="X-Id")
    send(trigger, headers={"X-Id": "1"})
    engine.advance(days=14)
    assert prune.prune(dry_run=True).others["deliveries to webhooks"] == 1
    found = prune.prune().others
    assert found["deliveries to webhooks"] == 1
    assert found["receipts of deliveries and events"] == 0
    engine.advance(days=17)
    assert prune.prune().others["receipts of deliveries and events"] == 1
    assert (Delivery.objects.count(), Receipt.objects.count()) == (0, 0)


def _remove_expired():
    tidying = Tidying()
    tidying._next = 0.0
    with connection.cursor() as cursor:
        tidying.tick(cursor)


def test_whoever_comes_second_waits_for_the_first_and_takes_over_when_that_fails(transactional_db):
    entered, go_on, found = threading.Event(), threading.Event(), []

    def first():
        try:
            with transaction.atomic():
                assert receipts.claim("scope", "key", seconds=60)
                entered.set()
                go_on.wait(10)
                raise LookupError
        except LookupError:
            connection.close()

    def second():
        with transaction.atomic():
            found.append(receipts.claim("scope", "key", seconds=60))
        connection.close()

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert entered.wait(10)
    threads[1].start()
    time.sleep(0.2)
    assert found == []
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert found == [True]


@pytest.fixture
def server(database_url):
    """The host and port of a web server of its own, as `make run` starts it."""
    with running_server(database_url, LOG_LEVEL="WARNING", RATE_LIMIT_WEBHOOK="0") as site:
        yield urlsplit(site.url).netloc


def test_a_body_without_a_length_has_the_same_limit(server):
    trigger, _ = webhook(payloadLimit=1000)
    for size, status in ((900, 202), (1100, 413)):
        client = http.client.HTTPConnection(server, timeout=60)
        pieces = iter([b'"', *[b"x" * 100] * (size // 100), b'"'])
        client.request("POST", f"/webhooks/{trigger.id}", pieces, encode_chunked=True,
                       headers={"Content-Type": "application/json",
                                "Transfer-Encoding": "chunked"})  # fmt: skip
        assert client.getresponse().status == status
        client.close()
    assert list(Delivery.objects.order_by("id").values_list("status", flat=True)) == [202, 413]


@pytest.mark.parametrize(("config", "sign"), [STYLES[1], STYLES[4]])
def test_a_hundred_replays_at_once_start_one_run(server, config, sign):
    trigger, secret = webhook(authType="hmac", **config)
    headers = {**sign(secret), "Content-Type": "application/json"}
    ready = threading.Barrier(100)

    def replay(_):
        client = http.client.HTTPConnection(server, timeout=60)
        client.connect()
        ready.wait(30)
        client.request("POST", f"/webhooks/{trigger.id}", BODY, headers)
        answer = client.getresponse()
        content = json.loads(answer.read())
        client.close()
        return answer.status, content["executionId"]

    with ThreadPoolExecutor(100) as pool:
        answers = Counter(pool.map(replay, range(100)))
    assert len(answers) == 1, answers
    ((status, run_id),) = answers
    assert status == 202
    assert list(Run.objects.values_list("id", flat=True)) == [run_id]
    repeated = Counter(Delivery.objects.values_list("is_repeated", "run"))
    assert repeated == {(False, run_id): 1, (True, run_id): 99}
    assert triggers.retrieve(trigger.id, workspace=None).fired == 1
