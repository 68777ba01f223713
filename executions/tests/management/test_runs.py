"""One run over HTTP: all that is known of it, and what is done to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from executions import runs
from executions.inspection import run_sources
from executions.models import AuditEntry, Run, RunEvent
from executions.registry import task
from executions.tests.conftest import until_status

LATER = {"delay": "1h"}


@task("managed.parent")
async def parent(payload, ctx):
    """Waits for a child that waits for nothing."""
    ctx.metadata.set("own", 1)
    result = await ctx.trigger_and_wait("managed.child", {"seconds": payload})
    return result.output


@task("managed.child")
async def child(payload, ctx):
    """Sleeps, and may be told things meanwhile."""
    if payload["seconds"]:
        await ctx.sleep(payload["seconds"])
    return {"slept": payload["seconds"]}


def shown(caller, run_id):
    answer = caller.get(f"v3/runs/{run_id}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_a_run_that_completed_shows_what_it_was_given_and_gave(ada, executor):
    run_id = ada.trigger("managed.echo", {"b": 1, "a": [None]}, metadata={"m": 1})
    until_status(run_id, "COMPLETED")
    found = shown(ada, run_id)
    assert (found["status"], found["isCompleted"], found["isSuccess"]) == ("COMPLETED", True, True)
    assert (found["payload"], found["output"]) == ({"b": 1, "a": [None]}, {"b": 1, "a": [None]})
    assert (found["attemptCount"], found["depth"], found["triggerFunction"]) == (1, 0, "trigger")
    assert found["metadata"] == {"m": 1}
    assert found["relatedRuns"] == {"children": []}
    assert not {"error", "schedule", "batchId", "payloadPresignedUrl", "version"} & found.keys()
    assert found["createdAt"] <= found["startedAt"] <= found["finishedAt"]
    assert found["updatedAt"] >= found["startedAt"]
    result = ada.get(f"v1/runs/{run_id}/result").json()
    assert (result["ok"], result["id"]) == (True, run_id)
    assert (result["output"], result["outputType"]) == ('{"b":1,"a":[null]}', "application/json")


def test_a_run_that_failed_shows_why(ada, executor):
    run_id = ada.trigger("managed.fail", 1, maxAttempts=1)
    until_status(run_id, "FAILED")
    found = shown(ada, run_id)
    assert (found["status"], found["isFailed"], found["isSuccess"]) == ("FAILED", True, False)
    assert (found["error"]["name"], found["error"]["message"]) == ("ValueError", "no luck")
    assert "raise ValueError" in found["error"]["stackTrace"]
    assert "output" not in found
    result = ada.get(f"v1/runs/{run_id}/result").json()
    assert (result["ok"], result["error"]["type"]) == (False, "BUILT_IN_ERROR")
    assert result["error"]["name"] == "ValueError"


def test_an_open_run_has_no_result_yet(ada):
    answer = ada.get(f"v1/runs/{ada.trigger('managed.echo', 1)}/result")
    assert answer.status_code == 404
    assert "QUEUED" in answer.json()["error"]


def test_relatives_are_shown_with_their_depth(ada, executor):
    run_id = ada.trigger("managed.parent", 0)
    until_status(run_id, "COMPLETED")
    (below,) = shown(ada, run_id)["relatedRuns"]["children"]
    assert (below["taskIdentifier"], below["depth"]) == ("managed.child", 1)
    assert below["triggerFunction"] == "triggerAndWait"
    found = shown(ada, below["id"])
    assert found["depth"] == 1
    assert found["relatedRuns"]["parent"]["id"] == run_id
    assert found["relatedRuns"]["root"]["depth"] == 0


def test_what_started_a_run_is_told_by_who_knows(ada):
    batch = ada.post("v2/tasks/batch", {"items": [{"task": "managed.echo"}]}).json()["id"]
    (of_batch,) = ada.get(f"v1/batches/{batch}").json()["runs"]
    found = shown(ada, of_batch)
    assert (found["batchId"], found["triggerFunction"]) == (batch, "batchTrigger")

    fired = runs.trigger("managed.echo", owner=ada.user.pk, source="sched_7").id
    assert "schedule" not in shown(ada, fired)
    known = {
        "id": "sched_7",
        "generator": {"type": "CRON", "expression": "* * * * *", "description": ""},
    }
    before = dict(run_sources._describers)
    run_sources.register("sched", lambda ids: {id: known for id in ids})
    try:
        assert shown(ada, fired)["schedule"] == known
    finally:
        run_sources._describers.clear()
        run_sources._describers.update(before)


def test_a_run_is_cancelled_and_one_that_ended_stays(ada, executor):
    run_id = ada.trigger("managed.child", {"seconds": 3600})
    until_status(run_id, "WAITING")
    answer = ada.post(f"v2/runs/{run_id}/cancel")
    assert (answer.status_code, answer.json()) == (200, {"id": run_id})
    until_status(run_id, "CANCELED")
    found = shown(ada, run_id)
    assert (found["status"], found["isCancelled"], found["isFailed"]) == ("CANCELED", True, True)
    assert ada.get(f"v1/runs/{run_id}/result").json()["error"]["code"] == "TASK_RUN_CANCELLED"
    assert AuditEntry.objects.get(action="run.cancel").subject == run_id
    assert ada.post(f"v2/runs/{run_id}/cancel").status_code == 200

    done = ada.trigger("managed.echo", 1)
    until_status(done, "COMPLETED")
    assert ada.post(f"v2/runs/{done}/cancel").json() == {"id": done}
    assert runs.retrieve(done).status == "COMPLETED"


def test_a_replay_is_the_same_run_again_or_with_other_options(ada):
    run_id = ada.trigger(
        "managed.echo", {"a": 1}, tags=["t"], metadata={"m": 1}, queue={"name": "q"}
    )
    same = runs.retrieve(ada.post(f"v1/runs/{run_id}/replay").json()["id"])
    assert (same.data.payload, same.tags, same.queue) == ({"a": 1}, ["t"], "q")
    assert (same.data.metadata, same.forked_from) == ({"m": 1}, run_id)
    assert (same.workspace_id, same.owner_id) == (ada.workspace, ada.user.pk)
    body = {
        "payload": '{"json":{"at":"2026-01-02T03:04:05.678Z"},"meta":{"values":{"at":["Date"]}}}',
        "payloadType": "application/super+json",
        "tags": ["u"],
        "queue": "other",
        "metadata": {"n": 2},
        "maxAttempts": 7,
        "delay": "1h",
        "idempotencyKey": "k",
    }
    answer = ada.post(f"v1/runs/{run_id}/replay", body).json()
    other = runs.retrieve(answer["id"])
    assert other.data.payload == {"at": "2026-01-02T03:04:05.678Z"}
    assert (other.tags, other.queue, other.max_attempts) == (["u"], "other", 7)
    assert (other.status, other.data.metadata) == ("DELAYED", {"n": 2})
    assert ada.post(f"v1/runs/{run_id}/replay", body).json() == answer
    count = Run.objects.count()
    for wrong, field in (
        ({"nonsense": 1}, "nonsense"),
        ({"version": "1"}, "version"),
        ({"payload": {"a": 1}, "payloadType": "application/super+json"}, "payload"),
        ({"tags": ["x"] * 11}, "tags"),
    ):
        refused = ada.post(f"v1/runs/{run_id}/replay", wrong)
        assert (refused.status_code, refused.json()["details"]) == (400, {"field": field})
    assert Run.objects.count() == count


def test_a_delayed_run_is_moved(ada):
    run_id = ada.trigger("managed.echo", 1, **LATER)
    start = datetime.now(UTC) + timedelta(days=2)
    answer = ada.post(f"v1/runs/{run_id}/reschedule", {"delay": start.isoformat()})
    assert answer.status_code == 200
    assert answer.json()["id"] == run_id
    assert runs.retrieve(run_id).wake_at == start
    ada.post(f"v1/runs/{run_id}/reschedule", {"delay": "30m"})
    assert runs.retrieve(run_id).wake_at < start
    for wrong in ({}, {"delay": 5}, {"delay": "soon"}, {"delay": "1h", "more": 1}):
        assert ada.post(f"v1/runs/{run_id}/reschedule", wrong).status_code == 400
    started = ada.trigger("managed.echo", 1)
    refused = ada.post(f"v1/runs/{started}/reschedule", {"delay": "1h"})
    assert (refused.status_code, refused["x-should-retry"]) == (409, "false")


def test_tags_are_added_up_to_ten(ada, executor):
    run_id = ada.trigger("managed.echo", 1, tags=["a"], **LATER)
    answer = ada.post(f"v1/runs/{run_id}/tags", {"tags": ["b", "a"]})
    assert (answer.status_code, answer.json()["tags"]) == (200, ["a", "b"])
    assert ada.post(f"v1/runs/{run_id}/tags", {"tags": "c"}).json()["tags"] == ["a", "b", "c"]
    assert RunEvent.objects.filter(run=run_id, type="run.tagged").count() == 2
    full = ada.post(f"v1/runs/{run_id}/tags", {"tags": [str(number) for number in range(8)]})
    assert (full.status_code, full.json()["code"]) == (422, "too_many_tags")
    for wrong in ({}, {"tags": 5}, {"tags": [""]}, {"tags": [5]}, {"tags": ["x" * 129]}):
        assert ada.post(f"v1/runs/{run_id}/tags", wrong).status_code == 400
    assert runs.retrieve(run_id).tags == ["a", "b", "c"]

    done = ada.trigger("managed.echo", 1)
    last = until_status(done, "COMPLETED").event_seq
    assert ada.post(f"v1/runs/{done}/tags", {"tags": "late"}).status_code == 200
    run = runs.retrieve(done)
    assert (run.tags, run.event_seq) == (["late"], last)


def test_metadata_is_replaced_and_changed_piece_by_piece(ada):
    run_id = ada.trigger("managed.echo", 1, metadata={"a": 1, "list": [1]}, **LATER)
    path = f"v1/runs/{run_id}/metadata"
    body = {
        "operations": [
            {"type": "set", "key": "b", "value": {"c": [1]}},
            {"type": "increment", "key": "a", "value": 2},
            {"type": "append", "key": "list", "value": 2},
            {"type": "remove", "key": "list", "value": 1},
            {"type": "set", "key": "$.b.d.e", "value": "deep"},
            {"type": "append", "key": "$.b.c", "value": 2},
            {"type": "delete", "key": "nothing"},
        ]
    }
    answer = ada.put(path, body)
    expected = {"a": 3, "list": [2], "b": {"c": [1, 2], "d": {"e": "deep"}}}
    assert (answer.status_code, answer.json()) == (200, {"metadata": expected})
    assert ada.get(path).json() == {"metadata": expected}
    events = RunEvent.objects.filter(run=run_id, type="metadata")
    assert [event.data["op"] for event in events][:2] == ["set", "increment"]
    assert [event.seq for event in RunEvent.objects.filter(run=run_id)] == list(range(1, 9))
    assert ada.put(path, {"metadata": {"new": 1}}).json() == {"metadata": {"new": 1}}
    update = {"operations": [{"type": "update", "value": {"x": 1}}]}
    assert ada.put(path, update).json() == {"metadata": {"x": 1}}


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": [1]},
        {"operations": {}},
        {"operations": [5]},
        {"operations": [{"type": "explode", "key": "a"}]},
        {"operations": [{"type": "set", "key": "", "value": 1}]},
        {"operations": [{"type": "set", "key": "a"}]},
        {"operations": [{"type": "set", "key": "$." + "a." * 40 + "a", "value": 1}]},
        {"operations": [{"type": "increment", "key": "a", "value": "1"}]},
        {"operations": [{"type": "update", "value": 1}]},
        {"parentOperations": [{"type": "set"}]},
        {"nonsense": 1},
        {"metadata": {"a": "x" * 300_000}},
        {"metadata": {"a": "\0"}},
    ],
)
def test_metadata_that_cannot_be_is_refused_and_nothing_changes(ada, body):
    run_id = ada.trigger("managed.echo", 1, metadata={"a": 1}, **LATER)
    answer = ada.put(f"v1/runs/{run_id}/metadata", body)
    assert answer.status_code in (400, 413), answer.content
    run = runs.retrieve(run_id)
    assert (run.data.metadata, run.event_seq) == ({"a": 1}, 1)


def test_metadata_of_parent_and_root_is_changed_through_the_child(ada, executor):
    top = ada.trigger("managed.parent", 3600)
    below = until_status_of_child(top)
    body = {
        "operations": [{"type": "set", "key": "mine", "value": 1}],
        "parentOperations": [{"type": "append", "key": "log", "value": "p"}],
        "rootOperations": [{"type": "append", "key": "log", "value": "r"}],
    }
    assert ada.put(f"v1/runs/{below}/metadata", body).json() == {"metadata": {"mine": 1}}
    assert runs.retrieve(top).data.metadata == {"own": 1, "log": ["p", "r"]}
    runs.terminate(top)
    assert ada.put(f"v1/runs/{top}/metadata", {"metadata": {}}).status_code == 409


def until_status_of_child(run_id):
    until_status(run_id, "WAITING")
    below = Run.objects.get(parent=run_id).id
    until_status(below, "WAITING")
    return below


def test_a_trace_has_a_span_for_each_step_and_child(ada, executor):
    run_id = ada.trigger("managed.parent", 0)
    until_status(run_id, "COMPLETED")
    trace = ada.get(f"v1/runs/{run_id}/trace").json()["trace"]
    root = trace["rootSpan"]
    assert (trace["traceId"], root["runId"], root["data"]["taskSlug"]) == (
        run_id,
        run_id,
        "managed.parent",
    )
    (step,) = root["children"]
    (below,) = step["children"]
    assert (below["data"]["message"], below["children"]) == ("managed.child", [])
    assert (root["data"]["isPartial"], root["data"]["isError"]) == (False, False)
    assert root["data"]["duration"] >= 0

    span = ada.get(f"v1/runs/{run_id}/spans/{step['id']}").json()
    assert (span["spanId"], span["parentId"], span["runId"]) == (step["id"], root["id"], run_id)
    assert [entry["runId"] for entry in span["triggeredRuns"]] == [below["runId"]]
    own = ada.get(f"v1/runs/{run_id}/spans/{root['id']}").json()
    assert own["parentId"] is None
    assert ada.get(f"v1/runs/{run_id}/spans/0000").status_code == 404


def test_a_trace_is_read_page_by_page(ada, executor):
    run_id = ada.trigger("managed.steps", 5)
    until_status(run_id, "COMPLETED")
    seen, after = [], None
    while True:
        query = {"page[size]": 2} | ({} if after is None else {"page[after]": after})
        page = ada.get(f"v1/runs/{run_id}/trace", **query).json()
        seen += page["data"]
        after = page["pagination"].get("next")
        if after is None:
            break
    assert [span["message"] for span in seen] == ["managed.steps", *(f"step {n}" for n in range(5))]
    assert len({span["id"] for span in seen}) == 6
    assert ada.get(f"v1/runs/{run_id}/trace", **{"page[after]": "!"}).status_code == 400


@task("managed.steps")
async def steps(payload, ctx):
    """Takes so many steps."""
    for number in range(payload):
        await ctx.step(f"step {number}", int, number)


def test_the_log_is_read_with_a_number(ada):
    run_id = ada.trigger("managed.echo", 1)
    (event,) = ada.get(f"v1/runs/{run_id}/events").json()["events"]
    assert (event["seq"], event["type"]) == (1, "run.queued")
    assert ada.get(f"v1/runs/{run_id}/events", after=1).json() == {"events": []}
    assert ada.get(f"v1/runs/{run_id}/events", after="x").status_code == 400


ROUTES: list[tuple[str, str, Any]] = [
    ("get", "v3/runs/{}", None),
    ("get", "v1/runs/{}/result", None),
    ("get", "v1/runs/{}/trace", None),
    ("get", "v1/runs/{}/spans/0", None),
    ("get", "v1/runs/{}/events", None),
    ("get", "v1/runs/{}/metadata", None),
    ("put", "v1/runs/{}/metadata", {"metadata": {}}),
    ("post", "v2/runs/{}/cancel", {}),
    ("post", "v1/runs/{}/replay", {}),
    ("post", "v1/runs/{}/reschedule", {"delay": "1h"}),
    ("post", "v1/runs/{}/tags", {"tags": "x"}),
]


@pytest.mark.parametrize(("method", "route", "body"), ROUTES)
def test_a_run_of_somebody_else_is_not_there(ada, bo, method, route, body):
    theirs = bo.trigger("managed.echo", 1, **LATER)
    nobodys = runs.trigger("managed.echo", 1, delay=3600).id
    for run_id in (theirs, nobodys, "run_0", "x%00y", "run_" + "z" * 26):
        more = () if body is None else (body,)
        answer = getattr(ada, method)(route.format(run_id), *more)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), run_id
    assert Run.objects.count() == 2
    assert runs.retrieve(theirs).status == "DELAYED"


def test_relatives_in_other_workspaces_are_not_shown(ada, bo, executor):
    run_id = ada.trigger("managed.parent", 0)
    until_status(run_id, "COMPLETED")
    Run.objects.filter(parent=run_id).update(workspace=bo.workspace)
    assert shown(ada, run_id)["relatedRuns"] == {"children": []}
