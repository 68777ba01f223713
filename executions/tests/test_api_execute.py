"""Starting workflows over HTTP, and waiting for what they come to."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
import time

import pytest
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.db import connection
from django.utils.module_loading import import_string

from executions import runs, tokens
from executions.api.serializers import workflows
from executions.inspection import run_ends
from executions.inspection.run_ends import watch
from executions.models import IdempotencyKey, Run
from executions.tests.callers import Caller
from executions.tests.conftest import eventually, until_status
from executions.tests.flows import flow
from executions.tests.people import REVIEW, SUM, person

SLOW = flow(
    {"a": ("wait", {"waitType": "duration", "durationValue": 1, "durationUnit": "seconds"})}
)
PATH = "workflows/execute"


@pytest.fixture
def ada(transactional_db):
    """A caller who may do everything in a workspace."""
    yield Caller(person("ada"))
    # Nobody waits any more, and the thread that looked for them ends.
    eventually(lambda: len(watch) == 0 and watch._thread is None)


def execute(caller, definition, **more):
    """What the inline execute answers: its status and its data."""
    answer = caller.post(PATH, {"workflowDefinition": definition, **more})
    assert answer.json()["success"] is True
    return answer.status_code, answer.json()["data"]


# ---- the answer ---------------------------------------------------------------------------------


def test_a_run_that_ends_in_time_is_answered_with_all_it_came_to(ada, executor):
    status, data = execute(ada, SUM, inputs={"a": 2, "b": 3}, wait=10)
    assert status == 200
    run_id = data.pop("executionId")
    assert data == {
        "status": "COMPLETED",
        "outputs": {"sum": 5},
        "error": None,
        "nodes": {
            "add": {"status": "completed", "attempts": 1, "output": 5, "error": None},
            "end": {"status": "completed", "attempts": 1, "output": {"sum": 5}, "error": None},
        },
    }
    assert runs.retrieve(run_id).status == "COMPLETED"


def test_a_run_that_fails_is_a_success_of_the_request(ada, executor):
    definition = flow({"a": ("llm", {"retry": {"maxAttempts": 2, "minTimeoutMs": 1}}), "b": "noop"})
    definition["edges"] = [{"id": "e", "source": "a", "target": "b"}]
    status, data = execute(ada, definition, pins={"a": {"error": "no luck"}}, wait=10)
    assert (status, data["status"], data["outputs"]) == (200, "FAILED", {})
    assert "no luck" in data["error"]
    assert data["nodes"]["a"] == {
        "status": "failed", "attempts": 2, "output": None,
        "error": {"message": "no luck", "type": "PinnedError"},
    }  # fmt: skip
    assert data["nodes"]["b"] == {
        "status": "skipped", "attempts": 0, "output": None, "error": None,
    }  # fmt: skip


def test_a_run_that_was_cancelled_meanwhile_says_so(ada, executor):
    asked = []

    def cancel():
        run = eventually(lambda: Run.objects.filter(status="WAITING").first())
        asked.append(runs.cancel(run.id, reason="Enough."))
        connection.close()

    thread = threading.Thread(target=cancel)
    thread.start()
    status, data = execute(ada, REVIEW, wait=20)
    thread.join()
    assert (status, data["status"], data["error"]) == (200, "CANCELED", "Enough.")
    assert data["outputs"] is None
    assert (data["nodes"]["ask"]["status"], data["nodes"]["end"]["status"]) == (
        "stopped", "not_run",
    )  # fmt: skip


def test_a_run_that_does_not_end_in_time_is_answered_with_its_id(ada, executor):
    began = time.monotonic()
    status, data = execute(ada, REVIEW, wait=0.6)
    assert 0.6 <= time.monotonic() - began < 5
    assert status == 202
    assert data == {"executionId": data["executionId"], "status": "WAITING"}
    assert runs.retrieve(data["executionId"]).status == "WAITING"


def test_without_a_wait_the_answer_comes_at_once(ada):
    status, data = execute(ada, SUM)
    assert (status, data["status"]) == (202, "QUEUED")


@pytest.mark.parametrize("wait", [-1, "soon", "nan", "1e999", float("nan"), [1]])
def test_a_wait_is_a_number_of_seconds(ada, wait):
    answer = ada.send(PATH, json.dumps({"workflowDefinition": SUM, "wait": wait}))
    assert answer.status_code == 400
    assert not Run.objects.exists()


def test_a_wait_has_an_end_however_long_it_is_to_be(ada, executor, monkeypatch):
    monkeypatch.setattr(workflows, "MAX_WAIT", 0.3)
    assert execute(ada, REVIEW, wait=1e9)[0] == 202


def test_a_stored_workflow_is_run_and_waited_for_in_the_same_way(ada, executor):
    stored = ada.post("workflows", {"name": "Sum", "definition": SUM}).json()["data"]
    body = {"inputs": {"a": 2, "b": 3}, "wait": 10}
    answer = ada.post(f"workflows/{stored['id']}/execute", body)
    data = answer.json()["data"]
    assert (answer.status_code, data["outputs"]) == (200, {"sum": 5})
    assert data["nodes"]["add"] == {
        "status": "completed", "attempts": 1, "output": 5, "error": None,
    }  # fmt: skip
    assert Run.objects.get(pk=data["executionId"]).definition_id == stored["versionId"]


# ---- options ------------------------------------------------------------------------------------


def test_options_reach_the_run(ada):
    _, data = execute(ada, SUM, tags=["a", "b"], metadata={"who": "me"}, delay="1h")
    run = runs.retrieve(data["executionId"])
    assert (run.status, run.tags, run.owner) == ("DELAYED", ["a", "b"], ada.user)
    assert run.data.metadata == {"who": "me"}
    assert abs((run.wake_at - run.created_at).total_seconds() - 3600) < 5
    _, data = execute(ada, SUM, delay="2031-02-03T04:05:06Z")
    assert runs.retrieve(data["executionId"]).wake_at.isoformat() == "2031-02-03T04:05:06+00:00"


def test_an_idempotency_key_is_one_run_also_for_who_waits(ada, executor):
    answers = [
        execute(ada, SUM, inputs={"a": 1, "b": n}, idempotencyKey="k", wait=10) for n in (1, 2)
    ]
    assert answers[0] == answers[1]
    assert answers[0][1]["outputs"] == {"sum": 2}
    # Another workspace has keys of its own.
    _, other = execute(Caller(person("bo")), SUM, idempotencyKey="k")
    assert other["executionId"] != answers[0][1]["executionId"]
    assert set(IdempotencyKey.objects.values_list("scope", flat=True)) >= {ada.workspace}


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"tags": ["t"] * 11}, "tags"),
        ({"tags": ["t" * 129]}, "tags"),
        ({"metadata": [1]}, "metadata"),
        ({"delay": "whenever"}, "delay"),
        ({"delay": "2031-02-30T04:05:06Z"}, "delay"),
        ({"delay": "0001-01-01T00:00:00Z"}, "delay"),
        ({"delay": "-5"}, "delay"),
        ({"delay": "nan"}, "delay"),
        ({"idempotencyKey": "k" * 2049}, "idempotencyKey"),
        ({"idempotencyKey": "a\x01b"}, "idempotency_key"),
        ({"pins": {"add": {"handle": 1}}}, "pins.add"),
    ],
)
def test_options_that_do_not_fit_are_refused_by_name(ada, more, field):
    answer = ada.post(PATH, {"workflowDefinition": SUM, **more})
    assert answer.status_code == 400
    details = answer.json()["details"]
    assert field in (details.get("field"), *details), details
    assert not Run.objects.exists()


# ---- many who wait ------------------------------------------------------------------------------


def request(caller, body):
    """A request to the inline execute, as a server hands it on."""
    text = json.dumps(body).encode()
    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "path": f"/api/{PATH}",
        "query_string": b"", "scheme": "http", "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
        "headers": [
            (b"host", b"127.0.0.1"), (b"content-type", b"application/json"),
            (b"content-length", str(len(text)).encode()),
            (b"authorization", f"Bearer {caller.key}".encode()),
        ],
    }  # fmt: skip
    site = import_string(settings.ASGI_APPLICATION)
    return ApplicationCommunicator(site, scope), text


async def answered(communicator, text, *, seconds):
    """The status and the body of the answer."""
    await communicator.send_input({"type": "http.request", "body": text, "more_body": False})
    start = await communicator.receive_output(seconds)
    body = b""
    while True:
        part = await communicator.receive_output(seconds)
        body += part["body"]
        if not part.get("more_body"):
            break
    await communicator.wait()
    return start["status"], json.loads(body)


def connections_held():
    """How many connections of Django there are, beside the one that asks."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND application_name NOT LIKE 'flowmaestro%%'"
        )
        return cursor.fetchone()[0]


def test_forty_requests_wait_on_one_connection_and_each_gets_its_own_outcome(ada, executor):
    many, held = 40, []

    async def go():
        sent = []
        for number in range(many):
            communicator, text = request(
                ada, {"workflowDefinition": REVIEW, "inputs": {"name": str(number)}, "wait": 30}
            )
            sent.append(asyncio.ensure_future(answered(communicator, text, seconds=40)))
        finisher = asyncio.to_thread(answer_all)
        return await asyncio.gather(finisher, *sent)

    def all_wait():
        held.append(connections_held())
        return len(watch) == many and Run.objects.filter(status="WAITING").count() == many

    def answer_all():
        try:
            eventually(all_wait, seconds=30)
            # The watch, the ticker and this thread; no request.
            eventually(lambda: connections_held() <= 3)
            for run in Run.objects.filter(status="WAITING").order_by("?"):
                (token,) = run.tokens.all()
                tokens.complete(token.id, {"response": 3, "variableName": "count"})
        finally:
            connection.close()

    _, *answers = asyncio.run(go())
    assert [status for status, _ in answers] == [200] * many
    bodies = [body["data"] for _, body in answers]
    assert len({body["executionId"] for body in bodies}) == many
    assert all(body["outputs"] == {"count": 3} for body in bodies)
    # Nor do those that begin at one moment take as many connections as they are.
    assert max(held) <= settings.FLOWMAESTRO.WEB_THREADS + 8 < many


def test_beyond_the_limit_nobody_waits(ada, executor, settings):
    settings.FLOWMAESTRO = dataclasses.replace(settings.FLOWMAESTRO, WAITING_REQUESTS=1)

    async def go():
        first, text = request(ada, {"workflowDefinition": SLOW, "wait": 30})
        waiting = asyncio.ensure_future(answered(first, text, seconds=40))
        while not len(watch):
            await asyncio.sleep(0.01)
        second, text = request(ada, {"workflowDefinition": REVIEW, "wait": 30})
        began = time.monotonic()
        refused = await answered(second, text, seconds=40)
        return refused, time.monotonic() - began, await waiting

    (status, body), took, (first_status, first) = asyncio.run(go())
    assert (status, set(body["data"])) == (202, {"executionId", "status"})
    assert took < 5
    assert (first_status, first["data"]["status"]) == (200, "COMPLETED")


def test_a_client_that_goes_away_leaves_its_place_and_its_run(ada, executor):
    async def go():
        communicator, text = request(ada, {"workflowDefinition": REVIEW, "wait": 60})
        await communicator.send_input({"type": "http.request", "body": text, "more_body": False})
        while not len(watch):
            await asyncio.sleep(0.01)
        await communicator.send_input({"type": "http.disconnect"})
        began = time.monotonic()
        while len(watch):
            assert time.monotonic() - began < 5
            await asyncio.sleep(0.01)
        await communicator.wait(5)

    asyncio.run(go())
    until_status(Run.objects.get().id, "WAITING")


# ---- the watch itself ---------------------------------------------------------------------------


def test_the_watch_outlives_an_error_of_the_database(ada, executor, monkeypatch):
    looked, real = [], run_ends._ended

    def broken(ids):
        looked.append(ids)
        if len(looked) == 1:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return real(ids)

    monkeypatch.setattr(run_ends, "_ended", broken)
    run_id = ada.start(SUM, inputs={"a": 1, "b": 1})
    assert asyncio.run(watch.until_ended(run_id, 10)) is True
    assert len(looked) > 1


def test_several_may_wait_for_one_run_and_whoever_gives_up_disturbs_nobody(ada, executor):
    run_id = ada.start(REVIEW)

    async def go():
        patient = [asyncio.ensure_future(watch.until_ended(run_id, 30)) for _ in range(3)]
        impatient = await watch.until_ended(run_id, 0.05)
        gone = asyncio.ensure_future(watch.until_ended(run_id, 30))
        await asyncio.sleep(0.05)
        gone.cancel()
        await asyncio.to_thread(end)
        return impatient, await asyncio.gather(*patient)

    def end():
        runs.terminate(run_id)
        connection.close()

    assert asyncio.run(go()) == (False, [True, True, True])
