"""The statuses of a run, a step and a wait token, and which moves between them are legal."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class RunStatus(StrEnum):
    """Where a run stands; the public names are those Trigger.dev's users know."""

    DELAYED = "DELAYED"
    QUEUED = "QUEUED"
    EXECUTING = "EXECUTING"
    WAITING = "WAITING"
    PAUSED = "PAUSED"
    NEEDS_ATTENTION = "NEEDS_ATTENTION"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    TIMED_OUT = "TIMED_OUT"
    EXPIRED = "EXPIRED"
    CRASHED = "CRASHED"
    SYSTEM_FAILURE = "SYSTEM_FAILURE"


FINAL: Final = frozenset(
    {
        RunStatus.COMPLETED,
        RunStatus.FAILED,
        RunStatus.CANCELED,
        RunStatus.TIMED_OUT,
        RunStatus.EXPIRED,
        RunStatus.CRASHED,
        RunStatus.SYSTEM_FAILURE,
    }
)
OPEN: Final = frozenset(RunStatus) - FINAL
# An idempotency key of a run that ended so is free again; finished and cancelled runs keep theirs.
FREES_IDEMPOTENCY_KEY: Final = frozenset(
    {
        RunStatus.FAILED,
        RunStatus.TIMED_OUT,
        RunStatus.EXPIRED,
        RunStatus.CRASHED,
        RunStatus.SYSTEM_FAILURE,
    }
)

_HELD: Final = {RunStatus.PAUSED, RunStatus.CANCELED, RunStatus.TIMED_OUT}
LEGAL_MOVES: Final[dict[RunStatus, frozenset[RunStatus]]] = {
    RunStatus.DELAYED: frozenset({RunStatus.QUEUED, RunStatus.EXPIRED, *_HELD}),
    RunStatus.QUEUED: frozenset(
        # CRASHED: a run whose workers keep dying is convicted while it is queued again.
        {RunStatus.EXECUTING, RunStatus.EXPIRED, RunStatus.CRASHED, *_HELD}
    ),
    RunStatus.EXECUTING: frozenset(
        {
            RunStatus.WAITING,
            RunStatus.QUEUED,
            RunStatus.NEEDS_ATTENTION,
            RunStatus.COMPLETED,
            RunStatus.FAILED,
            RunStatus.CRASHED,
            RunStatus.SYSTEM_FAILURE,
            *_HELD,
        }
    ),
    RunStatus.WAITING: frozenset({RunStatus.QUEUED, *_HELD}),
    RunStatus.PAUSED: frozenset({RunStatus.QUEUED, RunStatus.CANCELED, RunStatus.TIMED_OUT}),
    RunStatus.NEEDS_ATTENTION: frozenset(
        {RunStatus.QUEUED, RunStatus.CANCELED, RunStatus.TIMED_OUT}
    ),
}


def is_final(status: str) -> bool:
    """Whether nothing can change a run of this status any more."""
    return status in FINAL


def may_move(old: str, new: str) -> bool:
    """Whether a run may go from `old` to `new`."""
    return new in LEGAL_MOVES.get(RunStatus(old), frozenset())


class StepStatus(StrEnum):
    """Where a step stands in the journal of its run."""

    STARTED = "STARTED"
    RETRYING = "RETRYING"
    WAITING = "WAITING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class TokenStatus(StrEnum):
    """A wait token's single outcome, or that there is none yet."""

    WAITING = "WAITING"
    COMPLETED = "COMPLETED"
    TIMED_OUT = "TIMED_OUT"


class ParentClose(StrEnum):
    """What becomes of an unfinished child when its parent ends."""

    TERMINATE = "TERMINATE"
    REQUEST_CANCEL = "REQUEST_CANCEL"
    ABANDON = "ABANDON"
