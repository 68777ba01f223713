"""A task that waits for days, and its tests: the real engine, with a clock that the test moves.

In a project of your own, `pytest_plugins = ["executions.testing.plugin"]` in the top conftest.py
brings the fixture `engine`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from executions import tokens
from executions.engine.context import Context
from executions.errors import FlowMaestroError
from executions.registry import task
from executions.rules.retry import Retry

if TYPE_CHECKING:
    from executions.testing import Engine

# Stands in for the payment provider and the mail server.
paid: list[str] = []
mails: list[str] = []
outages: list[str] = []


@task("examples.refund")
async def refund(payload: dict[str, int], ctx: Context) -> str:
    """Asks for approval, reminds after a day, gives up after three; then pays the money back."""
    token = await ctx.create_token("approval", timeout="3d")
    await ctx.step("ask", send_mail, f"Refund {payload['amount']}?")
    await ctx.trigger("examples.reminder", {"token": token.id}, delay="1d")
    answer = await ctx.wait_for_token(token)
    if not answer.ok:
        return "nobody answered"
    if not answer.output["approved"]:
        return "refused"
    patient = Retry(max_attempts=5, min_timeout=3600, max_timeout=86_400)
    return await ctx.step("pay", pay_back, payload["amount"], retry=patient)


@task("examples.reminder")
async def reminder(payload: dict[str, str], ctx: Context) -> None:
    """Sends a mail if the token still waits."""
    await ctx.step("remind", remind, payload["token"])


def remind(token_id: str) -> None:
    """A plain function runs on a thread and may use the database."""
    if tokens.retrieve(token_id).status == "WAITING":
        send_mail("Still waiting for you.")


def send_mail(text: str) -> None:
    """Sends a mail."""
    mails.append(text)


def pay_back(amount: int) -> str:
    """Pays, unless the provider is down."""
    if outages:
        raise ConnectionError(outages.pop())
    paid.append(str(amount))
    return f"paid {amount}"


# ---- tests --------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _fresh() -> None:
    paid.clear()
    mails.clear()
    outages.clear()


def test_an_approved_refund_is_paid(engine: Engine) -> None:
    handle = engine.trigger(refund, {"amount": 40})
    engine.advance(hours=20)
    tokens.complete(engine.token(handle, "approval").id, {"approved": True})
    assert handle.result() == "paid 40"
    engine.advance(days=1)
    assert mails == ["Refund 40?"]


def test_who_does_not_answer_is_reminded_once_and_then_no_longer_waited_for(
    engine: Engine,
) -> None:
    handle = engine.trigger(refund, {"amount": 40})
    engine.advance(days=1)
    assert mails == ["Refund 40?", "Still waiting for you."]
    engine.advance(days=2)
    assert handle.result() == "nobody answered"
    assert paid == []


def test_a_provider_that_is_down_for_hours_is_asked_again(engine: Engine) -> None:
    outages.extend(["down", "still down"])
    handle = engine.trigger(refund, {"amount": 40})
    engine.run_until_idle()
    tokens.complete(engine.token(handle).id, {"approved": True})
    engine.advance(hours=2)
    assert paid == []
    engine.advance(hours=1)
    assert handle.result() == "paid 40"


def test_a_crash_after_the_payment_does_not_pay_twice(engine: Engine) -> None:
    engine.crash(after="pay")
    handle = engine.trigger(refund, {"amount": 40})
    engine.run_until_idle()
    tokens.complete(engine.token(handle).id, {"approved": True})
    assert handle.result() == "paid 40"
    assert paid == ["40"]


def test_a_refund_that_waits_says_what_for(engine: Engine) -> None:
    with pytest.raises(FlowMaestroError, match="approval"):
        engine.run(refund, {"amount": 40})
