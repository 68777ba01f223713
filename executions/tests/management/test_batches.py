"""Batches over HTTP: in two phases, in one request, what became of them."""

from __future__ import annotations

import time

import pytest

from executions import runs
from executions.models import Batch, BatchItem, Run
from executions.tests.conftest import eventually, until_status


def items(count, task="managed.echo", **options):
    given = {"payloadType": "text/plain", **options}
    return [
        {"index": index, "task": task, "payload": str(index), "options": dict(given)}
        for index in range(count)
    ]


def create(caller, count, **more):
    answer = caller.post("v3/batches", {"runCount": count, **more})
    assert answer.status_code == 202, answer.content
    return answer.json()


def state(caller, batch):
    answer = caller.get(f"v2/batches/{batch}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_a_batch_comes_in_two_phases_and_runs(ada, executor):
    made = create(ada, 3, taskIdentifiers=["managed.echo"])
    assert (made["runCount"], made["isCached"]) == (3, False)
    assert state(ada, made["id"])["status"] == "PENDING"
    answer = ada.lines(made["id"], items(3))
    assert answer.json() == {
        "id": made["id"], "itemsAccepted": 3, "itemsDeduplicated": 0, "sealed": True,
    }  # fmt: skip
    shown = eventually(lambda: (found := state(ada, made["id"]))["status"] == "COMPLETED" and found)
    assert shown["runCount"] == 3
    assert shown["processing"]["errors"] == []
    assert shown["processing"]["completedAt"]
    found = [runs.retrieve(run) for run in shown["runs"]]
    assert [run.output for run in found] == ["0", "1", "2"]
    assert {run.source for run in found} == {made["id"]}
    assert {(run.owner_id, run.workspace_id) for run in found} == {(ada.user.pk, ada.workspace)}
    results = ada.get(f"v1/batches/{made['id']}/results").json()
    assert results["id"] == made["id"]
    assert [(item["id"], item["ok"], item["output"]) for item in results["items"]] == [
        (run.id, True, f'"{number}"') for number, run in enumerate(found)
    ]


def test_items_that_come_again_are_passed_over(ada):
    batch = create(ada, 4)["id"]
    first = ada.lines(batch, items(2)).json()
    assert (first["itemsAccepted"], first["sealed"]) == (2, False)
    assert (first["enqueuedCount"], first["expectedCount"]) == (2, 4)
    rest = ada.lines(batch, items(4)).json()
    assert (rest["itemsAccepted"], rest["itemsDeduplicated"], rest["sealed"]) == (2, 2, True)
    more = ada.lines(batch, items(4)).json()
    assert (more["itemsAccepted"], more["itemsDeduplicated"], more["sealed"]) == (0, 4, True)
    assert Run.objects.filter(source=batch).count() == 4


def test_one_place_twice_in_a_stream_is_one_item(ada):
    batch = create(ada, 2)["id"]
    answer = ada.lines(batch, [*items(1), *items(1), *items(2)]).json()
    assert (answer["itemsAccepted"], answer["itemsDeduplicated"]) == (2, 2)
    assert Run.objects.count() == 2


def test_an_item_that_cannot_start_takes_its_place_with_its_error(ada, executor):
    batch = create(ada, 4)["id"]
    sent = items(4)
    sent[1]["task"] = "nobody"
    sent[2]["options"]["ttl"] = "soon"
    assert ada.lines(batch, sent).json()["sealed"] is True
    shown = eventually(lambda: (found := state(ada, batch))["status"] == "PARTIAL_FAILED" and found)
    assert len(shown["runs"]) == 2
    first, second = shown["processing"]["errors"]
    assert (first["index"], first["taskIdentifier"], first["errorCode"]) == (
        1,
        "nobody",
        "not_found",
    )
    assert (second["index"], second["errorCode"]) == (2, "invalid")
    assert "ttl" in second["error"]


def test_a_batch_of_nothing_but_errors_is_aborted(ada):
    batch = create(ada, 2)["id"]
    ada.lines(batch, items(2, task="nobody"))
    assert state(ada, batch)["status"] == "ABORTED"
    assert state(ada, batch)["runs"] == []


def test_idempotency_keys_of_items_hold_within_and_beyond_a_batch(ada):
    known = ada.trigger("managed.echo", 1, idempotencyKey="old")
    batch = create(ada, 4)["id"]
    sent = items(4)
    for item, key in zip(sent, ("old", "new", "new", "own"), strict=True):
        item["options"]["idempotencyKey"] = key
    assert ada.lines(batch, sent).json()["itemsAccepted"] == 4
    shown = state(ada, batch)["runs"]
    assert shown[0] == known
    assert shown[1] == shown[2] != shown[3]
    assert Run.objects.count() == 3
    assert ada.trigger("managed.echo", 1, idempotencyKey="own") == shown[3]


def test_a_key_of_a_failed_run_is_free_for_an_item(ada, executor):
    failed = ada.trigger("managed.fail", 1, idempotencyKey="k", maxAttempts=1)
    until_status(failed, "FAILED")
    batch = create(ada, 1)["id"]
    ada.lines(batch, items(1, task="managed.fail", idempotencyKey="k", maxAttempts=1))
    assert state(ada, batch)["runs"] != [failed]


def test_debounced_items_gather(ada):
    batch = create(ada, 2)["id"]
    ada.lines(batch, items(2, debounce={"key": "k", "delay": "5m"}))
    shown = state(ada, batch)["runs"]
    assert len(shown) == 2
    assert len(set(shown)) == 1
    assert Run.objects.count() == 1


def test_a_batch_key_gives_the_batch_again_and_one_without_items_is_filled(ada, bo):
    first = create(ada, 2, idempotencyKey="k")
    assert first["idempotencyKey"] == "k"
    again = create(ada, 2, idempotencyKey="k")
    # Its items never came: the client sends them now.
    assert (again["id"], again["isCached"]) == (first["id"], False)
    refused = ada.post("v3/batches", {"runCount": 3, "idempotencyKey": "k"})
    assert (refused.status_code, refused["x-should-retry"]) == (409, "false")
    ada.lines(first["id"], items(2))
    full = create(ada, 2, idempotencyKey="k")
    assert (full["id"], full["isCached"]) == (first["id"], True)
    assert create(bo, 2, idempotencyKey="k")["id"] != first["id"]


def test_a_request_that_is_repeated_makes_one_batch(ada):
    headers = {"x-trigger-request-idempotency-key": "1"}
    first = ada.post("v3/batches", {"runCount": 1}, **headers).json()
    again = ada.post("v3/batches", {"runCount": 1}, **headers).json()
    assert again == first
    assert Batch.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "runCount"),
        ({"runCount": 0}, "runCount"),
        ({"runCount": 1001}, "runCount"),
        ({"runCount": "3"}, "runCount"),
        ({"runCount": True}, "runCount"),
        ({"runCount": 1, "nonsense": 1}, "nonsense"),
        ({"runCount": 1, "parentRunId": "run_x"}, "parentRunId"),
        ({"runCount": 1, "resumeParentOnCompletion": True}, "resumeParentOnCompletion"),
        ({"runCount": 1, "idempotencyKey": 5}, "idempotencyKey"),
        ({"runCount": 1, "idempotencyKey": "x" * 2049}, "idempotency_key"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(ada, body, field):
    answer = ada.post("v3/batches", body)
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": field})
    assert not Batch.objects.exists()


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ('{"index": 0', "line 2"),
        ("[1]", "line 2"),
        ("[" * 5000, "line 2"),
        ('{"task": "managed.echo"}', "line 2"),
        ('{"index": "1", "task": "managed.echo"}', "line 2"),
        ('{"index": true, "task": "managed.echo"}', "line 2"),
        ('{"index": 1}', "task"),
        ('{"index": 1, "task": "x\\u0000"}', "task"),
        ('{"index": 1, "task": "\\ud800"}', "task"),
        ('{"index": 1, "task": "managed.echo", "nonsense": 1}', "nonsense"),
        ('{"index": 1, "task": "managed.echo", "options": {"region": "eu"}}', "options.region"),
        ('{"index": 7, "task": "managed.echo"}', "index"),
        ('{"index": -1, "task": "managed.echo"}', "index"),
    ],
)
def test_a_line_that_means_nothing_is_refused_by_its_number(ada, line, field):
    batch = create(ada, 2)["id"]
    text = '{"index": 0, "task": "managed.echo"}\n' + line + "\n"
    answer = ada._client.post(
        f"/api/v3/batches/{batch}/items", text, content_type="application/x-ndjson"
    )
    assert answer.status_code == 400, answer.content
    assert answer.json()["details"] == {"field": field}
    # The portion was refused as a whole; it may be sent again.
    assert not BatchItem.objects.exists()
    assert ada.lines(batch, items(2)).json()["sealed"] is True


def test_a_line_over_the_limit_is_too_large(ada, settings):
    batch = create(ada, 1)["id"]
    sent = items(1)
    sent[0]["payload"] = "x" * (2 * settings.FLOWMAESTRO.PAYLOAD_LIMIT + 600_000)
    assert ada.lines(batch, sent).status_code == 413
    sent[0]["payload"] = "x" * (settings.FLOWMAESTRO.PAYLOAD_LIMIT + 1)
    ada.lines(batch, sent)
    (error,) = state(ada, batch)["processing"]["errors"]
    assert error["errorCode"] == "too_large"


def test_lines_are_of_their_own_type(ada):
    batch = create(ada, 1)["id"]
    assert ada.post(f"v3/batches/{batch}/items", {}).status_code == 415
    empty = ada.lines(batch, [])
    assert (empty.status_code, empty.json()["sealed"]) == (200, False)


def test_the_older_ways_start_all_or_nothing(ada):
    one = {"payload": "x", "options": {"tags": "t"}}
    answer = ada.post("v1/tasks/managed.echo/batch", {"items": [one, one]}).json()
    assert [runs.retrieve(run).tags for run in answer["runs"]] == [["t"], ["t"]]
    assert state(ada, answer["batchId"])["runs"] == answer["runs"]

    several = {"items": [{"task": "managed.echo"}, {"task": "managed.fail"}]}
    v1 = ada.post("v1/tasks/batch", several).json()
    assert [run["taskIdentifier"] for run in v1["runs"]] == ["managed.echo", "managed.fail"]
    assert v1["isCached"] is False
    v2 = ada.post("v2/tasks/batch", several, **{"idempotency-key": "k"})
    assert (v2.status_code, v2.json()["runCount"]) == (202, 2)
    again = ada.post("v2/tasks/batch", several, **{"idempotency-key": "k"}).json()
    assert again["id"] == v2.json()["id"]

    count = Run.objects.count()
    wrong = {"items": [{"task": "managed.echo"}, {"task": "nobody"}]}
    refused = ada.post("v2/tasks/batch", wrong)
    assert refused.status_code == 404
    assert refused.json()["details"]["field"] == "items.1.task"
    for bad, field in (
        ({}, "items"),
        ({"items": []}, "items"),
        ({"items": [5]}, "items.0"),
        ({"items": [{"task": 5}]}, "items.0.task"),
        ({"items": [{"task": "managed.echo"}] * 1001}, "runCount"),
        ({"items": [{"task": "managed.echo"}], "dependentAttempt": "x"}, "dependentAttempt"),
        ({"items": [{"task": "managed.echo", "options": {"x": 1}}]}, "items.0.options.x"),
    ):
        answer = ada.post("v1/tasks/batch", bad)
        assert (answer.status_code, answer.json()["details"]) == (400, {"field": field})
    assert Run.objects.count() == count
    assert not Batch.objects.filter(sealed_at=None).exists()


def test_a_batch_of_somebody_else_is_not_there(ada, bo, staff):
    batch = create(ada, 1)["id"]
    for answer in (
        bo.get(f"v2/batches/{batch}"),
        bo.get(f"v1/batches/{batch}"),
        bo.get(f"v1/batches/{batch}/results"),
        bo.lines(batch, items(1)),
        ada.get("v1/batches/batch_x%00"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert not Run.objects.exists()
    assert staff.get(f"v1/batches/{batch}").status_code == 200


def test_a_thousand_items_take_well_under_a_second(ada):
    batch = create(ada, 1000)["id"]
    sent = items(1000, tags=["many"])
    began = time.perf_counter()
    answer = ada.lines(batch, sent).json()
    took = time.perf_counter() - began
    assert (answer["itemsAccepted"], answer["sealed"]) == (1000, True)
    assert Run.objects.filter(source=batch).count() == 1000
    print(f"1,000 items: {took:.3f} s")
    assert took < 2


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ("\0", "text/plain"),
        ("\ud800", "text/plain"),
        ("\0", "application/super+json"),
        ("{}", "application/\0"),
        (
            '{"json":{"\\u0000":null},"meta":{"referentialEqualities":[["\\u0000\\ud800"]]}}',
            "application/super+json",
        ),
        ("parcel_\0", "application/store"),
    ],
)
def test_no_payload_breaks_more_than_its_item(ada, payload, kind):
    batch = create(ada, 2)["id"]
    sent = items(2)
    sent[0] |= {"payload": payload, "options": {"payloadType": kind}}
    assert ada.lines(batch, sent).json()["sealed"] is True
    shown = state(ada, batch)
    assert ([error["index"] for error in shown["processing"]["errors"]], len(shown["runs"])) == (
        [0],
        1,
    )
    one = ada.post(
        "v1/tasks/managed.echo/trigger", {"payload": payload, "options": {"payloadType": kind}}
    )
    assert one.status_code in (400, 404)
    assert one.json()["error"]
