"""Waits of a run: timers, tokens, signals; each is a step that its outcome completes."""

from __future__ import annotations

from executions.engine.live import LiveRun
from executions.engine.results import Token, TokenResult
from executions.engine.rows import StepRow, TokenRow
from executions.engine.waits import Wait
from executions.rules.ids import new_id
from executions.rules.statuses import StepStatus
from executions.rules.values import encode


async def sleep(live: LiveRun, key: str, seconds: float) -> None:
    """Returns when the time has passed."""
    record = live.recorded.find(key, "sleep", run_id=live.id)
    if record is not None and record.has_ended:
        await live.moments.replayed(record)
        return
    if record is None:
        await live.moments.frontier()
        until = live.host.clock.now() + seconds
        row = StepRow(key, "sleep", StepStatus.WAITING, wait=seconds, run_attempt=live.attempt)
        live.outbox.put(row, "step.waiting", row)
    else:
        until = record.wake_at or 0.0
    await live.moments.wait(Wait(key=key, kind="sleep", future=live.future(), until=until))


async def create_token(live: LiveRun, key: str, wait: float | None, tags: str) -> Token:
    """A token of the run that times out in so many seconds; `tags` is JSON text."""
    record = live.recorded.find(key, "token", run_id=live.id)
    if record is not None and record.has_ended:
        await live.moments.replayed(record)
        return Token(id=record.output["id"], name=key)
    await live.moments.frontier()
    token = Token(id=new_id("waitpoint"), name=key)
    live.outbox.batch.extra().tokens.append(TokenRow(token.id, key, wait, tags))
    row = StepRow(key, "token", StepStatus.COMPLETED, output=f'{{"id":"{token.id}"}}')
    future = live.moments.settle(row, None, None, durable=False)
    if future is not None:
        await future
    return token


async def wait_for_token(live: LiveRun, key: str, token: Token | str) -> TokenResult:
    """The token's outcome."""
    token_id = token if isinstance(token, str) else token.id
    record = live.recorded.find(key, "wait", run_id=live.id)
    if record is not None and record.has_ended:
        await live.moments.replayed(record)
        return TokenResult(**record.output)
    await live.moments.frontier()
    if record is None:
        row = StepRow(
            key, "wait", StepStatus.WAITING, run_attempt=live.attempt,
            input=f'{{"token":{encode(token_id, field="token")}}}',
        )  # fmt: skip
        live.outbox.put(row, "step.waiting", row)
    if isinstance(token, str):
        await live.host.lookups.join_token(live, token)
    wait = Wait(
        key=key, kind="token", future=live.future(), subject=token_id, is_new=record is None
    )
    return TokenResult(**await live.moments.wait(wait))


async def wait_for_signal(live: LiveRun, key: str, name: str, seconds: float | None) -> TokenResult:
    """The next signal of that name, or none within the time."""
    record = live.recorded.find(key, "signal", run_id=live.id)
    if record is not None and record.has_ended:
        await live.moments.replayed(record)
        return TokenResult(**record.output)
    await live.moments.frontier()
    if record is not None:
        until = record.wake_at
    else:
        row = StepRow(
            key, "signal", StepStatus.WAITING, wait=seconds, run_attempt=live.attempt,
            input=f'{{"signal":{encode(name, field="name")}}}',
        )  # fmt: skip
        live.outbox.put(row, "step.waiting", row)
        until = None if seconds is None else live.host.clock.now() + seconds
        live.host.lookups.soon(live)
    wait = Wait(
        key=key, kind="signal", future=live.future(), until=until, subject=name,
        is_new=record is None,
    )  # fmt: skip
    return TokenResult(**await live.moments.wait(wait))
