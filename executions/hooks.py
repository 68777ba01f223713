"""Hooks: functions around a task's own, for one task or for all.

A hook of a life is called while the run lives (`on_start`, `on_wait`, `on_resume`, `on_cancel`,
`catch_error`, `middleware`). A hook of the end (`on_success`, `on_failure`, `on_complete`) is
called by a run of its own, which whatever ends the first one starts; so none is missed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from executions.errors import Invalid

Hook = Callable[..., Any]

OF_THE_END = ("on_success", "on_failure", "on_cancel", "on_complete")


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What is called around a task's function; each may be `async def` or `def`.

    `on_start(payload, ctx)`: once, as a step, before the function. `middleware(payload, ctx, call)`
    calls the function by `call()`, and `on_cancel(payload, ctx)` cleans up; both may take steps,
    and are `async def` for an async task, `def` for a plain one. `on_wait(payload, ctx)` and
    `on_resume(payload, ctx)`: each time the run leaves memory and comes back.
    `catch_error(payload, error, ctx)`: after a failed attempt; gives None, or a `Decision`.
    `on_success(payload, output, ctx)`, `on_failure(payload, error, ctx)` and
    `on_complete(payload, result, ctx)`: after the end, at least once each.
    """

    on_start: Hook | None = None
    on_success: Hook | None = None
    on_failure: Hook | None = None
    on_cancel: Hook | None = None
    on_complete: Hook | None = None
    on_wait: Hook | None = None
    on_resume: Hook | None = None
    catch_error: Hook | None = None
    middleware: Hook | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            hook = getattr(self, field.name)
            if hook is not None and not callable(hook):
                raise Invalid(f"{field.name} is a function, not {hook!r}.", field=field.name)

    @property
    def need_a_run(self) -> bool:
        """Whether the end of a run must start another one that calls hooks."""
        return any(getattr(self, name) is not None for name in OF_THE_END)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What `catch_error` wants: another error, no retry, or one after so many seconds."""

    error: Exception | None = None
    skip_retrying: bool = False
    retry_after: float | None = None


_everywhere: list[Hooks] = []


def everywhere(hooks: Hooks) -> Hooks:
    """Registers hooks for every task, around those of the task itself; call it at import."""
    _everywhere.append(hooks)
    return hooks


def remove(hooks: Hooks) -> None:
    """Takes back what `everywhere` registered."""
    _everywhere.remove(hooks)


def named(name: str, own: Hooks, *, is_async: bool | None = None) -> Iterator[Hook]:
    """The hooks of that name, those for every task first; only those of one kind when asked."""
    for hooks in (*_everywhere, own):
        hook: Hook | None = getattr(hooks, name)
        if hook is not None and is_async in (None, inspect.iscoroutinefunction(hook)):
            yield hook


def need_a_run(own: Hooks) -> bool:
    """Whether the end of a task's run must start another one that calls hooks."""
    return any(hooks.need_a_run for hooks in (*_everywhere, own))


def check(hooks: Hooks, *, is_async: bool) -> None:
    """Raises Invalid when a hook that runs inside the task is not of the task's kind."""
    for name in ("middleware", "on_cancel"):
        hook = getattr(hooks, name)
        if hook is not None and inspect.iscoroutinefunction(hook) != is_async:
            kinds = ("async def", "def") if is_async else ("def", "async def")
            raise Invalid(
                f"The {name} of a task that is {kinds[0]} is {kinds[0]} too, not {kinds[1]}.",
                field=name,
            )
