"""Replays and forks: a new run of an old one, from the start or from a step, edited where asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from executions import runs, tokens
from executions.engine.context import Context, StepFailed
from executions.errors import Invalid, NotFound, TooLarge
from executions.models import Run, WaitToken
from executions.orchestrator import orchestrator
from executions.registry import task
from executions.tests.bodies import AT_ONCE, ONCE, noted, noted_async, ran, until_parked
from executions.tests.conftest import eventually, until_status
from executions.tests.flows import flow


@task("forks.three", retry=ONCE)
async def three(payload, ctx: Context):
    a = await ctx.step("a", noted_async, payload["n"])
    ctx.metadata.set("a", a)
    b = await ctx.step("b", noted, a + 1)
    ctx.metadata.set("b", b)
    c = await ctx.step("c", noted_async, b + 1, pure=True)
    return [a, b, c]


def old_run(payload: Any = None, **options: Any) -> str:
    handle = three.trigger(payload or {"n": 1}, **options)
    assert handle.result(timeout=5) == [1, 2, 3]
    return handle.id


# ---- from the start -----------------------------------------------------------------------------


def test_a_replay_does_everything_anew_with_the_same_payload_and_options(executor):
    old = old_run(tags=["t"], priority=5, concurrency_key="k", metadata={"given": 1}, queue="q")
    handle = runs.replay(old)
    assert handle.result(timeout=5) == [1, 2, 3]
    assert ran[handle.id] == ["a", "b", "c"]
    run = handle.retrieve()
    assert (run.forked_from, run.tags, run.priority) == (old, ["t"], 5)
    assert (run.concurrency_key, run.queue, run.root_id) == ("k", "q", run.id)
    assert run.data.metadata == {"given": 1, "a": 1, "b": 2}


def test_a_replay_may_have_another_payload(executor):
    handle = runs.replay(old_run(), payload={"n": 5})
    assert handle.result(timeout=5) == [5, 6, 7]


# ---- from a step --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "redone"), [("a", ["a", "b", "c"]), ("b", ["b", "c"]), ("c", ["c"])]
)
def test_a_fork_does_a_step_and_all_after_it_anew(executor, step, redone):
    old = old_run()
    handle = runs.replay(old, from_step=step)
    assert handle.result(timeout=5) == [1, 2, 3]
    assert ran[handle.id] == redone
    assert [found.key for found in runs.steps(old)] == ["a", "b", "c"]
    assert handle.retrieve().data.metadata == {"a": 1, "b": 2}


def test_an_edited_output_is_what_the_code_goes_on_with(executor):
    handle = runs.replay(old_run(), outputs={"a": 10})
    assert handle.result(timeout=5) == [10, 11, 12]
    assert ran[handle.id] == ["b", "c"]


def test_an_edited_step_may_lie_before_and_after_the_one_that_is_done_anew(executor):
    old = old_run()
    before = runs.replay(old, from_step="c", outputs={"a": 10})
    assert before.result(timeout=5) == [10, 2, 3]
    assert ran[before.id] == ["c"]
    after = runs.replay(old, from_step="b", outputs={"c": "edited"})
    assert after.result(timeout=5) == [1, 2, "edited"]
    assert ran[after.id] == ["b"]


def test_a_fork_may_have_another_payload_and_keeps_what_was_done(executor):
    handle = runs.replay(old_run(), from_step="b", payload={"n": 100})
    assert handle.result(timeout=5) == [1, 2, 3]
    assert handle.retrieve().data.payload == {"n": 100}


def test_a_fork_of_a_fork_takes_over_what_that_had(executor):
    first = runs.replay(old_run(), outputs={"a": 10})
    first.result(timeout=5)
    second = runs.replay(first.id, from_step="c")
    assert second.result(timeout=5) == [10, 11, 12]
    assert ran[second.id] == ["c"]
    assert second.retrieve().forked_from == first.id


# ---- runs that failed ---------------------------------------------------------------------------


@task("forks.fails", retry=AT_ONCE)
async def fails(payload, ctx: Context):
    a = await ctx.step("a", noted_async, 1)
    try:
        await ctx.step("caught", fail, payload, retry=ONCE)
    except StepFailed:
        await ctx.step("made up for", noted_async)
    given = ctx.attempt if payload == "third" else payload
    return [a, await ctx.step("b", fail, given, retry=ONCE)]


def fail(payload: Any) -> Any:
    noted()
    if payload in (3, "mended"):
        return payload
    raise ValueError("no luck")


def test_a_failed_run_goes_on_from_the_step_that_failed(executor):
    old = until_status(fails.trigger("bad").id, "FAILED")
    assert old.attempt == 3
    handle = runs.replay(old.id, from_step="b", payload="mended")
    assert handle.result(timeout=5) == [1, "mended"]
    assert ran[handle.id] == ["b"]


def test_a_failed_step_may_be_given_an_output(executor):
    old = until_status(fails.trigger("bad").id, "FAILED")
    handle = runs.replay(old.id, outputs={"b": "by hand"})
    assert handle.result(timeout=5) == [1, "by hand"]
    assert ran[handle.id] == []


def test_a_run_that_came_through_in_a_later_attempt_is_forked_as_that_attempt_saw_it(executor):
    old = until_status(fails.trigger("third").id, "COMPLETED")
    assert (old.attempt, old.output) == (3, [1, 3])
    handle = runs.replay(old.id, outputs={"b": "edited"})
    assert handle.result(timeout=5) == [1, "edited"]
    assert (ran[handle.id], handle.retrieve().attempt) == ([], 1)


@task("forks.cleans-up", retry=ONCE)
async def cleans_up(payload, ctx: Context):
    await ctx.step("a", noted_async)
    try:
        answer = await ctx.wait_for_signal("go", key="answer")
    finally:
        await ctx.step("clean-up", noted_async)
    return answer.output


def test_a_cancelled_run_goes_on_without_its_clean_up(executor):
    old = cleans_up.trigger()
    until_parked(executor, old.id)
    runs.cancel(old.id)
    until_status(old.id, "CANCELED")
    handle = runs.replay(old.id, from_step="answer")
    until_parked(executor, handle.id)
    runs.signal(handle.id, "go", 7)
    assert handle.result(timeout=5) == 7
    assert ran[handle.id] == ["clean-up"]


# ---- waits --------------------------------------------------------------------------------------


@task("forks.asks", retry=ONCE)
async def asks(payload, ctx: Context):
    token = await ctx.create_token("ask", timeout="1h", tags=["t"])
    await ctx.step("send", noted_async)
    answer = await ctx.wait_for_token(token)
    signal = await ctx.wait_for_signal("go", key="signal")
    await ctx.sleep(0.01, name="nap")
    await ctx.step("after", noted_async)
    return [token.id, answer.output, signal.output]


def answered(executor: Any) -> str:
    handle = asks.trigger()
    until_parked(executor, handle.id)
    tokens.complete(WaitToken.objects.get(run_id=handle.id).id, "yes")
    runs.signal(handle.id, "go", 1)
    assert handle.result(timeout=5)[1:] == ["yes", 1]
    return handle.id


def test_answers_that_were_seen_are_kept_with_a_token_of_the_forks_own(executor):
    old = answered(executor)
    handle = runs.replay(old, from_step="after")
    token, *rest = handle.result(timeout=5)
    assert (rest, ran[handle.id]) == (["yes", 1], ["after"])
    copy = WaitToken.objects.get(run_id=handle.id)
    assert (copy.id, copy.status, copy.output) == (token, "COMPLETED", "yes")
    assert copy.id != WaitToken.objects.get(run_id=old).id


def test_a_token_whose_answer_is_to_come_anew_is_open_again_for_as_long(executor):
    handle = runs.replay(answered(executor), from_step="ask:wait")
    until_parked(executor, handle.id)
    token = WaitToken.objects.get(run_id=handle.id)
    assert (token.status, token.output, token.tags) == ("WAITING", None, ["t"])
    assert abs((token.timeout_at - token.created_at).total_seconds() - 3600) < 5
    tokens.complete(token.id, "no")
    runs.signal(handle.id, "go", 2)
    assert handle.result(timeout=5) == [token.id, "no", 2]
    assert ran[handle.id] == ["after"]


def test_the_answer_of_a_wait_may_be_edited_whether_it_came_or_not(executor):
    value = {"ok": True, "output": "edited"}
    handle = runs.replay(answered(executor), outputs={"ask:wait": value}, from_step="nap")
    assert handle.result(timeout=5)[1:] == ["edited", 1]
    waiting = asks.trigger()
    until_parked(executor, waiting.id)
    fork = runs.replay(waiting.id, outputs={"ask:wait": value})
    runs.signal(fork.id, "go", 3)
    assert fork.result(timeout=5)[1:] == ["edited", 3]
    assert waiting.retrieve().status == "WAITING"


@task("forks.parent", retry=ONCE)
async def parent(payload, ctx: Context):
    child = await ctx.trigger_and_wait(three, {"n": 1}, name="child")
    await ctx.step("after", noted_async)
    return child.output if child.ok else child.error["message"]


def test_the_outcome_of_children_is_kept_edited_or_brought_about_anew(executor):
    old = parent.trigger()
    assert old.result(timeout=5) == [1, 2, 3]
    kept = runs.replay(old.id, from_step="after")
    assert kept.result(timeout=5) == [1, 2, 3]
    assert not Run.objects.filter(parent_id=kept.id).exists()
    anew = runs.replay(old.id, from_step="child")
    assert anew.result(timeout=5) == [1, 2, 3]
    assert Run.objects.filter(parent_id=anew.id).count() == 1
    error = {"type": "E", "message": "as if it failed"}
    result = {"ok": False, "run_id": "run_x", "status": "FAILED", "error": error}
    edited = runs.replay(old.id, outputs={"child": [result]})
    assert edited.result(timeout=5) == "as if it failed"


# ---- branches and workflows ---------------------------------------------------------------------


@task("forks.branches", retry=ONCE)
async def branches(payload, ctx: Context):
    async def branch(name: str, seconds: float) -> str:
        inside = ctx.branch(name)
        await inside.step("first", asyncio.sleep, seconds)
        await inside.step("second", noted_async)
        return name

    pending = {
        asyncio.ensure_future(branch("slow", 0.15)), asyncio.ensure_future(branch("fast", 0.01)),
    }  # fmt: skip
    order: list[str] = []
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        order += [task.result() for task in done]
    await ctx.step("last", noted_async)
    return order


def test_branches_are_forked_in_the_order_in_which_they_ended(executor):
    old = branches.trigger()
    assert old.result(timeout=5) == ["fast", "slow"]
    kept = runs.replay(old.id, from_step="last")
    assert kept.result(timeout=5) == ["fast", "slow"]
    assert ran[kept.id] == ["last"]
    partly = runs.replay(old.id, from_step="slow/first")
    assert partly.result(timeout=5) == ["fast", "slow"]
    assert ran[partly.id] == ["slow/second", "last"]


def test_a_workflow_is_forked_from_a_node(executor):
    definition = flow(
        {
            "a": ("transform", {"operation": "custom", "expression": "1 + 1"}),
            "b": ("transform", {"operation": "custom", "expression": "a * 10"}),
            "r": ("output", {"outputName": "r", "value": "{{b}}", "format": "json"}),
        },
        "a>b", "b>r",
    )  # fmt: skip
    old = orchestrator.trigger({"workflowDefinition": definition})
    assert old.result(timeout=10)["outputs"] == {"r": 20}
    again = runs.replay(old.id, from_step="b/run")
    assert again.result(timeout=10)["outputs"] == {"r": 20}
    stored = {step.key: step.output for step in runs.steps(old.id)}
    edited = {"a/run": _replaced(stored["a/run"], 2, 7)}
    fork = runs.replay(old.id, outputs=edited)
    assert fork.result(timeout=10)["outputs"] == {"r": 70}


def _replaced(value: Any, old: Any, new: Any) -> Any:
    """The JSON with each `old` in it as `new`."""
    if isinstance(value, dict):
        return {key: _replaced(item, old, new) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, old, new) for item in value]
    return new if value == old and not isinstance(value, bool) else value


# ---- what is refused ----------------------------------------------------------------------------


class Order(BaseModel):
    """A payload that a task declares."""

    number: int


@task("forks.order", retry=ONCE)
async def order(payload: Order, ctx: Context):
    token = await ctx.create_token("ask")
    ctx.patched("change")
    return (await ctx.wait_for_token(token)).output


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"from_step": "nowhere"}, NotFound, "step"),
    ({"outputs": {"nowhere": 1}}, NotFound, "step"),
    ({"outputs": {"ask": 1}}, Invalid, "outputs.ask"),
    ({"outputs": {"patch:change": 1}}, Invalid, "outputs.patch:change"),
    ({"outputs": {"ask:wait": "yes"}}, Invalid, "outputs.ask:wait"),
    ({"outputs": {"ask:wait": {"answer": 1}}}, Invalid, "outputs.ask:wait"),
    ({"outputs": {"ask:wait": float("nan")}}, Invalid, "outputs.ask:wait"),
    ({"outputs": {"ask:wait": "x" * 11_000_000}}, TooLarge, "outputs.ask:wait"),
    ({"payload": {"number": "many"}}, Invalid, "payload.number"),
    ({"payload": {"number": "many"}, "from_step": "ask"}, Invalid, "payload.number"),
]


def test_what_cannot_be_is_refused_by_its_field_and_nothing_is_written(executor):
    old = order.trigger({"number": 1})
    until_parked(executor, old.id)
    for options, kind, field in REFUSED:
        with pytest.raises(kind) as refusal:
            runs.replay(old.id, **options)
        assert getattr(refusal.value, "field", None) == field
    assert Run.objects.count() == 1


def test_a_run_that_is_not_there_cannot_be_replayed(db):
    with pytest.raises(NotFound) as refusal:
        runs.replay("run_nowhere")
    assert refusal.value.field == "run"


def test_a_run_under_way_may_be_forked_while_it_goes_on(executor):
    old = cleans_up.trigger()
    until_parked(executor, old.id)
    handle = runs.replay(old.id, from_step="answer")
    until_parked(executor, handle.id)
    runs.signal(old.id, "go", "old")
    runs.signal(handle.id, "go", "new")
    assert (old.result(timeout=5), handle.result(timeout=5)) == ("old", "new")
    eventually(lambda: ran[handle.id] == ["clean-up"])
