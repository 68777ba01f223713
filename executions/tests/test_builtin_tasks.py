"""The built-in tasks: `user-input` asks a person, `long-running` goes on where its last try was."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any
from uuid import uuid4

import pytest

from executions import runs, tokens
from executions.builtin.long_running import Progress, long_running, long_work
from executions.builtin.user_input import user_input
from executions.errors import Invalid, NotFound
from executions.models import WaitToken
from executions.runs import RunFailed
from executions.tests.bodies import until_parked
from executions.tests.conftest import eventually, until_status

tries: defaultdict[str, list[Any]] = defaultdict(list)
go_on = threading.Event()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    tries.clear()
    go_on.clear()


# ---- user-input ---------------------------------------------------------------------------------


def test_user_input_gives_the_answer_and_shows_the_question_while_it_is_open(executor):
    handle = user_input.trigger({"prompt": "Go?", "timeout": "1h"})
    until_parked(executor, handle.id)
    state = runs.query(handle.id)
    token = WaitToken.objects.get(run_id=handle.id)
    assert state["metadata"] == {"waitingForInput": {"prompt": "Go?", "tokenId": token.id}}
    assert state["exposed"] == {"hasReceivedInput": False, "tokenId": token.id}
    assert token.tags == ["user-input"]
    tokens.complete(token.id, {"yes": True})
    assert handle.result(timeout=5) == {"ok": True, "userResponse": {"yes": True}}
    state = runs.query(handle.id)
    assert (state["status"], state["metadata"]) == ("COMPLETED", {"waitingForInput": False})
    assert state["exposed"]["hasReceivedInput"] is True


def test_user_input_waits_five_minutes_and_then_says_that_nothing_came(engine):
    handles = [engine.trigger(user_input, payload) for payload in (None, {}, {"prompt": "Go?"})]
    engine.advance(minutes=4, seconds=59)
    assert {handle.retrieve().status for handle in handles} == {"WAITING"}
    engine.advance(seconds=1)
    for handle in handles:
        run = handle.retrieve()
        assert run.status == "COMPLETED"
        assert run.output == {"ok": False, "error": "No input came within 300 s."}
        state = runs.query(run.id)
        assert state["metadata"] == {"waitingForInput": False}
        assert state["exposed"]["hasReceivedInput"] is False


def test_user_input_waits_as_long_as_it_is_told(engine):
    for timeout, seconds in ((2, 2), ("1h30m", 5400), (0.5, 0.5)):
        handle = engine.trigger(user_input, {"timeout": timeout})
        assert handle.result(timeout=seconds)["ok"] is False
        asked = WaitToken.objects.get(run_id=handle.id)
        assert (asked.timeout_at - asked.created_at).total_seconds() == seconds


def test_an_answer_of_nothing_is_an_answer_and_one_that_comes_too_late_is_none(engine):
    handle = engine.trigger(user_input, {})
    engine.run_until_idle()
    tokens.complete(engine.token(handle).id)
    assert engine.result(handle) == {"ok": True, "userResponse": None}
    late = engine.trigger(user_input, {})
    engine.run_until_idle()
    token = engine.token(late)
    engine.advance(minutes=5)
    with pytest.raises(tokens.TokenClosed):
        tokens.complete(token.id, "late")
    assert engine.result(late)["ok"] is False


def test_the_question_outlives_the_worker(engine):
    handle = engine.trigger(user_input, {"prompt": "Go?"})
    engine.run_until_idle()
    token = engine.token(handle)
    engine.crash()
    engine.advance(minutes=1)
    assert engine.token(handle).id == token.id
    tokens.complete(token.id, "yes")
    assert engine.result(handle) == {"ok": True, "userResponse": "yes"}


def test_user_input_refuses_what_it_cannot_ask_by_the_name_of_the_field(engine):
    for name, value in (("prompt", 7), ("timeout", "soon"), ("timeout", -1), ("timeout", None)):
        with pytest.raises(RunFailed) as failed:
            engine.run(user_input, {name: value})
        assert failed.value.error["field"] == f"payload.{name}"
        assert failed.value.run.attempt == 1


# ---- long-running -------------------------------------------------------------------------------


@long_work("builtin.counts")
def counts(progress: Progress, given: Any) -> Any:
    tries[given["id"]].append((progress.attempt, progress.last))
    begin = (progress.last or {"done": 0})["done"]
    for number in range(begin, given["until"]):
        progress.report({"done": number + 1})
        if progress.attempt <= given.get("failures", 0):
            raise OSError(f"try {progress.attempt}")
    return given["until"]


def long(**given: Any) -> dict[str, Any]:
    return {"work": "builtin.counts", "input": {"id": uuid4().hex, "until": 5, **given}}


def test_long_work_gives_its_result(executor):
    assert long_running.trigger(long()).result(timeout=5) == 5


def test_the_next_try_goes_on_where_the_last_heartbeat_was(engine):
    payload = long(failures=2)
    assert engine.trigger(long_running, payload).result(timeout=60) == 5
    assert tries[payload["input"]["id"]] == [(1, None), (2, {"done": 1}), (3, {"done": 2})]


def test_long_work_has_five_tries_and_fails_with_the_last_error(engine):
    payload = long(failures=9, until=20)
    handle = engine.trigger(long_running, payload)
    engine.advance(minutes=30)
    run = handle.retrieve()
    assert (run.status, run.attempt) == ("FAILED", 1)
    assert "after 5 attempts: OSError: try 5" in run.error["message"]
    assert [attempt for attempt, _ in tries[payload["input"]["id"]]] == [1, 2, 3, 4, 5]


@long_work("builtin.holds")
def holds(progress: Progress, given: Any) -> Any:
    tries[given].append((progress.attempt, progress.last))
    if progress.last is None:
        progress.report({"page": 7})
        go_on.wait(10)
    return progress.last


def test_what_was_reported_outlives_a_worker_that_dies(executors):
    first = executors()
    given = uuid4().hex
    handle = long_running.trigger({"work": "builtin.holds", "input": given})
    (step,) = eventually(lambda: [s for s in runs.steps(handle.id) if s.heartbeat is not None])
    assert (step.kind, step.heartbeat) == ("long-running", {"page": 7})
    first.stop(0)
    executors()
    assert handle.result(timeout=5) == {"page": 7}
    go_on.set()
    assert tries[given] == [(1, None), (1, {"page": 7})]


def test_a_killed_try_leaves_its_report_to_the_next(engine):
    given = uuid4().hex
    handle = engine.trigger(long_running, {"work": "builtin.dies", "input": given})
    deaths.update({"engine": engine, "run": handle.id})
    assert engine.result(handle) == {"page": 3}
    assert tries[given] == [None, {"page": 3}]


deaths: dict[str, Any] = {}


@long_work("builtin.dies")
def dies(progress: Progress, given: Any) -> Any:
    tries[given].append(progress.last)
    if progress.last is None:
        progress.report({"page": 3})
        found = eventually(lambda: [s for s in runs.steps(deaths["run"]) if s.heartbeat])
        assert found[0].heartbeat == {"page": 3}
        deaths["engine"].crash()
    return progress.last


def test_a_cancelled_run_stops_its_work_at_the_next_report(executor):
    handle = long_running.trigger({"work": "builtin.endless", "input": uuid4().hex})
    eventually(lambda: any(step.heartbeat for step in runs.steps(handle.id)))
    runs.cancel(handle.id)
    until_status(handle.id, "CANCELED")
    eventually(lambda: tries["stopped"])


@long_work("builtin.endless")
def endless(progress: Progress, given: Any) -> Any:
    try:
        for number in range(100_000):
            progress.report(number)
            threading.Event().wait(0.01)
    finally:
        tries["stopped"].append(given)


def test_a_stretch_without_a_report_is_kept_alive(monkeypatch):
    """Told by the beats, since nobody has thirty seconds."""
    beats: list[Any] = []

    class Step:
        last_heartbeat = {"page": 1}
        attempt = 2
        is_dead = False

        def heartbeat(self, details: Any) -> None:
            beats.append(details)

    monkeypatch.setattr("executions.builtin.long_running.HEARTBEAT_SECONDS", 0.01)
    step: Any = Step()
    progress = Progress(step)
    beating = threading.Thread(target=progress.keep_alive)
    beating.start()
    eventually(lambda: len(beats) >= 2)
    progress.report({"page": 2})
    eventually(lambda: beats[-1] == {"page": 2} and len(beats) >= 5)
    progress.end()
    beating.join(5)
    assert not beating.is_alive()
    assert beats[:2] == [{"page": 1}, {"page": 1}]


def test_work_that_nobody_registered_fails_at_once_and_is_named(engine):
    payloads: list[dict[str, Any]] = [{"work": "builtin.nowhere"}, {}, {"work": ["x"]}]
    for payload in payloads:
        with pytest.raises(RunFailed) as failed:
            engine.run(long_running, payload)
        error = failed.value.error
        assert (error["code"], error["field"]) == (NotFound.code, "payload.work")
        assert "builtin.counts" in str(error["message"])


def test_work_is_a_plain_function_of_a_name_of_its_own():
    async def work(progress: Progress, given: Any) -> None:
        """Not plain."""

    with pytest.raises(Invalid) as refusal:
        long_work("builtin.async")(work)
    assert refusal.value.field == "work"
    with pytest.raises(Invalid) as refusal:
        long_work("builtin.counts")(holds)
    assert refusal.value.field == "name"
