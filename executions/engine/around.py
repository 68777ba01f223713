"""What is called around a task's code: its hooks and middleware."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from executions import hooks
from executions.engine.bodies import StepOptions
from executions.engine.context import Context
from executions.engine.failures import contained
from executions.engine.rows import StepRow
from executions.engine.steps import StepRun
from executions.hooks import Decision, Hook
from executions.rules.statuses import StepStatus

if TYPE_CHECKING:
    from executions.engine.live import LiveRun
    from executions.registry import Task

logger = logging.getLogger(__name__)

# What a hook may take that no step stands behind: it must not hold up its run for ever.
_PATIENCE_SECONDS = 30.0
CANCEL_HOOK_KEY = "@on_cancel"
_START_HOOK_KEY = "@on_start"


async def begin(live: LiveRun, task: Task, payload: Any) -> None:
    """Calls `on_start` once in the life of the run, `on_resume` each time it comes back."""
    waiting = list(hooks.named("on_wait", task.hooks))
    if waiting:
        live.moments.parking.before = functools.partial(_all, live, "on_wait", waiting, payload)
    if live.was_away:
        await _all(live, "on_resume", list(hooks.named("on_resume", task.hooks)), payload)
    has_begun = live.recorded.has_begun or live.row["generation"] > 0
    for number, hook in enumerate(hooks.named("on_start", task.hooks), 1):
        key = _START_HOOK_KEY if number == 1 else f"{_START_HOOK_KEY}#{number}"
        # A hook that was added while the run was under way has missed its start.
        if key in live.recorded.by_key or not has_begun:
            options = StepOptions(retry=live.host.default_retry, kind="hook")
            await StepRun(live, key, hook, (payload, Context(live)), options).result()


async def call(live: LiveRun, task: Task, payload: Any) -> Any:
    """What an async task's function gives, through its middleware; `on_cancel` at the end."""
    ctx = Context(live)
    function: Callable[[], Any] = functools.partial(task.function, payload, ctx)
    for middleware in reversed(list(hooks.named("middleware", task.hooks, is_async=True))):
        function = functools.partial(middleware, payload, ctx, function)
    try:
        return await function()
    finally:
        for number, hook in _cancel_hooks(live, task, is_async=True):
            try:
                await hook(payload, Context(live, scope=f"{CANCEL_HOOK_KEY}#{number}/"))
            except Exception:  # A clean-up that fails must not undo the cancellation.
                logger.exception("on_cancel of run %s failed.", live.id)
        note_cancel(live)


def plain_program(live: LiveRun, task: Task) -> Callable[[Any, Any], Any]:
    """The same for a plain task, to be called on the task's thread."""

    def program(payload: Any, ctx: Any) -> Any:
        function: Callable[[], Any] = functools.partial(task.function, payload, ctx)
        for middleware in reversed(list(hooks.named("middleware", task.hooks, is_async=False))):
            function = functools.partial(middleware, payload, ctx, function)
        try:
            return function()
        finally:
            for number, hook in _cancel_hooks(live, task, is_async=False):
                try:
                    hook(payload, ctx.scoped(f"{CANCEL_HOOK_KEY}#{number}/"))
                except Exception:
                    logger.exception("on_cancel of run %s failed.", live.id)

    return program


def _cancel_hooks(live: LiveRun, task: Task, *, is_async: bool) -> list[tuple[int, Hook]]:
    if not live.cancel_delivered or live.is_over or live.time_error is not None:
        return []
    return list(enumerate(hooks.named("on_cancel", task.hooks, is_async=is_async), 1))


def note_cancel(live: LiveRun) -> None:
    """Records that `on_cancel` was called, in the flush that ends the run or in one before."""
    if not live.cancel_delivered or live.is_over or live.time_error is not None:
        return
    # Its worker may have died between that flush and the end.
    if live.recorded.find(CANCEL_HOOK_KEY, "hook", run_id=live.id) is None:
        live.moments.note(StepRow(CANCEL_HOOK_KEY, "hook", StepStatus.COMPLETED, output="null"))


async def caught(live: LiveRun, task: Task, payload: Any, error: Exception) -> Exception:
    """The error that the attempt ends with, after `catch_error` has had its say."""
    if live.is_over or live.must_stop:
        return error
    for hook in hooks.named("catch_error", task.hooks):
        decision = await _one(live, "catch_error", hook, payload, error)
        if isinstance(decision, Decision):
            live.decision = decision
            error = decision.error or error
    return error


async def _all(live: LiveRun, name: str, called: list[Hook], payload: Any) -> None:
    for hook in called:
        await _one(live, name, hook, payload)


async def _one(live: LiveRun, name: str, hook: Hook, payload: Any, *more: Any) -> Any:
    """Calls a hook that no step stands behind; its failure is logged, and harms nothing."""
    arguments = (payload, *more, Context(live, may_step=False))
    try:
        return await asyncio.wait_for(_answer(live, hook, arguments), _PATIENCE_SECONDS)
    except Exception:
        logger.exception("%s of run %s failed.", name, live.id)
        return None


async def _answer(live: LiveRun, hook: Hook, arguments: tuple[Any, ...]) -> Any:
    try:
        if inspect.iscoroutinefunction(hook):
            return await hook(*arguments)
        return await live.host.in_pool(hook, arguments)
    except (SystemExit, KeyboardInterrupt) as error:
        raise contained(error) from error
