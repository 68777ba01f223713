"""One step: its attempts, its timeouts, and what of it goes into the journal."""

from __future__ import annotations

import asyncio
import functools
import inspect
import typing
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings

from executions.engine import failpoints, transactional
from executions.engine.bodies import StepContext, StepOptions, current_body
from executions.engine.failures import (
    NotStarted,
    StepInterrupted,
    StepTimeout,
    contained,
    error_text,
    failure_of,
)
from executions.engine.live import LiveRun
from executions.engine.replay import Record
from executions.engine.rows import StepRow
from executions.engine.waits import Wait
from executions.errors import FlowMaestroError
from executions.rules.statuses import StepStatus
from executions.rules.values import Json, decode, encode, typed

_CANCEL_SECONDS = 1.0


def return_hint(function: Callable[..., Any]) -> object:
    """The annotated result of a step's function, or None."""
    try:
        return _return_hint(function)
    except TypeError:  # A callable object without a hash.
        return None


@functools.lru_cache(maxsize=4096)
def _return_hint(function: Callable[..., Any]) -> object:
    target = getattr(function, "func", function)
    try:
        return typing.get_type_hints(target).get("return")
    except (TypeError, NameError, AttributeError):
        return None


class StepRun:
    """Carries one step from asking to outcome."""

    __slots__ = ("args", "first_started", "function", "key", "live", "options")

    def __init__(
        self, live: LiveRun, key: str, function: Callable[..., Any], args: tuple[Any, ...],
        options: StepOptions,
    ) -> None:  # fmt: skip
        self.live = live
        self.key = key
        self.function = function
        self.args = args
        self.options = options
        self.first_started: float | None = None

    async def result(self) -> Any:
        """The step's value: recorded, or brought about now."""
        live, options = self.live, self.options
        record = live.recorded.find(self.key, options.kind, run_id=live.id)
        if record is not None and record.has_ended:
            await live.moments.replayed(record)
            return self._recorded_value(record)
        await live.moments.frontier()
        attempt = 1
        heartbeat = None
        if record is not None:
            attempt, heartbeat = record.attempt, record.heartbeat
            self.first_started = record.started_at
            if record.status == StepStatus.STARTED and options.at_most_once:
                return await self._fail(attempt, self._interrupted(attempt))
            if record.status == StepStatus.RETRYING:
                await self._back_off(record.wake_at or 0.0, attempt)
                attempt += 1
        if not options.pure:
            await live.outbox.before_effect()
        return await self._attempts(attempt, heartbeat)

    def _recorded_value(self, record: Record) -> Any:
        if record.status == StepStatus.FAILED:
            raise failure_of(self.key, record.error or {}, record.attempt)
        return typed(record.output, return_hint(self.function), field=self.key)

    async def _attempts(self, attempt: int, heartbeat: Json) -> Any:
        live, options = self.live, self.options
        while True:
            context = StepContext(live, self.key, attempt, heartbeat, options)
            started = live.loop.time()
            if self.first_started is None:
                self.first_started = live.host.clock.now()
            if not options.pure:
                await self._announce(attempt)
            try:
                failpoints.hit("step.before_body")
                value = await self._body(context)
                failpoints.hit("step.after_body")
            except Exception as error:
                context.is_dead = True
                if options.transactional:
                    stored = await transactional.committed(self, context)
                    if stored is not None:
                        return await transactional.released(self, context, stored)
                wait = self._next_delay(attempt, error)
                if wait is None:
                    return await self._fail(attempt, error, live.loop.time() - started)
                heartbeat = context.last_heartbeat if context.details is None else context.details
                await self._retry_later(attempt, error, wait, heartbeat)
                attempt += 1
                continue
            except BaseException:
                if options.transactional:
                    live.moments.give_up(context.place)
                raise
            finally:
                context.is_dead = True
            if options.transactional:
                return await transactional.released(self, context, value)
            lasted = live.loop.time() - started
            try:
                text = encode(value, field=self.key, limit=settings.FLOWMAESTRO.OUTPUT_LIMIT)
            except FlowMaestroError as error:
                # The effect has happened; doing it again would give no better value.
                return await self._fail(attempt, error, lasted)
            return await self._complete(attempt, text, lasted)

    async def _announce(self, attempt: int) -> None:
        """Says that an attempt starts; only an at-most-once or transactional step waits for it."""
        live, options = self.live, self.options
        row = StepRow(
            self.key, options.kind, StepStatus.STARTED, attempt=attempt, run_attempt=live.attempt,
            input=None if options.input is None else encode(options.input, field=self.key),
        )  # fmt: skip
        live.outbox.put(row, "step.started", row)
        if options.at_most_once or options.transactional:
            await live.outbox.written()
            failpoints.hit("step.announced")

    async def _body(self, context: StepContext) -> Any:
        live = self.live
        task = asyncio.current_task()
        assert task is not None
        token = current_body.set(context)
        live.bodies.add(task)
        try:
            body = self._call(context)
            value = await (self._in_time(body, context) if self.options.is_timed else body)
            # A plain function may hand out a coroutine: `lambda: fetch(url)`.
            return await value if inspect.iscoroutine(value) else value
        except (SystemExit, KeyboardInterrupt) as error:
            raise contained(error) from error
        except asyncio.CancelledError as error:
            if task.cancelling() or live.is_over:
                raise
            raise contained(error) from error
        finally:
            live.bodies.discard(task)
            current_body.reset(token)

    def _call(self, context: StepContext) -> Awaitable[Any]:
        if self.options.transactional:
            return transactional.carry_out(self, context)
        if inspect.iscoroutinefunction(self.function):
            context.begin()
            return self.function(*self.args)
        return self.live.host.on_thread(self.live, functools.partial(self._begun, context), ())

    def _begun(self, context: StepContext) -> Any:
        """The body, now that there is a thread for it."""
        context.begin()
        return self.function(*self.args)

    def _time_left(self, own: float | None) -> float | None:
        """Seconds until a limit of its own is over, or all attempts have had their time."""
        limits = [] if own is None else [own]
        whole = self.options.schedule_to_close
        if whole is not None and self.first_started is not None:
            spent = self.live.host.clock.now() - self.first_started
            limits.append(max(0.0, whole - spent))
        return min(limits, default=None)

    async def _in_time(self, body: Awaitable[Any], context: StepContext) -> Any:
        if not context.has_begun:
            context.begun = self.live.loop.create_future()
        future = asyncio.ensure_future(body)
        try:
            if context.begun is not None:
                await self._until_begun(future, context.begun)
            return await self._until_done(future, context)
        finally:
            if not future.done():
                context.is_dead = True
                future.cancel()
                # The next attempt should not meet this one still at work.
                await asyncio.wait({future}, timeout=_CANCEL_SECONDS)

    async def _until_begun(self, future: asyncio.Future[Any], begun: asyncio.Future[None]) -> None:
        """Waits for a thread. The limits of the attempt itself do not count yet."""
        start = self.options.schedule_to_start
        limit = self._time_left(start)
        await asyncio.wait({future, begun}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if not future.done() and not begun.done():
            if limit == start:
                raise NotStarted(f"No thread was free for it within {limit:g} s.")
            raise StepTimeout(f"No thread was free for it within the {limit:g} s that were left.")

    async def _until_done(self, future: asyncio.Future[Any], context: StepContext) -> Any:
        loop, watch = self.live.loop, self.options.heartbeat_timeout
        limit = self._time_left(self.options.timeout)
        deadline = None if limit is None else loop.time() + limit
        while True:
            ends = [] if deadline is None else [deadline]
            if watch is not None:
                ends.append(context.beaten_at + watch)
            left = max(0.0, min(ends) - loop.time()) if ends else None
            await asyncio.wait({future}, timeout=left)
            if future.done():
                return future.result()
            if deadline is not None and loop.time() >= deadline:
                raise StepTimeout(f"The attempt took longer than {limit:g} s.")
            if watch is not None and loop.time() >= context.beaten_at + watch:
                raise StepTimeout(f"No heartbeat for {watch:g} s.")

    def _next_delay(self, attempt: int, error: Exception) -> float | None:
        """Seconds until the next attempt; None when there is none."""
        retry = self.options.retry
        if not retry.allows(attempt, error):
            return None
        named = getattr(error, "retry_after", None)
        if isinstance(named, (int, float)):
            delay = float(named)
        else:
            delay = retry.delay(attempt, uniform=self.live.host.spread)
        limit = self.options.schedule_to_close
        if limit is not None and self.first_started is not None:
            spent = self.live.host.clock.now() - self.first_started
            if spent + delay >= limit:
                return None
        return delay

    async def _retry_later(
        self, attempt: int, error: Exception, delay: float, heartbeat: Json
    ) -> None:
        live = self.live
        row = StepRow(
            self.key, self.options.kind, StepStatus.RETRYING, attempt=attempt,
            run_attempt=live.attempt, error=error_text(error), wait=delay,
            heartbeat=None if heartbeat is None else encode(heartbeat, field="heartbeat"),
        )  # fmt: skip
        failpoints.hit("step.before_retry")
        live.outbox.put(row, "step.retrying", row)
        await self._back_off(live.host.clock.now() + delay, attempt)
        await live.host.threads_ended(live)

    async def _back_off(self, until: float, attempt: int) -> None:
        future = self.live.future()
        await self.live.moments.wait(
            Wait(key=self.key, kind="retry", future=future, until=until, attempt=attempt)
        )

    async def _complete(self, attempt: int, text: str, lasted: float) -> Any:
        options = self.options
        row = StepRow(
            self.key, options.kind, StepStatus.COMPLETED, attempt=attempt, output=text,
            lasted=lasted,
        )  # fmt: skip
        if options.pure and options.input is not None:
            row.input = encode(options.input, field=self.key)
        # What the code goes on with is what a replay would give it: the stored JSON.
        value = decode(text)
        future = self.live.moments.settle(row, value, None, durable=not options.pure)
        if future is not None:
            await future
        failpoints.hit("step.after_commit")
        return typed(value, return_hint(self.function), field=self.key)

    async def _fail(self, attempt: int, error: Exception, lasted: float | None = None) -> Any:
        text = error_text(error)
        row = StepRow(
            self.key, self.options.kind, StepStatus.FAILED, attempt=attempt, error=text,
            lasted=lasted,
        )  # fmt: skip
        failure = failure_of(self.key, decode(text), attempt)
        failure.__cause__ = error
        # A step that must not run again makes its task fail for good too.
        if getattr(error, "non_retryable", False):
            failure.non_retryable = True  # type: ignore[attr-defined]
        future = self.live.moments.settle(row, None, failure, durable=True)
        assert future is not None
        failpoints.hit("step.before_failure")
        await future

    def _interrupted(self, attempts: int) -> StepInterrupted:
        message = (
            f'Step "{self.key}" runs at most once; it was started and its worker died before '
            "its outcome was stored. Find out whether it took effect."
        )
        error = {"type": StepInterrupted.__name__, "message": message}
        return StepInterrupted(self.key, error, attempts)
