"""The pytest kit: the real engine on the real database, and a clock that only the test moves."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction

from executions import queues, runs, tokens
from executions.engine.context import Context
from executions.models import Run, Worker
from executions.registry import task
from executions.rules.retry import NO_RETRY, Retry
from executions.runs import ResultTimeout, RunFailed
from executions.testing import Engine, NotAtRest
from executions.tests.bodies import noted, ran

DAY = timedelta(days=1)


@task("kit.sleeper", retry=NO_RETRY)
async def sleeper(payload: float, ctx: Context) -> str:
    """Sleeps for so many days."""
    await ctx.sleep(days=payload)
    return "rested"


@task("kit.approval", retry=NO_RETRY)
async def approval(payload: Any, ctx: Context) -> list[Any]:
    """Waits two days for an answer."""
    token = await ctx.create_token("approval", timeout="2d")
    answer = await ctx.wait_for_token(token)
    return [answer.ok, answer.output]


def days_after(engine: Engine, begun: datetime) -> float:
    """The virtual time since `begun`."""
    return (engine.now() - begun) / DAY


# ---- time ---------------------------------------------------------------------------------------


def test_a_month_passes_in_milliseconds(engine):
    handle = engine.trigger(sleeper, 30)
    began, virtual = time.monotonic(), engine.now()
    engine.advance(days=30)
    assert time.monotonic() - began < 2
    assert engine.now() - virtual == 30 * DAY
    run = handle.retrieve()
    assert (run.status, run.output) == ("COMPLETED", "rested")
    assert run.finished_at - run.created_at == 30 * DAY
    assert {event.at for event in runs.events(run.id)} == {virtual, engine.now()}


def test_a_sleep_ends_at_its_last_second_and_not_before(engine):
    handle = engine.trigger(sleeper, 1 / 24)
    engine.advance(minutes=59, seconds=59.999999)
    assert handle.retrieve().status == "WAITING"
    engine.advance(seconds=0.000001)
    assert handle.retrieve().status == "COMPLETED"


def test_the_clock_stands_still_while_code_is_at_work(engine):
    moment = engine.now()

    def body():
        time.sleep(0.02)
        with connection.cursor() as cursor:
            cursor.execute("SELECT flowmaestro_now()")
            return cursor.fetchone()[0] == moment == engine.now()

    @task("kit.still", retry=NO_RETRY)
    async def still(payload, ctx):
        return await ctx.step("look", body)

    assert engine.run(still) is True
    assert engine.now() == moment


def test_what_happens_at_different_times_happens_in_order(engine):
    begun, seen = engine.now(), []

    def look(name, number):
        seen.append((name, number, days_after(engine, begun)))

    @task("kit.order", retry=NO_RETRY)
    async def order(payload, ctx):
        for number, days in enumerate(payload["naps"]):
            await ctx.sleep(days=days)
            await ctx.step(f"look {number}", look, payload["name"], number)

    engine.trigger(order, {"name": "late", "naps": [2.5]})
    engine.trigger(order, {"name": "twice", "naps": [1, 1]})
    engine.trigger(order, {"name": "early", "naps": [0.5]}, delay="1d")
    engine.advance(days=3)
    assert seen == [("twice", 0, 1), ("early", 0, 1.5), ("twice", 1, 2), ("late", 0, 2.5)]
    assert days_after(engine, begun) == 3


def test_the_clock_moves_to_a_moment_and_never_back(engine):
    target = engine.now() + timedelta(hours=5)
    engine.advance(until=target)
    assert engine.now() == target
    with pytest.raises(ValueError, match="does not go back"):
        engine.advance(seconds=-1)
    with pytest.raises(ValueError, match="time zone"):
        engine.advance(until=datetime(2100, 1, 1))


def test_a_sleep_until_a_moment_ends_then(engine):
    moment = engine.now() + timedelta(days=400)

    @task("kit.until", retry=NO_RETRY)
    async def until(payload, ctx):
        await ctx.sleep_until(moment)
        return engine.now() == moment

    handle = engine.trigger(until)
    engine.advance(days=399)
    assert handle.retrieve().status == "WAITING"
    engine.advance(days=2)
    assert handle.result() is True


# ---- waits --------------------------------------------------------------------------------------


def test_a_token_is_completed_in_time_or_times_out(engine):
    answered, ignored = engine.trigger(approval), engine.trigger(approval)
    engine.advance(days=1)
    tokens.complete(engine.token(answered, "approval").id, "yes")
    assert answered.result() == [True, "yes"]
    with pytest.raises(ResultTimeout, match=r'WAITING.*waiting for "approval:wait"'):
        ignored.result()
    engine.advance(days=1)
    assert ignored.result() == [False, None]
    with pytest.raises(AssertionError, match="no open token called 'approval'"):
        engine.token(ignored, "approval")


def test_signals_arrive_and_time_out(engine):
    @task("kit.signals", retry=NO_RETRY)
    async def signals(payload, ctx):
        first = await ctx.wait_for_signal("go", timeout="1h")
        second = await ctx.wait_for_signal("go", timeout="1h")
        return [first.output, second.ok]

    handle = engine.trigger(signals)
    engine.advance(minutes=59)
    runs.signal(handle.id, "go", "now")
    engine.advance(minutes=59)
    assert handle.retrieve().status == "WAITING"
    engine.advance(minutes=1)
    assert handle.result() == ["now", False]


def test_children_sleep_and_wake_their_parent(engine):
    @task("kit.parent", retry=NO_RETRY)
    async def parent(payload, ctx):
        children = await ctx.batch_trigger_and_wait(sleeper, [3, 1, 2])
        return [child.unwrap() for child in children]

    begun = engine.now()
    handle = engine.trigger(parent)
    engine.advance(days=10)
    assert handle.result() == ["rested"] * 3
    sleepers = Run.objects.filter(task="kit.sleeper").order_by("finished_at")
    assert [run.finished_at for run in sleepers] == [begun + DAY, begun + 2 * DAY, begun + 3 * DAY]


def test_parallel_branches_wait_each_for_themselves(engine):
    @task("kit.branches", retry=NO_RETRY)
    async def branches(payload, ctx):
        async def nap(name, hours):
            await ctx.branch(name).sleep(hours=hours)
            return name

        naps = {asyncio.create_task(nap(*one)) for one in (("a", 2), ("b", 1))}
        done, left = await asyncio.wait(naps, return_when=asyncio.FIRST_COMPLETED)
        return [done.pop().result(), await left.pop()]

    handle = engine.trigger(branches)
    assert handle.result(timeout=3 * 3600) == ["b", "a"]


# ---- attempts and limits ------------------------------------------------------------------------


def test_long_back_offs_of_steps_and_runs_pass_without_their_random_part(engine):
    begun, tried = engine.now(), []

    def fail():
        tried.append((engine.now() - begun) / timedelta(hours=1))
        raise ConnectionError("busy")

    patient = Retry(max_attempts=3, min_timeout=3600, max_timeout=7200)

    @task("kit.retries", retry=Retry(max_attempts=2, min_timeout=36_000, max_timeout=36_000))
    async def retries(payload, ctx):
        await ctx.step("call", fail, retry=patient)

    handle = engine.trigger(retries)
    engine.advance(days=1)
    assert tried == [0, 1, 3, 13, 14, 16]
    with pytest.raises(RunFailed, match="after 3 attempts: ConnectionError: busy"):
        handle.result()


def test_a_delayed_run_starts_when_its_time_has_come(engine):
    handle = engine.trigger(sleeper, 0, delay="90m")
    engine.advance(minutes=89)
    assert handle.retrieve().status == "DELAYED"
    runs.reschedule(handle.id, timedelta(minutes=2))
    engine.advance(minutes=1)
    assert handle.retrieve().status == "DELAYED"
    engine.advance(minutes=1)
    assert handle.result() == "rested"


def test_a_run_that_nothing_starts_within_its_ttl_expires(engine):
    queues.pause("kit.held")
    handle = engine.trigger(sleeper, 0, queue="kit.held", ttl="1h")
    engine.advance(minutes=59)
    assert handle.retrieve().status == "QUEUED"
    engine.advance(minutes=1)
    assert handle.retrieve().status == "EXPIRED"


def test_a_run_timeout_ends_a_waiting_run_after_its_clean_up(engine):
    @task("kit.limited", retry=NO_RETRY, run_timeout="1h")
    async def limited(payload, ctx):
        try:
            await ctx.sleep(days=1)
        finally:
            await ctx.step("clean up", noted)

    handle = engine.trigger(limited)
    engine.advance(minutes=59)
    assert handle.retrieve().status == "WAITING"
    engine.advance(minutes=1)
    assert handle.retrieve().status == "TIMED_OUT"
    assert ran[handle.id] == ["clean up"]


def test_a_worker_outlives_any_jump_and_takes_over_from_those_that_did_not(engine):
    @task("kit.orphan", retry=NO_RETRY)
    async def orphan(payload, ctx):
        return "adopted"

    handle = engine.trigger(orphan)
    lost = Worker.objects.create(id="worker_lost", host="elsewhere", pid=1, process_started=1)
    Run.objects.filter(pk=handle.id).update(
        status="EXECUTING", claim="00000000-0000-0000-0000-000000000001", worker=lost.id
    )
    engine.advance(seconds=settings.FLOWMAESTRO.LEASE_SECONDS)
    assert handle.retrieve().status == "EXECUTING"
    engine.advance(days=3)
    assert handle.result() == "adopted"
    assert [worker.id for worker in Worker.objects.filter(dead_at__isnull=False)] == [lost.id]


def test_a_run_can_be_cancelled_while_it_waits(engine):
    handle = engine.trigger(sleeper, 1)
    engine.run_until_idle()
    runs.cancel(handle.id, reason="changed my mind")
    with pytest.raises(RunFailed, match="changed my mind"):
        handle.result()


# ---- plain tasks --------------------------------------------------------------------------------


def test_plain_tasks_run_sleep_and_use_the_database(engine):
    @task("kit.plain", retry=NO_RETRY)
    def plain(payload, ctx):
        before = ctx.step("before", Run.objects.count)
        ctx.sleep(days=7)
        return [before, ctx.step("after", noted, payload)]

    handle = engine.trigger(plain, "later")
    engine.advance(days=7)
    assert handle.result() == [1, "later"]
    assert ran[handle.id] == ["after"]


# ---- crashes ------------------------------------------------------------------------------------


@task("kit.two_steps", retry=NO_RETRY)
async def two_steps(payload: Any, ctx: Context) -> str:
    """A step, a day, a step."""
    await ctx.step("first", noted)
    await ctx.sleep(days=1)
    return await ctx.step("second", noted, "done")


@pytest.mark.parametrize("end", [Engine.crash, Engine.restart])
def test_a_waiting_run_outlives_its_worker(engine, end):
    handle = engine.trigger(two_steps)
    engine.run_until_idle()
    end(engine)
    engine.advance(days=1)
    assert handle.result() == "done"
    assert ran[handle.id] == ["first", "second"]
    assert handle.retrieve().stalls == 0


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "thread"])
def test_a_crash_in_the_body_of_a_step_repeats_that_step_and_no_other(engine, is_async):
    def body():
        noted()
        if ran[handle.id].count("second") == 1:
            engine.crash()
        return "done"

    async def async_body():
        return body()

    @task("kit.crash_in_body", retry=NO_RETRY)
    async def crash_in_body(payload, ctx):
        await ctx.step("first", noted)
        return await ctx.step("second", async_body if is_async else body)

    handle = engine.trigger(crash_in_body)
    assert handle.result() == "done"
    assert ran[handle.id] == ["first", "second", "second"]


def test_a_crash_of_a_plain_task_keeps_its_finished_steps(engine):
    def body():
        noted()
        if len(ran[handle.id]) == 2:
            engine.crash()
        return "done"

    @task("kit.plain_crash", retry=NO_RETRY)
    def plain_crash(payload, ctx):
        ctx.step("first", noted)
        return ctx.step("second", body)

    handle = engine.trigger(plain_crash)
    assert handle.result() == "done"
    assert ran[handle.id] == ["first", "second", "second"]


def test_a_crash_right_after_a_step_does_not_repeat_it(engine):
    began = []

    @task("kit.crash_after", retry=NO_RETRY)
    async def crash_after(payload, ctx):
        began.append(payload)
        await ctx.step("first", noted)
        return await ctx.step("second", noted, "done")

    engine.crash(after="first")
    handle = engine.trigger(crash_after)
    assert handle.result() == "done"
    assert ran[handle.id] == ["first", "second"]
    assert len(began) == 2


def test_a_run_that_kills_worker_after_worker_is_convicted(engine):
    @task("kit.poison", retry=NO_RETRY)
    async def poison(payload, ctx):
        engine.crash()

    handle, innocent = engine.trigger(poison), engine.trigger(sleeper, 1)
    with pytest.raises(RunFailed, match="workers died while they held this run"):
        handle.result()
    assert handle.retrieve().status == "CRASHED"
    engine.advance(days=1)
    assert innocent.result() == "rested"


# ---- coming to rest -----------------------------------------------------------------------------


def test_code_that_never_waits_is_reported_by_name(engine):
    @task("kit.endless", retry=NO_RETRY)
    async def endless(payload, ctx):
        while True:
            await ctx.step(f"step {len(ran[ctx.run_id])}", noted)

    handle = engine.trigger(endless)
    with pytest.raises(NotAtRest, match=rf'{handle.id} \(task "kit.endless"\) is'):
        engine.run_until_idle(seconds=0.5)
    runs.terminate(handle.id)
    engine.run_until_idle()
    assert handle.retrieve().status == "CANCELED"


def test_code_that_waits_outside_its_context_is_reported_by_name(engine):
    @task("kit.outside", retry=NO_RETRY)
    async def outside(payload, ctx):
        await asyncio.sleep(3600)

    engine.trigger(outside)
    with pytest.raises(NotAtRest, match=r"kit\.outside.*asyncio\.sleep"):
        engine.run_until_idle(seconds=0.5)


def test_runs_that_wake_each_other_for_ever_are_reported_by_name(engine):
    @task("kit.ping", retry=NO_RETRY)
    async def ping(payload, ctx):
        for number in range(1000):
            other = (await ctx.wait_for_signal("ball")).output
            await ctx.step(f"hit {number}", runs.signal, other, "ball", ctx.run_id)

    first, second = engine.trigger(ping), engine.trigger(ping)
    runs.signal(first.id, "ball", second.id)
    with pytest.raises(NotAtRest, match=r"resumed more than 20 times.*kit\.ping"):
        engine.run_until_idle(resumes=20)


def test_a_clock_that_would_stop_too_often_is_reported(engine):
    @task("kit.ticking", retry=NO_RETRY)
    async def ticking(payload, ctx):
        while True:
            await ctx.sleep(1)

    handle = engine.trigger(ticking)
    with pytest.raises(NotAtRest, match=rf"10 timers went off .*{handle.id}"):
        engine.advance(days=1, stops=10)


def test_what_the_engine_cannot_see_is_refused(engine):
    with transaction.atomic():
        handle = engine.trigger(sleeper, 0)
        with pytest.raises(RuntimeError, match="leave the atomic block"):
            engine.run_until_idle()
    assert handle.result() == "rested"


def test_a_task_cannot_drive_the_engine(engine):
    @task("kit.driver", retry=NO_RETRY)
    async def driver(payload, ctx):
        engine.advance(days=1)

    with pytest.raises(RunFailed, match="cannot drive the engine"):
        engine.run(driver)


def test_several_runs_may_be_in_hand_at_once(engine):
    inside: set[str] = set()

    @task("kit.together", retry=NO_RETRY)
    async def together(payload, ctx):
        inside.add(ctx.run_id)
        for _ in range(100):
            if len(inside) == 2:
                return True
            await asyncio.sleep(0.01)
        return False

    engine.concurrency = 2
    handles = [engine.trigger(together) for _ in range(2)]
    assert [handle.result() for handle in handles] == [True, True]


# ---- from test to test --------------------------------------------------------------------------


@pytest.mark.parametrize("_time", ["first", "second"])
def test_tests_do_not_influence_each_other(engine, _time):
    assert abs(engine.now() - datetime.now(UTC)) < timedelta(minutes=1)
    assert Run.objects.count() == 0
    handle = engine.trigger(sleeper, 1, idempotency_key="the same")
    assert not handle.is_cached
    assert engine.trigger(sleeper, 1, idempotency_key="the same").is_cached
    engine.advance(days=200)
    assert handle.result() == "rested"


def test_the_database_gets_its_own_clock_back(transactional_db):
    def clockwork() -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_get_functiondef('flowmaestro_now'::regproc)")
            found = cursor.fetchall()
            cursor.execute(
                "SELECT adrelid, adnum, pg_get_expr(adbin, adrelid) FROM pg_attrdef ORDER BY 1, 2"
            )
            found += cursor.fetchall()
            cursor.execute("SELECT relname FROM pg_class WHERE relname LIKE 'flowmaestro%'")
            return found + cursor.fetchall()

    before = clockwork()
    with Engine() as engine:
        assert clockwork() != before
        engine.advance(days=1)
    assert clockwork() == before


def test_the_plugin_can_be_loaded_before_django_is_set_up():
    code = (
        "import executions.testing.plugin as p, sys; print(p.engine and 'django.db' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(
        command, capture_output=True, text=True, cwd=settings.BASE_DIR, check=True
    )
    assert found.stdout.strip() == "False"
