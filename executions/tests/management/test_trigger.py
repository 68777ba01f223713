"""Triggering over HTTP: payloads by type, options, repetitions, limits."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from executions import runs
from executions.models import IdempotencyKey, Run
from executions.tests.conftest import until_status

ECHO = "v1/tasks/managed.echo/trigger"


def body(payload=None, **options):
    return {"payload": payload, "options": options}


def payload_of(answer):
    assert answer.status_code == 200, answer.content
    return runs.retrieve(answer.json()["id"]).data.payload


def test_a_triggered_run_belongs_to_the_caller_and_runs(ada, executor):
    answer = ada.post(ECHO, body({"a": 1}))
    assert answer.json() == {"id": answer.json()["id"], "isCached": False}
    run = until_status(answer.json()["id"], "COMPLETED")
    assert run.output == {"a": 1}
    assert (run.owner_id, run.workspace_id, run.queue) == (ada.user.pk, ada.workspace, "managed")


@pytest.mark.parametrize(
    ("payload", "kind", "meant"),
    [
        ({"a": [1, None]}, None, {"a": [1, None]}),
        ({"a": 1}, "application/json", {"a": 1}),
        ('{"a":1}', "application/json", '{"a":1}'),
        ("a text", "text/plain", "a text"),
        ("", "text/plain", ""),
        ('{"json":{"a":1}}', "text/plain", '{"json":{"a":1}}'),
        (
            '{"json":{"at":"2026-01-02T03:04:05.678Z","x":null},'
            '"meta":{"values":{"at":["Date"],"x":["undefined"]}}}',
            "application/super+json",
            {"at": "2026-01-02T03:04:05.678Z"},
        ),
        (None, "application/json", None),
        (None, None, None),
    ],
)
def test_a_payload_is_read_by_its_type(ada, payload, kind, meant):
    assert payload_of(ada.post(ECHO, body(payload, payloadType=kind))) == meant


def test_a_body_without_options_or_payload_triggers(ada):
    assert payload_of(ada.post(ECHO)) is None


def test_options_hold(ada):
    start = datetime.now(UTC) + timedelta(hours=3)
    answer = ada.post(
        ECHO,
        body(
            1,
            queue={"name": "other"},
            concurrencyKey=7,
            delay=start.isoformat(),
            ttl="10m",
            maxAttempts=4,
            maxDuration=60,
            tags=["a", "b"],
            metadata={"k": {"v": 1}},
            priority=5,
            machine="small-1x",
            payloadSize=3,
            test=False,
            externalDeploymentId="abc",
            idempotencyKeyOptions={"key": "k", "scope": "global"},
        ),
    )
    assert answer.status_code == 200, answer.content
    run = runs.retrieve(answer.json()["id"])
    assert (run.status, run.wake_at) == ("DELAYED", start)
    assert (run.queue, run.concurrency_key, run.tags) == ("other", "7", ["a", "b"])
    assert (run.max_attempts, run.max_duration, run.priority) == (4, 60, 5)
    assert run.expires_at - run.wake_at == timedelta(minutes=10)
    assert run.data.metadata == {"k": {"v": 1}}


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"parentRunId": "run_x"}, "options.parentRunId"),
        ({"resumeParentOnCompletion": True}, "options.resumeParentOnCompletion"),
        ({"lockToVersion": "20260101.1"}, "options.lockToVersion"),
        ({"region": "eu"}, "options.region"),
        ({"test": True}, "options.test"),
        ({"gates": [{"queue": "x"}]}, "options.gates"),
        ({"concurrency": ["x"]}, "options.concurrency"),
        ({"nonsense": 1}, "options.nonsense"),
        ({"machine": "huge"}, "options.machine"),
        ({"queue": "other"}, "options.queue"),
        ({"queue": {"name": "x", "concurrencyLimit": 1}}, "options.queue"),
        ({"delay": "soon"}, "delay"),
        ({"delay": "2026-13-01"}, "options.delay"),
        ({"delay": "2026-01-01T10:00:00"}, "options.delay"),
        ({"delay": "9999-01-01T10:00:00Z"}, "options.delay"),
        ({"ttl": "x"}, "ttl"),
        ({"tags": ["x"] * 11}, "tags"),
        ({"tags": ["x" * 129]}, "tags"),
        ({"tags": {"a": 1}}, "tags"),
        ({"metadata": [1]}, "options.metadata"),
        ({"metadata": "{", "metadataType": "application/json"}, "options.metadata"),
        ({"maxAttempts": 0}, "max_attempts"),
        ({"maxAttempts": "3"}, "max_attempts"),
        ({"priority": 1.5}, "priority"),
        ({"concurrencyKey": [1]}, "options.concurrencyKey"),
        ({"idempotencyKey": "x" * 2049}, "idempotency_key"),
        ({"idempotencyKey": ""}, "idempotency_key"),
        ({"idempotencyKey": "x", "idempotencyKeyTTL": "never"}, "idempotency_key_ttl"),
        ({"debounce": {"key": "x"}}, "debounce.delay"),
        ({"debounce": {"key": "x", "delay": "1s", "leading": True}}, "leading"),
        ({"idempotencyKey": "x", "debounce": {"key": "x", "delay": "1s"}}, "debounce"),
        ({"payloadType": "application/xml"}, "payloadType"),
        ({"payloadType": 7}, "options.payloadType"),
    ],
)
def test_an_option_that_cannot_hold_is_refused_by_name(ada, options, field):
    answer = ada.post(ECHO, body("x", **options))
    assert answer.status_code == 400, answer.content
    refused = answer.json()
    assert (refused["success"], refused["details"]["field"]) == (False, field)
    assert refused["error"]
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ([], None),
        ({"options": []}, "options"),
        ({"context": {"a": 1}}, "context"),
        ({"nonsense": 1}, "nonsense"),
        (body("{", payloadType="application/super+json"), "payload"),
        (body({"a": 1}, payloadType="application/super+json"), "payload"),
        (body("\0"), "payload"),
        (body("[" * 2000, payloadType="application/super+json"), "payload"),
        (body("parcel_01k9zzzzzzzzzzzzzzzzzzzzzz", payloadType="application/store"), "payload"),
    ],
)
def test_a_body_that_means_nothing_is_refused(ada, sent, field):
    answer = ada.post(ECHO, sent)
    assert answer.status_code in (400, 404), answer.content
    assert answer.json()["details"].get("field") == field
    assert not Run.objects.exists()


def test_an_unknown_task_is_not_found(ada):
    answer = ada.post("v1/tasks/nobody/trigger", body(1))
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "nobody" in answer.json()["error"]


def test_a_task_id_may_hold_slashes(ada):
    answer = ada.post("v1/tasks/no%2Fbody/trigger", body(1))
    assert '"no/body"' in answer.json()["error"]


def test_a_payload_over_the_limit_is_too_large(ada, settings):
    limit = settings.FLOWMAESTRO.PAYLOAD_LIMIT
    answer = ada.post(ECHO, body("x" * limit, payloadType="text/plain"))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert answer.json()["details"] == {"field": "payload"}
    assert not Run.objects.exists()


def test_an_idempotency_key_gives_one_run_per_task_and_workspace(ada, bo):
    first = ada.post(ECHO, body(1, idempotencyKey="k")).json()
    again = ada.post(ECHO, body(2, idempotencyKey="k")).json()
    assert again == {"id": first["id"], "isCached": True}
    assert bo.post(ECHO, body(3, idempotencyKey="k")).json()["isCached"] is False
    other = ada.post("v1/tasks/managed.fail/trigger", body(1, idempotencyKey="k"))
    assert other.json()["isCached"] is False
    assert Run.objects.count() == 3


def test_a_key_holds_for_as_long_as_asked(ada):
    ada.post(ECHO, body(1, idempotencyKey="k", idempotencyKeyTTL="60s"))
    row = IdempotencyKey.objects.get()
    left = row.expires_at - datetime.now(UTC)
    assert timedelta(seconds=50) < left <= timedelta(seconds=60)


def test_a_reset_key_is_free_and_only_in_its_workspace(ada, bo):
    first = ada.post(ECHO, body(1, idempotencyKey="a/b c")).json()["id"]
    reset = "v1/idempotencyKeys/a%2Fb%20c/reset"
    wrong = bo.post(reset, {"taskIdentifier": "managed.echo"})
    assert wrong.status_code == 404
    assert ada.post(reset, {}).status_code == 400
    assert ada.post(reset, {"taskIdentifier": "managed.fail"}).status_code == 404
    done = ada.post(reset, {"taskIdentifier": "managed.echo"})
    assert (done.status_code, done.json()) == (200, {"id": "a/b c"})
    assert ada.post(ECHO, body(1, idempotencyKey="a/b c")).json()["id"] != first


def test_a_request_that_is_repeated_starts_one_run(ada):
    headers = {"x-trigger-request-idempotency-key": "5f0c"}
    first = ada.post(ECHO, body(1), **headers).json()
    again = ada.post(ECHO, body(1), **headers).json()
    assert again == first
    other = ada.post(ECHO, body(1), **{"x-trigger-request-idempotency-key": "5f0d"}).json()
    assert other["id"] != first["id"]
    assert Run.objects.count() == 2


def test_a_request_that_failed_may_be_repeated(ada):
    headers = {"x-trigger-request-idempotency-key": "5f0c"}
    assert ada.post(ECHO, body(1, ttl="x"), **headers).status_code == 400
    assert ada.post(ECHO, body(1), **headers).status_code == 200


def test_debounced_triggers_become_one_run(ada):
    options = {"debounce": {"key": "k", "delay": "5m", "mode": "trailing", "maxDelay": "1h"}}
    first = ada.post(ECHO, body(1, **options)).json()
    again = ada.post(ECHO, body(2, **options)).json()
    assert (again["id"], again["isCached"]) == (first["id"], True)
    assert runs.retrieve(first["id"]).data.payload == 2


def test_a_large_payload_is_uploaded_and_then_named(ada, bo, client):
    place = ada.put("v2/packets/trigger%2Fpacket_x%2Fpayload.json").json()
    address = place["presignedUrl"]
    text = json.dumps({"json": {"at": "x" * 200_000}})
    early = ada.post(ECHO, body(place["storagePath"], payloadType="application/store"))
    assert (early.status_code, early["x-should-retry"]) == (409, "false")
    kind = "application/super+json"
    assert client.put(address, text, content_type=kind).status_code == 200
    assert client.put(address, text, content_type=kind).status_code == 200
    assert client.put(address, "other", content_type=kind).status_code == 409
    assert client.put(address[:-1] + "!", text, content_type=kind).status_code == 404
    theirs = bo.post(ECHO, body(place["storagePath"], payloadType="application/store"))
    assert theirs.status_code == 404
    answer = ada.post(ECHO, body(place["storagePath"], payloadType="application/store"))
    assert payload_of(answer) == {"at": "x" * 200_000}


def test_an_upload_over_the_limit_is_refused(ada, client, settings):
    address = ada.put("v2/packets/x.txt").json()["presignedUrl"]
    limit = settings.FLOWMAESTRO.PAYLOAD_LIMIT
    answer = client.put(address, "x" * (limit + 1), content_type="text/plain")
    assert answer.status_code == 413
    assert client.put(address, b"\xff", content_type="text/plain").status_code == 400
    assert client.put(address, "x" * limit, content_type="text/plain").status_code == 200
