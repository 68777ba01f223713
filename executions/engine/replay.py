"""The recorded journal of a run, as it answers the code that asks for its steps again."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from executions.engine.quiet import EngineFuture
from executions.rules.statuses import StepStatus

Json = Any
_ENDED = (StepStatus.COMPLETED, StepStatus.FAILED)
# No step of a user can have it: names do not begin with "@".
CANCEL_KEY = "@cancel"


class JournalMismatch(BaseException):
    """The code asks for something else than what the journal recorded.

    A BaseException, so that a task's own `except Exception` cannot swallow it.
    """


@dataclass(slots=True, kw_only=True)
class Record:
    """A step as the journal holds it."""

    key: str
    kind: str
    status: str
    seq: int | None
    pending: int | None
    attempt: int
    run_attempt: int
    input: Json
    output: Json
    error: Json
    heartbeat: Json
    wake_at: float | None
    started_at: float

    @property
    def has_ended(self) -> bool:
        """Whether the outcome is recorded."""
        return self.status in _ENDED


class Recorded:
    """What is recorded of a run, and which of it has been asked for and released.

    Failures of earlier attempts of the run are forgotten, their successes kept: those answer when
    asked, but only steps of the present attempt must be asked for again.
    """

    def __init__(self, records: Iterable[Record], *, run_attempt: int) -> None:
        self.by_key: dict[str, Record] = {}
        self.last_seq = 0
        self._strict: set[str] = set()
        self._asked: list[tuple[int, str, EngineFuture]] = []
        # Whether the task's own code has been at work, in this attempt or an earlier one.
        self.has_begun = False
        for record in records:
            self.has_begun |= not record.key.startswith("@")
            self.last_seq = max(self.last_seq, record.seq or 0)
            if record.run_attempt < run_attempt and record.status == StepStatus.FAILED:
                continue
            self.by_key[record.key] = record
            # The engine's own: a cancellation comes from outside, a hook may have been removed.
            is_own = record.key.startswith("@")
            if record.has_ended and record.run_attempt == run_attempt and not is_own:
                self._strict.add(record.key)
        self.has_any_outcome = any(record.has_ended for record in self.by_key.values())

    def find(self, key: str, kind: str, *, run_id: str) -> Record | None:
        """The record under `key`; raises JournalMismatch when another kind of thing lies there."""
        record = self.by_key.get(key)
        if record is not None:
            self._strict.discard(key)
            if record.kind != kind:
                raise JournalMismatch(
                    f'Run {run_id} recorded a {record.kind} under the key "{key}"; its code now '
                    f"asks for a {kind} there. " + WAYS_OUT
                )
        return record

    def ask(self, record: Record, future: EngineFuture) -> None:
        """Queues a recorded outcome for release."""
        heapq.heappush(self._asked, (record.seq or 0, record.key, future))

    def next_asked(self) -> tuple[Record, EngineFuture] | None:
        """The asked outcome that was recorded first, taken off the queue."""
        while self._asked:
            _, key, future = heapq.heappop(self._asked)
            if not future.done():
                return self.by_key[key], future
        return None

    def first_asked_seq(self) -> int | None:
        """When the next outcome to release was recorded."""
        return self._asked[0][0] if self._asked else None

    def never_asked(self) -> list[Record]:
        """Outcomes of this attempt that the code has not asked for, in the order recorded."""
        return sorted((self.by_key[key] for key in self._strict), key=lambda r: r.seq or 0)


WAYS_OUT = (
    'Ways out: guard the change with ctx.patched("…"), deploy the code it was started with and '
    "release the run, or cancel it and trigger a new one."
)


def never_asked_message(run_id: str, records: list[Record], asked: Iterable[str]) -> str:
    """What an operator reads when recorded steps are missing from the code."""
    recorded = ", ".join(f'"{record.key}"' for record in records[:5])
    new = ", ".join(f'"{key}"' for key in list(asked)[:5]) or "nothing more"
    return (
        f"Run {run_id} recorded {recorded}, which its code no longer asks for; it asks for {new}. "
        + WAYS_OUT
    )


def record_from(row: Mapping[str, Any]) -> Record:
    """A record from a row of LOAD_STEPS."""
    return Record(
        key=row["key"], kind=row["kind"], status=row["status"], seq=row["seq"],
        pending=row["pending"], attempt=row["attempt"], run_attempt=row["run_attempt"],
        input=row["input"], output=row["output"], error=row["error"],
        heartbeat=row["heartbeat"],
        wake_at=row["wake_at"].timestamp() if row["wake_at"] else None,
        started_at=row["started_at"].timestamp(),
    )  # fmt: skip
