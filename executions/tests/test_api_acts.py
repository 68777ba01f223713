"""What is done to executions over HTTP: end, hold, repeat, compare and answer them."""

from __future__ import annotations

import pytest

from executions import runs
from executions.builtin.user_input import user_input
from executions.inspection import comparison
from executions.models import AuditEntry, Run, WaitToken
from executions.registry import task
from executions.rules.retry import Retry
from executions.tests.callers import Caller
from executions.tests.conftest import eventually, until_status
from executions.tests.flows import flow
from executions.tests.people import REVIEW, SUM, person, until_asked

CHAIN = flow(
    {
        "first": ("transform", {"operation": "custom", "expression": "n + 1"}),
        "big": ("conditional", {"leftValue": "{{first}}", "operator": ">", "rightValue": "10"}),
        "yes": ("output", {"outputName": "said", "value": "big {{first}}"}),
        "no": ("output", {"outputName": "said", "value": "small {{first}}"}),
    },
    "first>big",
    "big:true>yes",
    "big:false>no",
)
_doubled: list[int] = []


@task("acts.steps", retry=Retry(max_attempts=1))
async def steps(payload, ctx):
    """Three steps, each from the one before."""
    first = await ctx.step("first", _double, payload["n"])
    second = await ctx.step("second", _double, first)
    return await ctx.step("third", _double, second)


def _double(number):
    _doubled.append(number)
    return number * 2


@task("acts.asks")
async def asks(payload, ctx):
    """Has another run ask a person."""
    return await ctx.trigger_and_wait(user_input, {"prompt": "Go?"})


@pytest.fixture
def ada(transactional_db):
    """A caller who may do everything in a workspace."""
    return Caller(person("ada"))


def done(caller, act, run_id, **body):
    """The status and the data of an answer."""
    answer = caller.post(f"executions/{run_id}/{act}", body)
    return answer.status_code, answer.json().get("data") or answer.json()["code"]


def ended(caller, definition, **more):
    """The id of a run that has ended."""
    run_id = caller.start(definition, **more)
    until_status(run_id, "COMPLETED", "FAILED")
    return run_id


# ---- end and hold -------------------------------------------------------------------------------


def test_an_execution_is_held_and_goes_on(ada, executor):
    run_id = ada.start(REVIEW)
    until_asked(run_id)
    status, data = done(ada, "pause", run_id, reason="Later.")
    assert (status, data["executionId"], data["status"]) == (200, run_id, "PAUSED")
    assert done(ada, "pause", run_id) == (409, "conflict")
    status, data = done(ada, "resume", run_id)
    assert (status, data["isFinal"]) == (200, False)
    assert done(ada, "resume", run_id)[0] == 409
    until_asked(run_id)
    ada.post(f"executions/{run_id}/submit-response", {"response": 2})
    until_status(run_id, "COMPLETED")


def test_an_execution_is_ended_at_once(ada, executor):
    run_id = ada.start(REVIEW)
    until_asked(run_id)
    status, data = done(ada, "terminate", run_id)
    assert (status, data["status"], data["isFinal"]) == (200, "CANCELED", True)
    assert "Terminated by ada" in data["error"]
    for act in ("terminate", "cancel", "pause", "resume", "release"):
        assert done(ada, act, run_id) == (409, "conflict")


def test_an_execution_that_needs_attention_is_queued_again(ada):
    run_id = ada.start(SUM)
    assert done(ada, "release", run_id)[0] == 409
    Run.objects.filter(pk=run_id).update(status="NEEDS_ATTENTION")
    status, data = done(ada, "release", run_id)
    assert (status, data["status"]) == (200, "QUEUED")


def test_each_act_is_in_the_audit_log_with_who_did_it_and_why(ada, executor):
    run_id = ada.start(REVIEW)
    until_asked(run_id)
    done(ada, "pause", run_id, reason="One.")
    done(ada, "resume", run_id, reason="Two.")
    until_asked(run_id)
    token = WaitToken.objects.get(run_id=run_id)
    done(ada, "submit-response", run_id, response=2, reason="Three.")
    until_status(run_id, "COMPLETED")
    done(ada, "replay", run_id, reason="Four.")
    other = ada.start(SUM, delay="1h")
    done(ada, "cancel", other, reason="Five.")
    found = AuditEntry.objects.order_by("number").values_list("action", "subject", "reason")
    assert list(found) == [
        ("run.pause", run_id, "One."),
        ("run.resume", run_id, "Two."),
        ("token.complete", token.id, "Three."),
        ("run.replay", run_id, "Four."),
        ("run.cancel", other, "Five."),
    ]
    assert set(AuditEntry.objects.values_list("user_id", flat=True)) == {ada.user.pk}


def test_a_reason_that_is_too_long_is_refused_and_nothing_is_done(ada):
    run_id = ada.start(SUM)
    for act in ("cancel", "terminate", "pause", "replay"):
        assert done(ada, act, run_id, reason="r" * 2001) == (400, "invalid")
    assert runs.retrieve(run_id).status == "QUEUED"


# ---- repeat -------------------------------------------------------------------------------------


def test_a_replay_is_a_new_execution_of_the_same_or_another_payload(ada, executor):
    old = ended(ada, SUM, inputs={"a": 1, "b": 1})
    status, data = done(ada, "replay", old)
    assert (status, data["forkedFrom"]) == (202, old)
    assert until_status(data["executionId"], "COMPLETED").output["outputs"] == {"sum": 2}
    payload = {"workflowDefinition": SUM, "inputs": {"a": 5, "b": 5}}
    _, data = done(ada, "replay", old, payload=payload)
    run = until_status(data["executionId"], "COMPLETED")
    assert (run.output["outputs"], run.workspace_id) == ({"sum": 10}, ada.workspace)
    assert ada.data(f"executions/{run.id}")["inputs"] == {"a": 5, "b": 5}


def test_null_is_a_payload_too(ada, executor):
    run_id = runs.trigger("user-input", {"prompt": "Go?"}, owner=ada.user.pk).id
    _, data = done(ada, "replay", run_id, payload=None)
    assert runs.retrieve(data["executionId"]).data.payload is None


def test_a_fork_goes_on_from_a_step_with_edited_outputs(ada, executor):
    old = runs.trigger("acts.steps", {"n": 1}, owner=ada.user.pk).id
    until_status(old, "COMPLETED")
    _doubled.clear()
    status, data = done(ada, "fork", old, fromStep="third", outputs={"second": 100})
    assert status == 202
    assert until_status(data["executionId"], "COMPLETED").output == 200
    assert _doubled == [100]


def test_a_dry_run_says_what_would_become_of_each_step_and_does_nothing(ada, executor):
    old = runs.trigger("acts.steps", {"n": 1}, owner=ada.user.pk).id
    until_status(old, "COMPLETED")
    status, data = done(ada, "fork", old, outputs={"second": 7}, dryRun=True)
    assert (status, data) == (
        200, {"takenOver": ["first"], "edited": ["second"], "redone": ["third"], "ahead": []},
    )  # fmt: skip
    assert Run.objects.count() == 1
    assert not AuditEntry.objects.exists()


def test_a_workflow_is_forked_at_a_node(ada, executor):
    old = ended(ada, CHAIN, inputs={"n": 1})
    _, data = done(ada, "fork", old, fromNode="big")
    run = until_status(data["executionId"], "COMPLETED")
    assert run.output["outputs"] == {"said": "small 2"}
    kept = {step.key: step.run_attempt for step in runs.steps(run.id)}
    assert kept["first/run"] == 1
    _, plan = done(ada, "fork", old, fromNode="big", dryRun=True)
    assert (plan["takenOver"], plan["redone"][0]) == (["first/run"], "big/run")


@pytest.mark.parametrize(
    ("outputs", "said"),
    [({"first": 41}, "big 41"), ({"big": {"result": True}}, "big 2"), ({"no": {"said": 1}}, 1)],
)
def test_a_nodes_output_is_edited_as_the_node_gives_it(ada, executor, outputs, said):
    old = ended(ada, CHAIN, inputs={"n": 1})
    status, data = done(ada, "fork", old, outputs=outputs)
    assert status == 202, data
    run = until_status(data["executionId"], "COMPLETED")
    assert run.output["outputs"] == {"said": said}
    (node,) = outputs
    assert run.output["nodes"][node]["output"] == outputs[node]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "fromStep"),
        ({"fromStep": "first/run", "fromNode": "first"}, 400, "fromNode"),
        ({"fromStep": "nothing"}, 404, "step"),
        ({"fromNode": "nothing"}, 404, "fromNode"),
        ({"outputs": {"nothing": 1}}, 404, "outputs.nothing"),
        ({"outputs": [1]}, 400, "outputs"),
        ({"outputs": {"first": "x" * 1_000_001}}, 400, "outputs.first"),
        ({"fromStep": "a\0b"}, 400, "fromStep"),
        ({"outputs": {"first": "\0"}}, 400, "outputs.first/run"),
    ],
)
def test_a_fork_that_is_none_is_refused_by_field(ada, executor, body, status, field):
    old = ended(ada, CHAIN, inputs={"n": 1})
    answer = ada.post(f"executions/{old}/fork", body)
    assert answer.status_code == status, answer.content
    details = answer.json()["details"]
    assert field in (details.get("field"), *details), details
    assert Run.objects.count() == 1


def test_the_output_of_a_node_that_waits_is_edited_by_its_steps(ada, executor):
    old = ada.start(REVIEW)
    until_asked(old)
    ada.post(f"executions/{old}/submit-response", {"response": 2})
    until_status(old, "COMPLETED")
    refused = ada.post(f"executions/{old}/fork", {"outputs": {"ask": {"count": 4}}})
    assert refused.status_code == 400
    (wait,) = (step["key"] for step in ada.data(f"executions/{old}/steps")["items"]
               if step["kind"] == "wait")  # fmt: skip
    assert wait in refused.json()["error"]
    outcome = {"ok": True, "output": {"response": 4, "variableName": "count"}}
    _, data = done(ada, "fork", old, outputs={wait: outcome})
    assert until_status(data["executionId"], "COMPLETED").output["outputs"] == {"count": 4}


def test_two_executions_are_compared(ada, executor):
    left, right = (ended(ada, CHAIN, inputs={"n": n}) for n in (1, 20))
    found = ada.data("executions/compare", left=left, right=right)
    assert (found["left"]["executionId"], found["right"]["executionId"]) == (left, right)
    assert (found["isSame"], found["firstDifference"]) == (False, 2)
    assert {"payload", "output", "path"} <= set(found["differsIn"])
    by_key = {step["key"]: step for step in found["steps"]}
    assert by_key["first/run"]["left"]["output"]["output"] == 2
    assert by_key["first/run"]["right"]["output"]["output"] == 21
    assert (by_key["no/run"]["right"], by_key["yes/run"]["left"]) == (None, None)
    assert comparison.compare(left, left).is_same is True
    assert ada.data("executions/compare", left=left, right=left)["isSame"] is True
    assert ada.get("executions/compare", left=left).status_code == 400
    other = Caller(person("bo")).start(SUM)
    assert ada.get("executions/compare", left=left, right=other).status_code == 404


# ---- answer -------------------------------------------------------------------------------------


def test_what_a_person_says_reaches_the_run_that_asks(ada, executor):
    run_id = runs.trigger("user-input", {"prompt": "Go?"}, owner=ada.user.pk).id
    token = eventually(lambda: WaitToken.objects.filter(run_id=run_id).first())
    body = {"userResponse": "yes", "tokenId": token.id}
    status, data = done(ada, "submit-input", run_id, **body)
    assert (status, data) == (
        200, {"executionId": run_id, "tokenId": token.id, "status": "COMPLETED"},
    )  # fmt: skip
    assert WaitToken.objects.get(pk=token.id).output == {"message": "yes"}
    assert until_status(run_id, "COMPLETED").output["ok"] is True
    assert done(ada, "submit-input", run_id, **body) == (409, "token_closed")
    (entry,) = AuditEntry.objects.all()
    assert (entry.action, entry.user_id) == ("token.complete", ada.user.pk)


def test_input_reaches_the_run_that_an_execution_has_started(ada, executor):
    run_id = runs.trigger("acts.asks", owner=ada.user.pk).id
    token = eventually(lambda: WaitToken.objects.exclude(run_id=run_id).first())
    status, _ = done(ada, "submit-input", run_id, userResponse="yes", tokenId=token.id)
    assert status == 200
    until_status(run_id, "COMPLETED")


def test_input_to_a_review_is_its_answer_and_checked_as_such(ada, executor):
    run_id = ada.start(REVIEW)
    (review,) = until_asked(run_id)["reviews"]
    refused = ada.post(
        f"executions/{run_id}/submit-input", {"userResponse": 9, "tokenId": review["tokenId"]}
    )
    assert (refused.status_code, refused.json()["details"]) == (400, {"field": "response"})
    assert done(ada, "submit-input", run_id, userResponse="4", tokenId=review["tokenId"])[0] == 200
    assert until_status(run_id, "COMPLETED").output["outputs"] == {"count": 4}


def test_a_token_of_another_execution_takes_no_input(ada, executor):
    first, second = (
        runs.trigger("user-input", {"prompt": "Go?"}, owner=ada.user.pk).id for _ in range(2)
    )
    token = eventually(lambda: WaitToken.objects.filter(run_id=first).first())
    for other in ("waitpoint_0", token.id, "x\ty"):
        status, code = done(ada, "submit-input", second, userResponse="yes", tokenId=other)
        assert (status, code) == (404, "not_found")
    assert done(ada, "submit-input", first, userResponse="yes")[0] == 400
    assert WaitToken.objects.get(pk=token.id).status == "WAITING"
