"""Whether the asyncio tasks of a run can still move by themselves, or only wait for the engine.

A run may leave memory only when each of its tasks waits in the engine, or for tasks that do. What
an `asyncio.wait`, `wait_for` or `TaskGroup` waits for is read from its frame; any other future is
foreign: somebody outside may resolve it, so the run stays in memory.
"""

from __future__ import annotations

import asyncio
from asyncio import taskgroups, tasks
from collections.abc import Iterable
from enum import IntEnum
from types import CodeType
from typing import Any

_WAIT: CodeType = tasks._wait.__code__  # type: ignore[attr-defined]
_WAIT_FOR: CodeType = tasks.wait_for.__code__
_GROUP_EXIT: CodeType = taskgroups.TaskGroup.__aexit__.__code__


class EngineFuture(asyncio.Future[Any]):
    """A future that only the engine resolves."""


class Mood(IntEnum):
    """What a run's tasks can do next, the liveliest first."""

    READY = 0
    FOREIGN = 1
    BLOCKED = 2


def mood(
    run_tasks: Iterable[asyncio.Task[Any]], bodies: set[asyncio.Task[Any]], own: set[Any]
) -> Mood:
    """The liveliest mood among the tasks; tasks inside a step's body do not count.

    `own` holds the run's live tasks: waiting for one of them is waiting inside the run.
    """
    result = Mood.BLOCKED
    for task in run_tasks:
        if task.done() or task in bodies:
            continue
        one = _mood_of(task, own)
        if one is Mood.READY:
            return one
        result = min(result, one)
    return result


def _mood_of(task: asyncio.Task[Any], own: set[Any]) -> Mood:
    waiter = getattr(task, "_fut_waiter", None)
    if waiter is None or waiter.done():
        return Mood.READY
    if _is_inside(waiter, own):
        return Mood.BLOCKED
    children = getattr(waiter, "_children", None)
    if children is None:
        children = _awaited_by_frame(task)
    if children is None:
        return Mood.FOREIGN
    open_ones = [child for child in children if not child.done()]
    if not open_ones:
        # All done: the callback that says so is on its way.
        return Mood.READY
    inside = all(_is_inside(child, own) for child in open_ones)
    return Mood.BLOCKED if inside else Mood.FOREIGN


def _is_inside(future: Any, own: set[Any]) -> bool:
    return isinstance(future, EngineFuture) or future in own


def _awaited_by_frame(task: asyncio.Task[Any]) -> Iterable[Any] | None:
    """What the innermost asyncio combinator of a task waits for; None when there is none."""
    coroutine: Any = task.get_coro()
    innermost = coroutine
    while True:
        awaited = getattr(innermost, "cr_await", None)
        if awaited is None or not hasattr(awaited, "cr_frame"):
            break
        innermost = awaited
    frame = getattr(innermost, "cr_frame", None)
    if frame is None:
        return None
    if frame.f_code is _WAIT and frame.f_locals.get("timeout") is None:
        return list(frame.f_locals["fs"])
    if frame.f_code is _WAIT_FOR and frame.f_locals.get("timeout") is None:
        return [frame.f_locals["fut"]]
    if frame.f_code is _GROUP_EXIT:
        return list(frame.f_locals["self"]._tasks)
    return None
