"""Unit tests of tasks with a DirectContext, as users write them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from executions.engine.context import Context, StepFailed
from executions.errors import Invalid
from executions.registry import task
from executions.rules.retry import Retry
from executions.testing import TIMED_OUT, DirectContext

failures: list[int] = []


class Order(BaseModel):
    """What the task is given."""

    amount: int


@task("testing.order")
async def order(payload: Order, ctx: Context) -> dict[str, Any]:
    """Charges, waits for an approval, sleeps, and asks a child."""
    charged = await ctx.step("charge", charge, payload.amount, retry=Retry(max_attempts=3))
    token = await ctx.create_token("approval")
    answer = await ctx.wait_for_token(token)
    await ctx.sleep(days=1)
    ctx.metadata.set("state", "asked").increment("rounds", 2)
    ctx.emit("asked", {"ok": answer.ok})
    child = await ctx.trigger_and_wait("testing.double", payload.amount)
    return {"charged": charged, "ok": answer.ok, "double": child.unwrap()}


async def charge(amount: int) -> int:
    if failures:
        failures.pop()
        raise ConnectionError("busy")
    return amount


@task("testing.double")
def double(payload: int, ctx: Any) -> int:
    """A plain task with a step."""
    return ctx.step("double", lambda: payload * 2)


def test_a_task_runs_directly_with_the_answers_of_the_test() -> None:
    failures.append(1)
    ctx = DirectContext(answers={"approval": "yes"})
    result = asyncio.run(order.run({"amount": 7}, ctx=ctx))
    assert result == {"charged": 7, "ok": True, "double": 14}
    assert ctx.steps["charge"] == 7
    assert ctx.sleeps == [86_400.0]
    assert ctx.metadata.current() == {"state": "asked", "rounds": 2}
    assert ctx.events == [("asked", {"ok": True})]


def test_a_timeout_is_an_answer_too() -> None:
    ctx = DirectContext(answers={"approval": TIMED_OUT}, children={"testing.double": lambda _: 0})
    assert asyncio.run(order.run({"amount": 7}, ctx=ctx))["ok"] is False


def test_a_plain_task_runs_directly() -> None:
    assert double.run(4) == 8


def test_a_plain_task_runs_directly_inside_a_running_loop_too() -> None:
    async def run() -> int:
        return int(double.run(5))

    assert asyncio.run(run()) == 10


def test_a_step_that_keeps_failing_raises_as_in_production() -> None:
    failures.extend([1] * 3)
    with pytest.raises(StepFailed, match="after 3 attempts: ConnectionError: busy"):
        asyncio.run(order.run({"amount": 7}))


def test_a_payload_that_does_not_fit_names_the_field() -> None:
    with pytest.raises(Invalid, match=r"payload\.amount") as caught:
        order.run({"amount": "many"})
    assert caught.value.field == "payload.amount"


def test_a_wait_without_an_answer_says_which() -> None:
    with pytest.raises(AssertionError, match="approval"):
        asyncio.run(order.run({"amount": 7}))
