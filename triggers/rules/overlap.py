"""What becomes of a due time while a run of the same schedule is still open."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# What a schedule keeps for later at most; what is over that is skipped.
MOST_BUFFERED: Final = 1000


class Overlap(StrEnum):
    """The policies, by the names that Temporal gives them."""

    SKIP = "SKIP"
    BUFFER_ONE = "BUFFER_ONE"
    BUFFER_ALL = "BUFFER_ALL"
    CANCEL_OTHER = "CANCEL_OTHER"
    TERMINATE_OTHER = "TERMINATE_OTHER"
    ALLOW_ALL = "ALLOW_ALL"


class Fate(StrEnum):
    """What becomes of one due time."""

    START = "START"
    BUFFER = "BUFFER"
    SKIP = "SKIP"


class Close(StrEnum):
    """What is done to the open runs first."""

    NOTHING = "NOTHING"
    CANCEL = "CANCEL"
    TERMINATE = "TERMINATE"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """A fate for each due time, in their order; and what is done first."""

    fates: tuple[Fate, ...]
    close: Close = Close.NOTHING
    drops_buffered: bool = False


def decide(policy: Overlap, due: int, *, open_runs: int, buffered: int) -> Verdict:
    """What becomes of so many due times, the oldest first.

    SKIP starts the first when nothing is open. BUFFER_ONE and BUFFER_ALL keep one, or all, until
    what is open has ended. CANCEL_OTHER cancels what is open and keeps the last until that has
    ended; TERMINATE_OTHER ends it at once and starts the last. Of several that are due together,
    these two want the last only: each would but have closed the one before.
    """
    if not due:
        return Verdict(fates=())
    busy = open_runs > 0 or buffered > 0
    if policy is Overlap.ALLOW_ALL:
        return Verdict(fates=(Fate.START,) * due)
    if policy in (Overlap.CANCEL_OTHER, Overlap.TERMINATE_OTHER):
        return _closing(policy, due, open_runs=open_runs, buffered=buffered)
    room = {Overlap.BUFFER_ONE: 1, Overlap.BUFFER_ALL: MOST_BUFFERED}.get(policy, 0)
    started = 0 if busy else 1
    kept = min(due - started, max(0, room - buffered))
    skipped = due - started - kept
    return Verdict(fates=(Fate.START,) * started + (Fate.BUFFER,) * kept + (Fate.SKIP,) * skipped)


def _closing(policy: Overlap, due: int, *, open_runs: int, buffered: int) -> Verdict:
    waits = policy is Overlap.CANCEL_OTHER and open_runs > 0
    close = Close.CANCEL if policy is Overlap.CANCEL_OTHER else Close.TERMINATE
    return Verdict(
        fates=(Fate.SKIP,) * (due - 1) + (Fate.BUFFER if waits else Fate.START,),
        close=close if open_runs else Close.NOTHING,
        drops_buffered=buffered > 0,
    )
