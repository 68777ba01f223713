"""Waits: sleeps, tokens, signals and children; alone, in branches, and what parks a run."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from executions import runs, tokens
from executions.engine.live import LiveRun
from executions.errors import Invalid, NotFound
from executions.models import Run, Step, WaitToken
from executions.registry import task
from executions.tests.bodies import ONCE, Gate, noted, noted_async, ran, until_parked
from executions.tests.conftest import eventually, until_status

PAST = datetime(2020, 1, 1, tzinfo=UTC)


def make_due(run_id: str) -> None:
    """Lets the timers of a run go off now."""
    Step.objects.filter(run_id=run_id, wake_at__isnull=False).update(wake_at=PAST)
    Run.objects.filter(pk=run_id, status="WAITING").update(wake_at=PAST)


def token_of(run_id: str) -> WaitToken:
    """The only token of a run."""
    return WaitToken.objects.get(run_id=run_id)


@task("waits.child", retry=ONCE)
async def child(payload, ctx):
    if payload == "fail":
        raise ValueError("no luck")
    return {"got": payload}


@task("waits.patient", retry=ONCE)
async def patient(payload, ctx):
    try:
        return (await ctx.wait_for_signal("go")).output
    finally:
        await ctx.step("clean-up", noted)


# ---- time ---------------------------------------------------------------------------------------


def test_a_short_sleep_ends_on_time(executor):
    @task("waits.short", retry=ONCE)
    async def short(payload, ctx):
        began = time.monotonic()
        await ctx.sleep(0.3)
        return time.monotonic() - began

    handle = short.trigger()
    assert 0.299 <= handle.result(timeout=5) < 0.6
    assert "run.waiting" not in [event.type for event in runs.events(handle.id)]


def test_a_long_sleep_is_a_row_and_nothing_else(executors):
    @task("waits.long", retry=ONCE)
    async def long(payload, ctx):
        await ctx.step("before", noted)
        await ctx.sleep(days=365, name="a year")
        return await ctx.step("after", noted, "rested")

    first = executors()
    handle = long.trigger()
    run = until_parked(first, handle.id)
    assert abs(run.wake_at - run.started_at - timedelta(days=365)) < timedelta(seconds=5)
    assert (run.claim, run.worker) == (None, None)
    first.stop(0)
    make_due(handle.id)
    executors()
    assert handle.result(timeout=5) == "rested"
    assert ran[handle.id] == ["before", "after"]


def test_a_sleep_until_a_moment_parks_until_then(engine):
    moment = engine.now() + timedelta(hours=2)

    @task("waits.until", retry=ONCE)
    async def until(payload, ctx):
        await ctx.sleep_until(PAST)
        await ctx.sleep_until(moment)

    handle = engine.trigger(until)
    engine.run_until_idle()
    assert handle.retrieve().wake_at == moment
    engine.advance(seconds=7199)
    assert handle.retrieve().status == "WAITING"
    engine.advance(seconds=1)
    handle.result()


@pytest.mark.parametrize(
    "wait",
    [lambda ctx: ctx.sleep(-1), lambda ctx: ctx.sleep(float("nan")),
     lambda ctx: ctx.sleep(days=10**9), lambda ctx: ctx.sleep_until(datetime(2100, 1, 1)),
     lambda ctx: ctx.sleep_until("noon"), lambda ctx: ctx.create_token(timeout="soon"),
     lambda ctx: ctx.create_token(tags="one"), lambda ctx: ctx.wait_for_signal("s", timeout=-1),
     lambda ctx: ctx.trigger_and_wait("waits.child", float("nan")),
     lambda ctx: ctx.trigger_and_wait("waits.child", 1, delay=-1),
     lambda ctx: ctx.batch_trigger_and_wait("waits.child", [1] * 1001)],
)  # fmt: skip
def test_a_bad_argument_of_a_wait_is_refused_and_nothing_is_waited_for(executor, wait):
    @task("waits.bad", retry=ONCE)
    async def bad(payload, ctx):
        await wait(ctx)

    handle = bad.trigger()
    run = until_status(handle.id, "FAILED", "SYSTEM_FAILURE", "WAITING")
    assert (run.status, run.error["type"]) == ("FAILED", "Invalid")
    assert runs.steps(run.id) == []
    assert Run.objects.count() == 1


# ---- tokens -------------------------------------------------------------------------------------


@task("waits.approval", retry=ONCE)
async def approval(payload, ctx):
    token = await ctx.create_token("approval", timeout=payload, tags=["t"])
    answer = await ctx.wait_for_token(token)
    return [answer.ok, answer.output, answer.error]


def test_a_run_waits_for_its_token_and_gets_the_answer(executors):
    first = executors()
    handle = approval.trigger()
    until_parked(first, handle.id)
    first.stop(0)
    token = token_of(handle.id)
    assert (token.status, token.tags, token.timeout_at) == ("WAITING", ["t"], None)
    tokens.complete(token.id, {"yes": True})
    executors()
    assert handle.result(timeout=5) == [True, {"yes": True}, None]
    assert token_of(handle.id).status == "COMPLETED"


def test_the_timeout_of_a_token_is_a_value(engine):
    handle = engine.trigger(approval, "2d")
    engine.advance(days=1.99)
    assert token_of(handle.id).status == "WAITING"
    engine.advance(days=0.01)
    ok, output, error = handle.result()
    assert (ok, output, error["type"]) == (False, None, "timeout")
    token = token_of(handle.id)
    assert token.status == "TIMED_OUT"
    with pytest.raises(tokens.TokenClosed, match="timed out"):
        tokens.complete(token.id, 1)


def test_a_token_is_completed_only_once(executor):
    handle = approval.trigger()
    until_parked(executor, handle.id)
    token = token_of(handle.id)
    tokens.complete(token.id, 1)
    with pytest.raises(tokens.TokenClosed, match="was completed") as refusal:
        tokens.complete(token.id, 2)
    assert refusal.value.field == "token"
    assert handle.result(timeout=5) == [True, 1, None]


def test_one_of_many_concurrent_completions_wins(executor):
    handle = approval.trigger()
    until_parked(executor, handle.id)
    token = token_of(handle.id)
    start = threading.Barrier(8)
    won: list[int] = []

    def complete(n: int) -> None:
        start.wait()
        try:
            tokens.complete(token.id, n)
            won.append(n)
        except tokens.TokenClosed:
            pass
        finally:
            connection.close()

    threads = [threading.Thread(target=complete, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert handle.result(timeout=5) == [True, won[0], None]


@pytest.mark.parametrize("early", [True, False], ids=["before", "after"])
def test_a_token_made_outside_a_run_is_waited_for_by_its_id(executor, early):
    @task("waits.foreign-token", retry=ONCE)
    async def foreign_token(payload, ctx):
        return (await ctx.wait_for_token(payload)).output

    token = tokens.create(tags=["outside"])
    if early:
        tokens.complete(token.id, "done")
    handle = foreign_token.trigger(token.id)
    if not early:
        until_parked(executor, handle.id)
        tokens.complete(token.id, "done")
    assert handle.result(timeout=5) == "done"


def test_one_token_may_be_waited_for_by_many_runs(executor):
    @task("waits.shared-token", retry=ONCE)
    async def shared_token(payload, ctx):
        return (await ctx.wait_for_token(payload)).output

    token = tokens.create()
    handles = [shared_token.trigger(token.id) for _ in range(5)]
    for handle in handles:
        until_parked(executor, handle.id)
    tokens.complete(token.id, "all")
    assert [handle.result(timeout=5) for handle in handles] == ["all"] * 5


@pytest.mark.parametrize("token", ["waitpoint_00000000000000000000000000", "nonsense"])
def test_waiting_for_an_unknown_token_fails_the_run_and_no_other(executor, token):
    @task("waits.unknown-token", retry=ONCE)
    async def unknown_token(payload, ctx):
        try:
            await ctx.wait_for_token(payload)
        except NotFound as error:
            return error.field

    other = child.trigger(1)
    assert unknown_token.trigger(token).result(timeout=5) == "token"
    assert other.result(timeout=5) == {"got": 1}


@pytest.mark.parametrize(
    ("error", "field", "act"),
    [(NotFound, "token", lambda: tokens.retrieve("waitpoint_x")),
     (NotFound, "token", lambda: tokens.complete("waitpoint_x")),
     (NotFound, "token", lambda: tokens.complete(f"waitpoint_{'0' * 26}")),
     (Invalid, "timeout", lambda: tokens.create(timeout=-1)),
     (Invalid, "tags", lambda: tokens.create(tags=[""])),
     (Invalid, "tags", lambda: tokens.create(tags=["nul\0"])),
     (Invalid, "output", lambda: tokens.complete(tokens.create().id, float("nan"))),
     (Invalid, "output", lambda: tokens.complete(tokens.create().id, "nul\0"))],
)  # fmt: skip
def test_a_bad_use_of_tokens_is_refused_by_name(db, error, field, act):
    with pytest.raises(error) as refusal:
        act()
    assert refusal.value.field == field
    assert not WaitToken.objects.exclude(status="WAITING").exists()


def test_a_token_completed_before_anybody_waits_for_it_is_not_lost(executors):
    @task("waits.token-first", retry=ONCE)
    async def token_first(payload, ctx):
        token = await ctx.create_token("approval")
        await ctx.wait_for_signal("go")
        return (await ctx.wait_for_token(token)).output

    first = executors()
    handle = token_first.trigger()
    until_parked(first, handle.id)
    first.stop(0)
    tokens.complete(token_of(handle.id).id, "early")
    runs.signal(handle.id, "go")
    executors()
    assert handle.result(timeout=5) == "early"


# ---- signals ------------------------------------------------------------------------------------


@task("waits.signals", retry=ONCE)
async def signals(payload, ctx):
    await ctx.step("before", noted)
    return [(await ctx.wait_for_signal("go")).output for _ in range(payload)]


def test_signals_sent_before_and_after_the_wait_are_all_received_once_and_in_order(engine):
    handle = engine.trigger(signals, 6, delay="1h")
    for n in range(3):
        runs.signal(handle.id, "go", n)
        runs.signal(handle.id, "stop", n)
        time.sleep(0.002)  # Ids of one millisecond sort at random.
    runs.reschedule(handle.id, 0)
    engine.run_until_idle()
    assert handle.retrieve().status == "WAITING"
    for n in range(3, 6):
        runs.signal(handle.id, "go", n)
        time.sleep(0.002)
    assert handle.result() == [0, 1, 2, 3, 4, 5]


def test_a_signal_wakes_a_parked_run(executors):
    first = executors()
    handle = signals.trigger(1)
    until_parked(first, handle.id)
    first.stop(0)
    runs.signal(handle.id, "go", {"n": 1})
    assert runs.retrieve(handle.id).status == "QUEUED"
    executors()
    assert handle.result(timeout=5) == [{"n": 1}]


def test_signals_sent_while_the_run_waits_for_something_else_are_not_lost(executors):
    @task("waits.two-signals", retry=ONCE)
    async def two_signals(payload, ctx):
        await ctx.wait_for_signal("first")
        return (await ctx.wait_for_signal("second")).output

    first = executors()
    handles = [two_signals.trigger() for _ in range(20)]
    for handle in handles:
        until_parked(first, handle.id)
    first.stop(0)
    for handle in handles:
        runs.signal(handle.id, "second", 2)
        runs.signal(handle.id, "first", 1)
    executors()
    assert [handle.result(timeout=5) for handle in handles] == [2] * 20


def test_the_timeout_of_a_signal_is_a_value_and_leaves_later_signals_alone(engine):
    @task("waits.signal-timeout", retry=ONCE)
    async def signal_timeout(payload, ctx):
        first = await ctx.wait_for_signal("go", timeout="1d")
        second = await ctx.wait_for_signal("go")
        return [first.ok, (first.error or {}).get("type"), second.output]

    handle = engine.trigger(signal_timeout)
    engine.advance(days=1)
    runs.signal(handle.id, "go", "late")
    assert handle.result() == [False, "timeout", "late"]


def test_a_signal_whose_receipt_is_not_yet_durable_is_not_received_again(executor):
    locked, ended = threading.Event(), threading.Event()

    @task("waits.once-each", retry=ONCE)
    async def once_each(payload, ctx):
        while not locked.is_set():
            await asyncio.sleep(0.005)
        received = [(await ctx.wait_for_signal("go", timeout=0.2)).output for _ in range(3)]
        ended.set()
        return received

    handle = once_each.trigger()
    runs.signal(handle.id, "go", "a")
    runs.signal(handle.id, "go", "a")
    until_status(handle.id, "EXECUTING")
    with transaction.atomic():
        # While somebody holds the run's row, the journal can write none of it.
        Run.objects.select_for_update().get(pk=handle.id)
        locked.set()
        ended.wait(1)
    assert handle.result(timeout=5) == ["a", "a", None]


# ---- children -----------------------------------------------------------------------------------


def test_a_childs_outcome_is_a_value_whether_it_completed_or_failed(executor):
    @task("waits.parent", retry=ONCE)
    async def parent(payload, ctx):
        good = await ctx.trigger_and_wait("waits.child", 1, tags=["kid"])
        bad = await ctx.trigger_and_wait(child, "fail")
        return [good.ok, good.unwrap(), bad.ok, bad.status, bad.error["message"], good.run_id]

    handle = parent.trigger()
    *outcomes, child_id = handle.result(timeout=5)
    assert outcomes == [True, {"got": 1}, False, "FAILED", "no luck"]
    kid = runs.retrieve(child_id)
    assert (kid.parent_id, kid.root_id, kid.tags) == (handle.id, handle.id, ["kid"])


def test_a_batch_gives_its_results_in_the_order_of_its_items(executor):
    @task("waits.batch", retry=ONCE)
    async def batch(payload, ctx):
        items = ["fail" if n == 7 else n for n in range(50)]
        results = await ctx.batch_trigger_and_wait(child, items)
        none = await ctx.batch_trigger_and_wait(child, [])
        return [[r.output and r.output["got"] for r in results], [r.ok for r in results], none]

    outputs, oks, none = batch.trigger().result(timeout=10)
    assert outputs == [None if n == 7 else n for n in range(50)]
    assert oks == [n != 7 for n in range(50)]
    assert none == []
    assert Run.objects.filter(task="waits.child").count() == 50


def test_children_are_started_once_however_often_the_parent_resumes(executors):
    @task("waits.resumed-parent", retry=ONCE)
    async def resumed_parent(payload, ctx):
        waited = await ctx.trigger_and_wait(patient)
        free = await ctx.trigger("waits.child", 2)
        await ctx.wait_for_signal("go")
        return [waited.output, free]

    first = executors()
    handle = resumed_parent.trigger()
    until_parked(first, handle.id)
    kid = eventually(lambda: Run.objects.filter(parent=handle.id).first())
    until_parked(first, kid.id)
    first.stop(0)
    second = executors()
    runs.signal(kid.id, "go", "hello")
    until_parked(second, handle.id)
    second.stop(0)
    executors()
    runs.signal(handle.id, "go")
    waited, free = handle.result(timeout=5)
    assert waited == "hello"
    assert runs.Handle(free).result(timeout=5) == {"got": 2}
    assert Run.objects.filter(parent=handle.id).count() == 2


def test_parents_may_wait_for_parents(executor):
    @task("waits.nested", retry=ONCE)
    async def nested(payload, ctx):
        if payload == 0:
            return 1
        results = await ctx.batch_trigger_and_wait(nested, [payload - 1] * 3)
        return sum(result.unwrap() for result in results)

    assert nested.trigger(3).result(timeout=10) == 27


def test_branches_wait_for_children_side_by_side(executor):
    @task("waits.side-by-side", retry=ONCE)
    async def side_by_side(payload, ctx):
        async def one(branch, n):
            return (await branch.trigger_and_wait(child, n)).output["got"]

        return await asyncio.gather(*(one(ctx.branch(f"b{n}"), n) for n in range(5)))

    assert side_by_side.trigger().result(timeout=5) == [0, 1, 2, 3, 4]


def test_the_end_of_a_child_counts_however_it_came_about(executor):
    @task("waits.any-end", retry=ONCE)
    async def any_end(payload, ctx):
        results = await ctx.batch_trigger_and_wait(patient, [None] * 3)
        return [result.status for result in results]

    handle = any_end.trigger()
    until_parked(executor, handle.id)
    kids = eventually(
        lambda: (
            len(found := list(Run.objects.filter(parent=handle.id, status="WAITING"))) == 3
            and found
        )
    )
    order = Step.objects.get(run_id=handle.id, key="children#1").input["runs"]
    assert sorted(order) == sorted(kid.id for kid in kids)
    runs.terminate(order[0])
    runs.cancel(order[1])
    runs.signal(order[2], "go")
    assert handle.result(timeout=5) == ["CANCELED", "CANCELED", "COMPLETED"]


@pytest.mark.parametrize("end", [runs.cancel, runs.terminate])
@pytest.mark.parametrize(
    ("policy", "status", "cleaned"),
    [("REQUEST_CANCEL", "CANCELED", ["clean-up"]), ("TERMINATE", "CANCELED", []),
     ("ABANDON", "WAITING", [])],
)  # fmt: skip
def test_what_becomes_of_a_child_when_its_parent_ends(executor, end, policy, status, cleaned):
    @task("waits.closing", retry=ONCE)
    async def closing(payload, ctx):
        await ctx.trigger_and_wait(patient, parent_close=policy)

    handle = closing.trigger()
    until_parked(executor, handle.id)
    kid = eventually(lambda: Run.objects.filter(parent=handle.id).first())
    until_parked(executor, kid.id)
    end(handle.id)
    until_status(handle.id, "CANCELED")
    assert until_status(kid.id, status).status == status
    assert ran[kid.id] == cleaned


def test_a_child_that_never_began_is_canceled_with_its_parent(executor):
    @task("waits.closing-early", retry=ONCE)
    async def closing_early(payload, ctx):
        await ctx.trigger_and_wait(patient, delay="1h")

    handle = closing_early.trigger()
    until_parked(executor, handle.id)
    runs.cancel(handle.id)
    until_status(handle.id, "CANCELED")
    kid = Run.objects.get(parent=handle.id)
    assert until_status(kid.id, "CANCELED", seconds=2).started_at is None


# ---- several at once, and what parks ------------------------------------------------------------


async def by_gather(waits):
    return await asyncio.gather(*waits)


async def by_group(waits):
    async with asyncio.TaskGroup() as group:
        made = [group.create_task(wait) for wait in waits]
    return [one.result() for one in made]


async def by_wait(waits):
    made = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(made)
    return [one.result() for one in made]


async def by_first_completed(waits):
    made = {asyncio.create_task(wait): n for n, wait in enumerate(waits)}
    open_ones, results = set(made), {}
    while open_ones:
        done, open_ones = await asyncio.wait(open_ones, return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            results[made[one]] = one.result()
    return [results[n] for n in sorted(results)]


async def by_wait_for(waits):
    made = [asyncio.create_task(wait) for wait in waits]
    return [await asyncio.wait_for(one, None) for one in made]


async def by_nested_gather(waits):
    first, *rest = waits
    alone, others = await asyncio.gather(by_gather([first]), by_gather(rest))
    return [*alone, *others]


@pytest.mark.parametrize(
    "join",
    [by_gather, by_group, by_wait, by_first_completed, by_wait_for, by_nested_gather],
    ids=lambda join: join.__name__,
)
def test_a_run_parks_when_all_its_branches_wait_and_resumes_where_it_was(executors, join):
    async def wait(branch, n):
        before = await branch.step("before", noted_async, n)
        answer = await branch.wait_for_signal(f"go{n}")
        return [before, await branch.step("after", noted_async, answer.output)]

    @task(f"waits.{join.__name__}", retry=ONCE)
    async def joined(payload, ctx):
        return await join([wait(ctx.branch(f"b{n}"), n) for n in range(3)])

    first = executors()
    handle = joined.trigger()
    until_parked(first, handle.id)
    runs.signal(handle.id, "go1", "one")
    eventually(lambda: "b1/after" in ran[handle.id])
    until_parked(first, handle.id)
    first.stop(0)
    executors()
    runs.signal(handle.id, "go2", "two")
    runs.signal(handle.id, "go0", "zero")
    assert handle.result(timeout=5) == [[0, "zero"], [1, "one"], [2, "two"]]
    assert sorted(ran[handle.id]) == sorted(
        f"b{n}/{k}" for n in range(3) for k in ("before", "after")
    )


def test_a_resumed_run_decides_again_as_it_did(executors):
    @task("waits.race", retry=ONCE)
    async def race(payload, ctx):
        async def one(branch, name):
            await branch.wait_for_signal(name)
            return name

        open_ones = {asyncio.create_task(one(ctx.branch(n), n)) for n in "abcd"}
        order = []
        while open_ones:
            done, open_ones = await asyncio.wait(open_ones, return_when=asyncio.FIRST_COMPLETED)
            order += [one.result() for one in done]
            await ctx.step(f"saw-{''.join(order)}", noted)
        await ctx.wait_for_signal("end")
        return "".join(order)

    executor = executors()
    handle = race.trigger()
    for name in "cadb":
        until_parked(executor, handle.id)
        executor.stop(0)
        runs.signal(handle.id, name)
        executor = executors()
        eventually(lambda name=name: any(key.endswith(name) for key in ran[handle.id]))
    runs.signal(handle.id, "end")
    assert handle.result(timeout=5) == "cadb"
    assert ran[handle.id] == ["saw-c", "saw-ca", "saw-cad", "saw-cadb"]


def test_a_wait_that_is_not_durable_keeps_the_run_in_memory(executor):
    release = threading.Event()

    @task("waits.undurable", retry=ONCE)
    async def undurable(payload, ctx):
        async def outside():
            while not release.is_set():
                await asyncio.sleep(0.01)

        branch = ctx.branch("b")
        answer, _ = await asyncio.gather(branch.wait_for_signal("go"), outside())
        return answer.output

    handle = undurable.trigger()
    eventually(lambda: Step.objects.filter(run_id=handle.id, status="WAITING"))
    runs.signal(handle.id, "go", 1)
    eventually(lambda: Step.objects.filter(run_id=handle.id, status="COMPLETED"))
    assert handle.retrieve().status == "EXECUTING"
    release.set()
    assert handle.result(timeout=5) == 1
    assert "run.waiting" not in [event.type for event in runs.events(handle.id)]


def test_a_run_does_not_park_while_one_of_its_bodies_is_at_work(executor):
    gate = Gate()

    @task("waits.busy-branch", retry=ONCE)
    async def busy_branch(payload, ctx):
        return await asyncio.gather(
            ctx.branch("a").step("work", gate.on_thread, 1), ctx.branch("b").sleep(hours=1)
        )

    handle = busy_branch.trigger()
    gate.until_reached()
    eventually(lambda: Step.objects.filter(run_id=handle.id, kind="sleep"))
    assert handle.id in executor.hand
    gate.open()
    until_parked(executor, handle.id)
    make_due(handle.id)
    executor.ticker.wake_at(0)
    assert handle.result(timeout=5) == [1, None]
    assert ran[handle.id] == ["a/work"]


def test_a_completion_that_meets_a_parking_run_is_not_lost(executor):
    handles = [signals.trigger(3) for _ in range(30)]
    for handle in handles:
        for n in range(3):
            runs.signal(handle.id, "go", n)
    for handle in handles:
        assert sorted(handle.result(timeout=10)) == [0, 1, 2]


def test_parked_runs_cost_neither_threads_nor_connections_nor_memory(executor):
    def weigh() -> tuple[int, int]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL")
            return threading.active_count(), cursor.fetchone()[0]

    def in_memory() -> int:
        gc.collect()
        return sum(type(thing) is LiveRun for thing in gc.get_objects())

    child.trigger(1).result(timeout=5)
    before = weigh()
    handles = runs.batch_trigger("waits.approval", ["1d"] * 200, run_timeout="2d", max_duration=60)
    eventually(lambda: Run.objects.filter(status="WAITING").count() == 200, seconds=20)
    eventually(lambda: not executor.hand)
    assert weigh() == before
    # Their code is told in the next passes of the loop.
    eventually(lambda: in_memory() < 20)
    tokens.complete(token_of(handles[0].id).id, "yes")
    assert handles[0].result(timeout=5) == [True, "yes", None]


def test_the_context_of_a_parked_run_is_dead(executor):
    seen: list[Any] = []

    @task("waits.dead", retry=ONCE)
    async def dead(payload, ctx):
        try:
            await ctx.wait_for_signal("go")
        finally:
            for use in (lambda: ctx.emit("late"), lambda: ctx.metadata.set("late", 1)):
                try:
                    use()
                except BaseException as error:
                    seen.append(type(error).__name__)

    handle = dead.trigger()
    until_parked(executor, handle.id)
    eventually(lambda: len(seen) == 2)
    assert seen == ["RunGone", "RunGone"]
    assert handle.retrieve().data.metadata == {}
    runs.terminate(handle.id)
