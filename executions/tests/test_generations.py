"""Continuing as new: the same run with a fresh journal; and state declared by `ctx.expose`."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from typing import Any

import pytest
from django.db import connection
from pydantic import BaseModel

from executions import runs, tokens
from executions.engine.context import Context, current_step
from executions.errors import Conflict, Invalid, TooLarge
from executions.models import PastStep, Run, WaitToken
from executions.registry import task
from executions.rules.retry import Retry
from executions.tests.bodies import AT_ONCE, ONCE, Gate, noted_async, ran, until_parked
from executions.tests.conftest import eventually, until_status

calls: defaultdict[str, list[Any]] = defaultdict(list)
gates: dict[str, Gate] = {}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    calls.clear()
    gates.clear()
    gates.update({name: Gate() for name in ("old", "new", "one")})


def types(run_id: str) -> list[str]:
    return [event.type for event in runs.events(run_id)]


# ---- payload, journal, metadata -----------------------------------------------------------------


@task("generations.counts", retry=ONCE)
async def counts(payload, ctx: Context):
    number = await ctx.step("number", noted_async, payload["n"])
    ctx.metadata.increment("sum", number)
    ctx.emit("counted", {"n": number})
    if number < payload["until"]:
        ctx.continue_as_new({**payload, "n": number + 1})
    return ctx.metadata.get("sum")


def noted() -> None:
    ran[current_step().run_id].append(current_step().step)


@task("generations.plain", retry=ONCE)
def plain(payload, ctx):
    ctx.step("number", noted)
    ctx.metadata.increment("sum", payload["n"])
    if payload["n"] < payload["until"]:
        ctx.continue_as_new({**payload, "n": payload["n"] + 1})
    return ctx.metadata.get("sum")


@pytest.mark.parametrize("kind", [counts, plain])
def test_a_run_goes_on_under_its_id_with_a_fresh_journal_and_its_metadata(executor, kind):
    handle = kind.trigger({"n": 1, "until": 4}, metadata={"kept": True})
    assert handle.result(timeout=10) == 10
    run = handle.retrieve()
    assert (run.generation, run.attempt) == (3, 1)
    assert run.data.metadata == {"kept": True, "sum": 10}
    assert run.data.payload == {"n": 4, "until": 4}
    assert [step.key for step in runs.steps(run.id)] == ["number"]
    past = PastStep.objects.filter(run_id=run.id)
    assert [(step.generation, step.key, step.status) for step in past] == [
        (number, "number", "COMPLETED") for number in range(3)
    ]
    assert ran[run.id] == ["number"] * 4
    assert types(run.id).count("run.continued") == 3
    seqs = [event.seq for event in runs.events(run.id)]
    assert seqs == list(range(1, len(seqs) + 1))


def test_two_hundred_generations_leave_a_journal_of_one(executor):
    handle = counts.trigger({"n": 1, "until": 200})
    assert handle.result(timeout=60) == 20_100
    assert handle.retrieve().generation == 199
    assert len(runs.steps(handle.id)) == 1
    assert PastStep.objects.filter(run_id=handle.id).count() == 199


def test_the_attempts_of_each_generation_are_counted_anew(executor):
    handle = fails_first.trigger(1)
    assert handle.result(timeout=10) == ["1.1", "1.2", "2.1", "2.2", "3.1", "3.2"]
    assert handle.retrieve().attempt == 2


@task("generations.fails-first", retry=Retry(max_attempts=2, min_timeout=0, randomize=False))
async def fails_first(payload, ctx: Context):
    calls[ctx.run_id].append(f"{payload}.{ctx.attempt}")
    if ctx.attempt == 1:
        raise ValueError("first")
    if payload < 3:
        ctx.continue_as_new(payload + 1)
    return calls[ctx.run_id]


def test_the_active_time_is_counted_for_each_generation(executor):
    handle = busy.trigger(1, max_duration=0.35)
    assert handle.result(timeout=10) == "done"


@task("generations.busy", retry=ONCE)
async def busy(payload, ctx: Context):
    await ctx.step("work", asyncio.sleep, 0.15)
    if payload < 4:
        ctx.continue_as_new(payload + 1)
    return "done"


# ---- what is left behind ------------------------------------------------------------------------


@task("generations.tokens", retry=ONCE)
async def token_task(payload, ctx: Context):
    token = await ctx.create_token("approval")
    answer = await ctx.wait_for_token(token)
    if payload:
        ctx.continue_as_new(payload - 1)
    return answer.output


def open_token(run_id: str) -> str:
    found = eventually(
        lambda: WaitToken.objects.filter(run_id=run_id, status="WAITING", step_key="approval")
    )
    return found.get().id


def test_tokens_of_the_same_name_are_others_in_each_generation(executor):
    handle = token_task.trigger(2)
    seen = []
    for number in range(3):
        seen.append(open_token(handle.id))
        tokens.complete(seen[-1], number)
    assert handle.result(timeout=5) == 2
    assert len(set(seen)) == 3
    assert all(tokens.retrieve(token).run_id == handle.id for token in seen)


@task("generations.leaves-token", retry=ONCE)
async def leaves_token(payload, ctx: Context):
    if payload == "first":
        await ctx.create_token("approval")
        ctx.continue_as_new("second")
    token = await ctx.create_token("approval")
    answer = await ctx.wait_for_token(token)
    return answer.output


def test_a_token_left_open_is_completed_without_any_harm_to_the_next_generation(executor):
    handle = leaves_token.trigger("first")
    until_parked(executor, handle.id)
    assert handle.retrieve().generation == 1
    old = WaitToken.objects.get(run_id=handle.id, step_key="@0/approval")
    tokens.complete(old.id, "too late")
    until_parked(executor, handle.id)
    tokens.complete(open_token(handle.id), "right")
    assert handle.result(timeout=5) == "right"


@task("generations.signals", retry=ONCE)
async def signals(payload, ctx: Context):
    answer = await ctx.wait_for_signal("go")
    seen = [*payload, answer.output]
    if len(seen) < 3:
        ctx.continue_as_new(seen)
    return seen


def test_unread_signals_are_read_by_the_next_generation_in_their_order(transactional_db, executors):
    handle = signals.trigger([])
    for number in range(3):
        runs.signal(handle.id, "go", number)
    executors()
    assert handle.result(timeout=5) == [0, 1, 2]


@task("generations.child", retry=ONCE)
async def child(payload, ctx: Context):
    return await ctx.step("gate", gates[payload].on_loop, payload)


@task("generations.parent", retry=ONCE)
async def parent(payload, ctx: Context):
    if payload == "old":
        children = ctx.branch("children")
        waiting = asyncio.ensure_future(children.trigger_and_wait(child, "old", name="child"))
        await ctx.wait_for_signal("go")
        waiting.cancel()
        ctx.continue_as_new("new")
    result = await ctx.branch("children").trigger_and_wait(child, "new", name="child")
    return [result.ok, result.output]


def test_a_child_left_open_does_not_answer_for_that_of_the_next_generation(executor):
    handle = parent.trigger("old")
    gates["old"].until_reached()
    runs.signal(handle.id, "go")
    gates["new"].until_reached()
    until_parked(executor, handle.id)
    old, new = Run.objects.filter(parent_id=handle.id).order_by("id")
    gates["old"].open()
    assert runs.Handle(old.id).result(timeout=5) == "old"
    (step,) = [step for step in runs.steps(handle.id) if step.kind == "children"]
    assert (step.pending, step.status) == (1, "WAITING")
    gates["new"].open()
    assert handle.result(timeout=5) == [True, "new"]
    assert runs.retrieve(new.id).status == "COMPLETED"


def test_children_of_an_earlier_generation_are_closed_when_the_run_ends(executor):
    handle = parent.trigger("old")
    gates["old"].until_reached()
    runs.signal(handle.id, "go")
    gates["new"].until_reached()
    gates["new"].open()
    assert handle.result(timeout=5) == [True, "new"]
    old = Run.objects.filter(parent_id=handle.id).order_by("id")[0]
    until_status(old.id, "CANCELED")


# ---- crashes, cancellation, hooks ---------------------------------------------------------------


@pytest.mark.parametrize("point", ["flush.after_commit", "final.after"])
def test_a_worker_that_dies_around_the_commit_neither_loses_nor_repeats_a_generation(
    engine, monkeypatch, point
):
    from executions.engine import failpoints

    handle = engine.trigger(counts, {"n": 1, "until": 5})
    real = failpoints.hit
    died: list[str] = []

    def hit(name: str) -> None:
        real(name)
        worker = engine._worker
        live = worker.hand.get(handle.id)
        if name == point and live is not None and live.ending is not None and len(died) < 3:
            died.append(name)
            worker.die()
            raise asyncio.CancelledError

    monkeypatch.setattr(failpoints, "hit", hit)
    assert engine.result(handle) == 15
    assert died


def test_a_new_generation_that_is_queued_when_the_worker_dies_is_taken_up(engine):
    handle = engine.trigger(counts, {"n": 1, "until": 3})
    engine.crash(after="number")
    assert engine.result(handle) == 6
    assert ran[handle.id] == ["number"] * 3


@task("generations.cancelled", retry=ONCE)
async def cancelled(payload, ctx: Context):
    try:
        await ctx.step("gate", gates["one"].on_loop)
    except asyncio.CancelledError:
        calls[ctx.run_id].append("cancelled")
        ctx.continue_as_new("again")


def test_a_cancelled_run_does_not_escape_by_continuing_as_new(executor):
    handle = cancelled.trigger()
    gates["one"].until_reached()
    runs.cancel(handle.id)
    assert until_status(handle.id, "CANCELED").generation == 0
    assert calls[handle.id] == ["cancelled"]


def test_a_cancel_that_comes_while_a_run_continues_reaches_the_next_generation(
    executor, monkeypatch
):
    from executions.engine import generations

    real = generations.begin
    asked: list[str] = []

    async def cancel_first(conn: Any, payloads: Any) -> None:
        await real(conn, payloads)
        for run_id in payloads:
            asked.append(run_id)
            await conn.execute(
                "UPDATE executions_run SET cancel_requested_at = now(), wakes = wakes + 1 "
                "WHERE id = %s",
                [run_id],
            )

    monkeypatch.setattr(generations, "begin", cancel_first)
    handle = token_task.trigger(1)
    tokens.complete(open_token(handle.id))
    run = until_status(handle.id, "CANCELED")
    assert (asked, run.generation) == ([handle.id], 1)


def test_a_terminate_ends_a_run_of_many_generations(executor):
    handle = forever.trigger(0)
    eventually(lambda: handle.retrieve().generation > 3)
    runs.terminate(handle.id)
    run = until_status(handle.id, "CANCELED")
    assert runs.retrieve(handle.id).generation == run.generation


@task("generations.forever", retry=ONCE)
async def forever(payload, ctx: Context):
    await ctx.step("work", asyncio.sleep, 0.01)
    ctx.continue_as_new(payload + 1)


def on_start(payload, ctx):
    calls[ctx.run_id].append("start")


def on_resume(payload, ctx):
    calls[ctx.run_id].append("resume")


@task("generations.hooked", retry=AT_ONCE, on_start=on_start, on_resume=on_resume)
async def hooked(payload, ctx: Context):
    calls[ctx.run_id].append(payload)
    if payload < 3:
        ctx.continue_as_new(payload + 1)
    await ctx.wait_for_signal("go")


def test_a_run_starts_once_and_resumes_only_after_a_wait_whatever_its_generations(executor):
    handle = hooked.trigger(1)
    until_parked(executor, handle.id)
    runs.signal(handle.id, "go")
    handle.result(timeout=5)
    assert calls[handle.id] == ["start", 1, 2, 3, "resume", 3]


# ---- what is refused ----------------------------------------------------------------------------


class Order(BaseModel):
    """A payload that a task declares."""

    number: int


@task("generations.order", retry=ONCE)
async def order(payload: Order, ctx: Context):
    if payload.number == 1:
        ctx.continue_as_new({"number": 2})
    with pytest.raises(Invalid) as refusal:
        ctx.continue_as_new({"number": "many"})
    with pytest.raises(TooLarge) as too_large:
        ctx.continue_as_new({"number": 3, "text": "x" * 4_000_000})
    return [refusal.value.field, too_large.value.field]


def test_a_payload_that_the_task_does_not_take_is_refused_where_it_is_given(executor):
    assert order.trigger({"number": 1}).result(timeout=5) == ["payload.number", "payload"]


@task("generations.in-a-body", retry=ONCE)
async def in_a_body(payload, ctx: Context):
    async def body() -> str:
        with pytest.raises(Conflict):
            ctx.continue_as_new()
        return "refused"

    return await ctx.step("body", body)


def test_the_body_of_a_step_cannot_end_its_run(executor):
    assert in_a_body.trigger().result(timeout=5) == "refused"


@pytest.mark.parametrize("how", ["group", "gather"])
def test_a_branch_may_continue_as_new(executor, how):
    handle = by_branch.trigger({"how": how, "n": 1})
    assert handle.result(timeout=5) == 2
    assert handle.retrieve().generation == 1


@task("generations.by-branch", retry=ONCE)
async def by_branch(payload, ctx: Context):
    if payload["n"] == 2:
        return 2
    one, two = ctx.branch("one"), ctx.branch("two")

    async def first() -> None:
        await one.step("work", noted_async)
        one.continue_as_new({**payload, "n": 2})

    async def second() -> None:
        await two.wait_for_signal("never")

    if payload["how"] == "gather":
        await asyncio.gather(first(), second())
    else:
        async with asyncio.TaskGroup() as group:
            group.create_task(first())
            group.create_task(second())


# ---- ctx.expose ---------------------------------------------------------------------------------


@task("generations.shows", retry=AT_ONCE)
async def shows(payload, ctx: Context):
    ctx.expose("stage", "begun")
    ctx.expose("attempt", ctx.attempt)
    await ctx.step("body", show_in_body, ctx)
    if ctx.attempt == 1:
        raise ValueError("once")
    await ctx.wait_for_signal("go")
    ctx.expose("stage", "over")
    ctx.metadata.set("m", 1)


async def show_in_body(ctx: Context) -> None:
    ctx.expose("body", current_step().attempt)


@task("generations.plain-shows", retry=AT_ONCE)
def plain_shows(payload, ctx):
    ctx.expose("stage", "begun")
    ctx.expose("attempt", ctx.attempt)
    ctx.step("body", lambda: ctx.expose("body", 1))
    if ctx.attempt == 1:
        raise ValueError("once")
    ctx.wait_for_signal("go")
    ctx.expose("stage", "over")
    ctx.metadata.set("m", 1)


@pytest.mark.parametrize("kind", [shows, plain_shows])
def test_what_a_run_exposes_can_be_queried_while_it_waits_and_after_its_end(executor, kind):
    handle = kind.trigger()
    eventually(lambda: runs.query(handle.id)["exposed"].get("attempt") == 2)
    until_parked(executor, handle.id)
    assert runs.query(handle.id) == {
        "status": "WAITING", "metadata": {},
        "exposed": {"stage": "begun", "attempt": 2, "body": 1},
    }  # fmt: skip
    runs.signal(handle.id, "go")
    handle.result(timeout=5)
    assert runs.query(handle.id) == {
        "status": "COMPLETED", "metadata": {"m": 1},
        "exposed": {"stage": "over", "attempt": 2, "body": 1},
    }  # fmt: skip


def test_a_replay_does_not_expose_again(executor):
    handle = shows.trigger()
    eventually(lambda: runs.query(handle.id)["exposed"].get("attempt") == 2)
    until_parked(executor, handle.id)
    with connection.cursor() as cursor:
        cursor.execute(
            'UPDATE executions_rundata SET exposed = \'{"attempt": "untouched"}\' '
            "WHERE run_id = %s",
            [handle.id],
        )
    runs.signal(handle.id, "go")
    handle.result(timeout=5)
    assert runs.query(handle.id)["exposed"] == {"attempt": "untouched", "stage": "over"}


def test_a_run_that_exposes_nothing_answers_with_nothing(transactional_db):
    handle = shows.trigger(metadata={"given": 1})
    assert runs.query(handle.id) == {"status": "QUEUED", "metadata": {"given": 1}, "exposed": {}}


@task("generations.exposes-much", retry=ONCE)
async def exposes_much(payload, ctx: Context):
    fields = []
    for name, value in (("big", "x" * 300_000), ("nan", float("nan")), ("", 1), ("x" * 200, 1)):
        try:
            ctx.expose(name, value)
        except Invalid as error:
            fields.append(error.field)
    return fields


def test_what_cannot_be_exposed_is_refused_by_name(executor):
    handle = exposes_much.trigger(uuid.uuid4().hex)
    assert handle.result(timeout=5) == ["big", "nan", "name", "name"]
    assert runs.query(handle.id)["exposed"] == {}
