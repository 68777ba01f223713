"""Transactional steps: the body's database writes and the step's row in one commit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction

from executions.engine import failpoints
from executions.engine.live import RunGone
from executions.engine.moments import Release
from executions.engine.rows import Batch, StepRow, event_data
from executions.rules.statuses import StepStatus
from executions.rules.values import Json, decode, encode, typed

if TYPE_CHECKING:
    from executions.engine.bodies import StepContext
    from executions.engine.steps import StepRun

_FENCE = """
UPDATE executions_run SET event_seq = event_seq + 1, stalls = 0
WHERE id = %s AND claim = %s::uuid AND status = 'EXECUTING' RETURNING event_seq
"""
_WRITE = """
WITH s AS (
  UPDATE executions_step SET status = 'COMPLETED', seq = %s, output = %s::json, error = NULL,
    attempt = %s, finished_at = flowmaestro_now(), wake_at = NULL
  WHERE run_id = %s AND key = %s AND status <> 'COMPLETED'
)
INSERT INTO executions_runevent (run_id, seq, type, data)
VALUES (%s, %s, 'step.completed', %s::json)
"""
_STORED = """
SELECT output::text FROM executions_step WHERE run_id = %s AND key = %s AND status = 'COMPLETED'
"""


async def carry_out(step: StepRun, context: StepContext) -> Any:
    """Runs the body on a thread inside one transaction that also stores its outcome.

    The fence is taken last, so that the run's row is locked only for the commit.
    """
    live = step.live
    place = context.place = Release(live.future(), batch=Batch())

    def reserve() -> int:
        async def take() -> int:
            # Here on the loop, so that an attempt that is over can reserve nothing any more.
            if context.is_dead or live.is_over:
                raise RunGone(f"The attempt of {step.key} is over.")
            return live.moments.reserve(place)

        return asyncio.run_coroutine_threadsafe(take(), live.loop).result()

    try:
        return await live.host.on_thread(live, _body, (step, context, reserve))
    except BaseException:
        context.is_dead = True
        raise


async def released(step: StepRun, context: StepContext, text: str) -> Any:
    """The committed outcome, when its turn comes: no time limit of the attempt counts here."""
    from executions.engine.steps import return_hint

    place, value = context.place, decode(text)
    step.live.moments.fill(place, value)
    await place.future
    failpoints.hit("transactional.released")
    return typed(value, return_hint(step.function), field=step.key)


async def committed(step: StepRun, context: StepContext) -> str | None:
    """The stored outcome of an attempt that failed or overran, if it was committed all the same.

    An attempt that has reserved its place is about to commit: the database says whether it did.
    """
    live = step.live
    if not live.moments.is_reserved(context.place):
        return None
    rows: list[Any] = []
    try:
        await live.host.threads_ended(live)
        rows = await live.host.lookups.query(_STORED, (live.id, step.key))
    finally:
        if not rows:
            live.moments.give_up(context.place)
    return str(rows[0][0]) if rows else None


def _body(step: StepRun, context: StepContext, reserve: Any) -> str:
    context.begin()
    try:
        with transaction.atomic():
            failpoints.hit("transactional.before_body")
            value: Json = step.function(*step.args)
            failpoints.hit("transactional.before_fence")
            text = encode(value, field=step.key, limit=settings.FLOWMAESTRO.OUTPUT_LIMIT)
            _store(step, context, text, reserve())
            failpoints.hit("transactional.before_commit")
        failpoints.hit("transactional.after_commit")
    except (OperationalError, InterfaceError):
        # The commit's answer may have been lost: the row says whether it happened.
        connection.close()
        stored = _stored(step)
        if stored is None:
            raise
        return stored
    return text


def _store(step: StepRun, context: StepContext, text: str, seq: int) -> None:
    if context.is_dead:
        raise RunGone(f"The attempt of {step.key} is over.")
    run_id = step.live.id
    row = StepRow(step.key, step.options.kind, StepStatus.COMPLETED, attempt=context.attempt)
    with connection.cursor() as cursor:
        cursor.execute(_FENCE, [run_id, step.live.claim])
        fenced = cursor.fetchone()
        if fenced is None:
            raise RunGone(f"Run {run_id} is held by another worker.")
        cursor.execute(
            _WRITE,
            [seq, text, context.attempt, run_id, step.key, run_id, fenced[0], event_data(row)],
        )


def _stored(step: StepRun) -> str | None:
    with connection.cursor() as cursor:
        cursor.execute(_STORED, [step.live.id, step.key])
        row = cursor.fetchone()
    return None if row is None else str(row[0])
