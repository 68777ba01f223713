"""How a run's code came to its end, as the move that the journal writes."""

from __future__ import annotations

import asyncio
from typing import Any

from django.conf import settings

from executions.engine import failpoints, replay
from executions.engine.failures import StepFailed, error_value
from executions.engine.live import ContinueAsNew, LiveRun
from executions.engine.replay import JournalMismatch
from executions.engine.rows import Move
from executions.errors import FlowMaestroError
from executions.hooks import Decision
from executions.rules.retry import Retry
from executions.rules.statuses import RunStatus
from executions.rules.values import Json, encode


def ending_of(live: LiveRun, main: asyncio.Task[Any]) -> Move | None:
    """The move that follows from the end of the code; None when the run needs attention."""
    failpoints.hit("final.before")
    error = asyncio.CancelledError() if main.cancelled() else main.exception()
    if isinstance(error, JournalMismatch):
        live.needs_attention(str(error))
        return None
    if live.time_error is not None:
        return _final(RunStatus.TIMED_OUT, "run.timed_out", live.time_error)
    continued = _continuation(error)
    if continued is not None and not live.cancel_delivered:
        return _continued(live, continued.payload)
    if live.cancel_delivered:
        value = {"type": "Canceled", "message": live.row.get("cancel_reason") or "Cancelled."}
        return _final(RunStatus.CANCELED, "run.canceled", value)
    if error is None:
        missing = live.recorded.never_asked()
        if missing:
            live.needs_attention(replay.never_asked_message(live.id, missing, ()))
            return None
        return _completed(main.result())
    return _failed(live, error)


def _continuation(error: BaseException | None) -> ContinueAsNew | None:
    """What asked for a new generation: by itself, or alone in what a TaskGroup raised."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, ContinueAsNew) else None


def _continued(live: LiveRun, payload: str) -> Move:
    data = f'{{"generation":{live.row["generation"] + 1}}}'
    return Move(
        status=RunStatus.QUEUED, event="run.continued", event_data=data, attempt=1, payload=payload
    )


def _completed(value: Any) -> Move:
    try:
        text = encode(value, field="output", limit=settings.FLOWMAESTRO.OUTPUT_LIMIT)
    except FlowMaestroError as error:
        return _final(RunStatus.FAILED, "run.failed", error_value(error))
    return Move(status=RunStatus.COMPLETED, event="run.completed", output=text)


def _failed(live: LiveRun, error: BaseException) -> Move:
    retry = live.task_retry or live.host.default_retry
    limit = live.row["max_attempts"]
    if limit is not None:
        retry = _with_limit(retry, limit)
    value = error_value(error)
    decision = live.decision or Decision()
    is_retried = isinstance(error, Exception) and retry.allows(live.attempt, error)
    if is_retried and not decision.skip_retrying:
        delay = decision.retry_after
        if delay is None:
            delay = retry.delay(live.attempt, uniform=live.host.spread)
        text = encode({"error": value, "retry_in_seconds": round(delay, 3)}, field="error")
        return Move(
            status=RunStatus.WAITING, event="run.attempt_failed", event_data=text, wait=delay,
            attempt=live.attempt + 1, seen=live.wakes,
        )  # fmt: skip
    output = getattr(error, "output", None)
    if isinstance(error, StepFailed) or output is None:
        return _final(RunStatus.FAILED, "run.failed", value)
    return _final(RunStatus.FAILED, "run.failed", value, encode(output, field="output"))


def _with_limit(retry: Retry, attempts: int) -> Retry:
    return Retry(
        max_attempts=attempts, factor=retry.factor, min_timeout=retry.min_timeout,
        max_timeout=retry.max_timeout, randomize=retry.randomize,
        non_retryable=retry.non_retryable,
    )  # fmt: skip


def _final(status: RunStatus, event: str, error: Json, output: str | None = None) -> Move:
    text = encode(error, field="error")
    return Move(
        status=status, event=event, event_data=f'{{"error":{text}}}', error=text, output=output
    )
