"""What higher apps have the workers do: when they start, with each tick, at moments to come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.db.backends.utils import CursorWrapper


def _nothing() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Duty:
    """A part of every worker's tick. Any number of workers do it at the same time.

    `tick` does what is due, within a fraction of a second, and says whether there is more;
    `next_moment` says when there is something to do next, a moment that has passed for now.
    `start` is called in each worker process before it takes runs.
    """

    name: str
    tick: Callable[[CursorWrapper], bool]
    next_moment: Callable[[CursorWrapper], datetime | None]
    start: Callable[[], None] = _nothing


_duties: dict[str, Duty] = {}


def register(duty: Duty) -> None:
    """Adds a duty; one of the same name is replaced."""
    _duties[duty.name] = duty


def all_duties() -> list[Duty]:
    """Every duty, in the order in which they were added."""
    return list(_duties.values())


def start() -> None:
    """What they do before a worker takes runs."""
    for duty in all_duties():
        duty.start()
