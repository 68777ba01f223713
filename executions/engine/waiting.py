"""Waits of a run: timers, tokens, signals; each is a step that its outcome completes."""

from __future__ import annotations

from executions import callback_secrets
from executions.engine.live import LiveRun
from executions.engine.results import Token, TokenResult
from executions.engine.rows import StepRow, TokenRow
from executions.engine.waits import Wait
from executions.rules.ids import new_id
from executions.rules.statuses import StepStatus
from executions.rules.values import encode, quoted


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
        known = record.output
        return Token(id=known["id"], name=key, secret_key=known.get("secretKey"))
    await live.moments.frontier()
    token_id = new_id("waitpoint")
    secret = callback_secrets.make(token_id)
    token = Token(id=token_id, name=key, secret_key=secret.key)
    live.outbox.batch.extra().tokens.append(TokenRow(token_id, key, wait, tags, secret))
    output = f'{{"id":"{token_id}","secretKey":{quoted(secret.key)}}}'
    row = StepRow(key, "token", StepStatus.COMPLETED, output=output)
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
