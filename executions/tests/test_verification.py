"""Verifying recorded runs against the code: changes are told, and nothing runs or is written."""

from __future__ import annotations

import asyncio
import io
import json
import time
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from executions import runs, tokens, verification
from executions.engine import verify
from executions.engine.context import Context
from executions.engine.executor import Executor
from executions.errors import Invalid
from executions.models import Run, RunEvent, Step, WaitToken
from executions.registry import task
from executions.rules.retry import NO_RETRY, Retry
from executions.tests.bodies import noted, noted_async, ran
from executions.tests.conftest import eventually, until_status
from executions.tests.people import SUM
from executions.verification import Report, Verdict
from executions.workflow_runs import start

shape: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def _fresh():
    shape.clear()


def verified(**options: Any) -> Report:
    """The report on the only run."""
    (report,) = verification.verify(**{"patience": 2.0, **options})
    return report


def snapshot() -> list[Any]:
    """Everything that a verification could have written."""
    return [
        list(model.objects.order_by("pk").values()) for model in (Run, Step, RunEvent, WaitToken)
    ]


@task("verify.plain", retry=NO_RETRY)
def plain(payload: Any, ctx: Any) -> Any:
    for name in shape.get("steps", ("a", "b")):
        ctx.step(name, noted, name)
    return shape.get("output", "done")


@task("verify.async", retry=NO_RETRY)
async def asynchronous(payload: Any, ctx: Context) -> Any:
    for name in shape.get("steps", ("a", "b")):
        await ctx.step(name, noted_async if name == "a" else noted, name)
    if shape.get("waits"):
        answer = await ctx.wait_for_token(await ctx.create_token("gate"))
        await ctx.step("after", noted, answer.output)
    if "error" in shape:
        raise shape["error"]
    return shape.get("output", "done")


BOTH = pytest.mark.parametrize("subject", [plain, asynchronous], ids=["plain", "async"])


@BOTH
def test_a_completed_run_decides_as_it_did_and_no_step_runs_again(
    executor: Executor, subject: Any
) -> None:
    handle = subject.trigger()
    handle.result(timeout=5)
    before = snapshot()
    assert verified() == Report(
        run=handle.id, task=subject.id, status="COMPLETED", verdict=Verdict.OK
    )
    assert ran[handle.id] == ["a", "b"]
    assert snapshot() == before


@BOTH
def test_a_step_added_before_the_recorded_ones_is_told_and_not_run(
    executor: Executor, subject: Any
) -> None:
    handle = subject.trigger()
    handle.result(timeout=5)
    shape["steps"] = ("new", "a", "b")
    report = verified()
    assert report.verdict == Verdict.DIVERGED
    assert '"new"' in report.message and '"a"' in report.message
    assert ran[handle.id] == ["a", "b"]


@pytest.mark.parametrize("option", ["pure", "at_most_once", "transactional"])
def test_no_sort_of_step_is_run(executor: Executor, option: str) -> None:
    bodies: list[str] = []
    options: dict[str, Any] = {option: True}

    @task(f"verify.sort-{option}", retry=NO_RETRY)
    async def sort(payload: Any, ctx: Context) -> Any:
        await ctx.step("old", noted)
        if shape:
            await ctx.step("new", lambda: bodies.append("new"), **options)

    handle = sort.trigger()
    handle.result(timeout=5)
    shape["changed"] = True
    report = verified()
    assert report.verdict == Verdict.DIVERGED and '"new"' in report.message
    assert bodies == []


@BOTH
def test_even_past_the_frontier_no_body_is_entered(
    executor: Executor, subject: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def passes(self: Any) -> None:
        """A frontier that lets everybody through."""

    handle = subject.trigger()
    handle.result(timeout=5)
    shape["steps"] = ("new", "a", "b")
    monkeypatch.setattr(verify._Frontier, "frontier", passes)
    report = verified()
    assert report.verdict == Verdict.DIVERGED
    assert report.message == "A verification runs no step."
    assert ran[handle.id] == ["a", "b"]


@BOTH
def test_a_removed_step_is_told(executor: Executor, subject: Any) -> None:
    subject.trigger().result(timeout=5)
    shape["steps"] = ("a",)
    report = verified()
    assert report.verdict == Verdict.DIVERGED and '"b"' in report.message


@BOTH
def test_another_output_is_told(executor: Executor, subject: Any) -> None:
    subject.trigger().result(timeout=5)
    shape["output"] = "other"
    report = verified()
    assert report.message == 'The run gave "done"; its code now gives "other".'


def test_a_key_of_another_kind_is_told(executor: Executor) -> None:
    @task("verify.kind", retry=NO_RETRY)
    async def kind(payload: Any, ctx: Context) -> Any:
        if shape:
            await ctx.sleep(1, name="x")
        else:
            await ctx.step("x", noted)

    kind.trigger().result(timeout=5)
    shape["changed"] = True
    report = verified()
    assert report.verdict == Verdict.DIVERGED and "asks for a sleep" in report.message


def test_a_failed_run_must_fail_with_the_same_error(executor: Executor) -> None:
    shape["error"] = ValueError("no")
    handle = asynchronous.trigger()
    until_status(handle.id, "FAILED")
    assert verified().verdict == Verdict.OK
    shape["error"] = KeyError("other")
    assert "now fails: KeyError" in verified().message
    del shape["error"]
    assert verified().message == "The run failed with ValueError; its code now completes."


def test_an_open_run_is_well_where_its_record_ends(executor: Executor) -> None:
    shape["waits"] = True
    handle = asynchronous.trigger()
    until_status(handle.id, "WAITING")
    before = snapshot()
    # Open runs are verified whatever their age.
    assert verified(since=timedelta()).verdict == Verdict.OK
    assert snapshot() == before
    shape["waits"] = False
    report = verified()
    assert '"gate"' in report.message and report.verdict == Verdict.DIVERGED


def test_code_that_would_end_without_its_open_wait_is_told(executor: Executor) -> None:
    @task("verify.wait", retry=NO_RETRY)
    async def wait(payload: Any, ctx: Context) -> Any:
        await ctx.step("a", noted)
        if not shape:
            await ctx.sleep(hours=1)

    handle = wait.trigger()
    until_status(handle.id, "WAITING")
    assert verified().verdict == Verdict.OK
    shape["changed"] = True
    assert verified().message == ('The run waits at "sleep#1"; its code now completes without it.')


def test_a_run_that_decided_by_who_came_first_decides_again(executor: Executor) -> None:
    @task("verify.race", retry=NO_RETRY)
    async def race(payload: Any, ctx: Context) -> Any:
        async def branch(name: str, pause: float) -> str:
            await ctx.branch(name).step("work", asyncio.sleep, pause)
            return name

        tasks = [asyncio.create_task(branch(n, p)) for n, p in (("x", 0.2), ("y", 0.01))]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        first = done.pop().result()
        await ctx.step(f"after {first}", noted)
        for each in pending:
            each.cancel()
        return first

    assert race.trigger().result(timeout=5) == "y"
    assert verified().verdict == Verdict.OK


def test_only_the_last_attempt_of_a_run_is_strict(executor: Executor) -> None:
    @task("verify.attempts", retry=Retry(max_attempts=2, min_timeout=0))
    async def attempts(payload: Any, ctx: Context) -> Any:
        await ctx.step("both", noted)
        if ctx.attempt == 1:
            await ctx.step("first", noted)
            raise ValueError("not yet")
        await ctx.step("second", noted)
        return ctx.attempt

    handle = attempts.trigger()
    assert handle.result(timeout=8) == 2
    assert verified().verdict == Verdict.OK
    assert ran[handle.id] == ["both", "first", "second"]


def test_the_present_generation_of_a_run_is_verified(executor: Executor) -> None:
    @task("verify.anew", retry=NO_RETRY)
    async def anew(payload: Any, ctx: Context) -> Any:
        await ctx.step(f"round {payload}", noted)
        if payload < 2:
            ctx.continue_as_new(payload + 1)
        return payload

    assert anew.trigger(0).result(timeout=8) == 2
    assert verified().verdict == Verdict.OK


def test_hooks_are_answered_or_left_alone(executor: Executor) -> None:
    called: list[str] = []

    @task(
        "verify.hooks", retry=NO_RETRY,
        on_start=lambda payload, ctx: called.append("start"),
        on_resume=lambda payload, ctx: called.append("resume"),
        on_wait=lambda payload, ctx: called.append("wait"),
        catch_error=lambda payload, error, ctx: called.append("caught"),
        on_complete=lambda payload, result, ctx: called.append("complete"),
    )  # fmt: skip
    async def hooked(payload: Any, ctx: Context) -> Any:
        token = await ctx.create_token("gate")
        await ctx.wait_for_token(token)
        raise ValueError("no")

    handle = hooked.trigger()
    until_status(handle.id, "WAITING")
    tokens.complete(WaitToken.objects.get(run_id=handle.id).id)
    until_status(handle.id, "FAILED")
    eventually(lambda: "complete" in called)
    until_status(Run.objects.get(task="run-hooks").id, "COMPLETED")
    before = list(called)
    # The run that calls hooks of the end is not repeated at all.
    assert verified().verdict == Verdict.OK
    assert called == before


def test_a_cancelled_run_cleans_up_again_and_its_hook_is_not_called(executor: Executor) -> None:
    called: list[str] = []

    async def on_cancel(payload: Any, ctx: Context) -> None:
        called.append("hook")
        await ctx.step("hook", noted)

    @task("verify.cancel", retry=NO_RETRY, on_cancel=on_cancel)
    async def cancelled(payload: Any, ctx: Context) -> Any:
        try:
            await ctx.sleep(hours=1)
        finally:
            await ctx.step("clean up", noted)
            if shape:
                await ctx.step("more", noted)

    handle = cancelled.trigger()
    until_status(handle.id, "WAITING")
    runs.cancel(handle.id)
    until_status(handle.id, "CANCELED")
    assert verified().verdict == Verdict.OK
    assert called == ["hook"]
    assert ran[handle.id] == ["clean up", "@on_cancel#1/hook"]


def test_a_plain_task_that_waits_is_dropped_without_an_effect(executor: Executor) -> None:
    @task("verify.plain-wait", retry=NO_RETRY)
    def plain_wait(payload: Any, ctx: Any) -> Any:
        ctx.step("a", noted)
        token = ctx.create_token("gate")
        return ctx.wait_for_token(token).output

    handle = plain_wait.trigger()
    until_status(handle.id, "WAITING")
    assert verified().verdict == Verdict.OK
    tokens.complete(WaitToken.objects.get(run_id=handle.id).id, 7)
    assert handle.result(timeout=5) == 7
    assert verified().verdict == Verdict.OK


def test_children_are_answered_and_not_started(executor: Executor) -> None:
    @task("verify.parent", retry=NO_RETRY)
    async def parent(payload: Any, ctx: Context) -> Any:
        results = await ctx.batch_trigger_and_wait(plain, [1, 2])
        return [result.unwrap() for result in results]

    parent.trigger().result(timeout=8)
    count = Run.objects.count()
    reports = verification.verify()
    assert [report.verdict for report in reports] == [Verdict.OK] * 3
    assert Run.objects.count() == count


def test_a_workflow_is_verified_and_a_changed_one_is_told(executor: Executor) -> None:
    handle = start(SUM, inputs={"a": 1, "b": 2})
    handle.result(timeout=5)
    assert verified().verdict == Verdict.OK
    Step.objects.filter(run_id=handle.id, kind="node").delete()
    Step.objects.create(
        run_id=handle.id,
        key="gone/run",
        kind="node",
        status="COMPLETED",
        seq=1,
        finished_at="2026-01-01T00:00:00Z",
    )
    assert verified().verdict == Verdict.DIVERGED


def test_code_that_waits_outside_its_context_is_named_and_the_next_run_verified(
    executor: Executor,
) -> None:
    @task("verify.foreign", retry=NO_RETRY)
    async def foreign(payload: Any, ctx: Context) -> Any:
        await ctx.step("a", noted)
        if shape.get("blocks"):
            time.sleep(2)
        await asyncio.sleep(shape.get("pause", 0))

    first = asynchronous.trigger()
    first.result(timeout=5)
    second = foreign.trigger()
    second.result(timeout=5)
    shape["pause"] = 60
    found = {report.run: report for report in verification.verify(patience=0.3)}
    assert found[first.id].verdict == Verdict.OK
    assert "waits outside its context" in found[second.id].message
    shape["blocks"] = True
    found = {report.run: report for report in verification.verify(patience=0.1)}
    assert found[first.id].verdict == Verdict.OK
    assert "held the event loop" in found[second.id].message


def test_a_read_of_the_code_cannot_write(executor: Executor) -> None:
    def write() -> int:
        if shape:
            with connection.cursor() as cursor:
                cursor.execute("UPDATE executions_run SET priority = 7")
        return 1

    @task("verify.read", retry=NO_RETRY)
    async def read(payload: Any, ctx: Context) -> Any:
        return await ctx.read(write)

    read.trigger().result(timeout=5)
    assert verified().verdict == Verdict.OK
    shape["writes"] = True
    assert "read-only transaction" in verified().message
    assert not Run.objects.filter(priority=7).exists()


def test_runs_of_a_task_that_is_gone_are_told(executor: Executor) -> None:
    handle = asynchronous.trigger()
    handle.result(timeout=5)
    Run.objects.filter(pk=handle.id).update(task="verify.gone")
    assert 'no task "verify.gone"' in verified().message


def test_runs_are_chosen_by_age_task_and_status(executor: Executor) -> None:
    done = [asynchronous.trigger() for _ in range(3)]
    for handle in done:
        handle.result(timeout=5)
    plain.trigger().result(timeout=5)
    ids = sorted((handle.id for handle in done), reverse=True)
    found = verification.verify(task="verify.async")
    assert [report.run for report in found] == ids
    assert [report.run for report in verification.verify(task="verify.async", limit=2)] == ids[:2]
    assert verification.verify(since=timedelta()) == []
    assert len(verification.verify(since=timedelta(days=1))) == 4
    assert verification.verify(status=["FAILED"]) == []
    with pytest.raises(Invalid):
        verification.verify(status=["RUNNING"])


def test_the_command_reports_and_exits_with_1_when_a_run_diverged(executor: Executor) -> None:
    handle = asynchronous.trigger()
    handle.result(timeout=5)
    out, err = io.StringIO(), io.StringIO()
    call_command("verify_replays", stdout=out, stderr=err)
    assert "1 decide as they did, 0 diverged" in out.getvalue()
    shape["output"] = "other"
    out = io.StringIO()
    with pytest.raises(SystemExit) as left:
        call_command("verify_replays", "--json", "--progress", stdout=out, stderr=err)
    assert left.value.code == 1
    found = json.loads(out.getvalue())
    assert (found["verified"], found["diverged"]) == (1, 1)
    assert found["runs"][0]["run"] == handle.id
    assert "1 runs verified" in err.getvalue()
