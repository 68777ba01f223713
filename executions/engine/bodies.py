"""What a step's body can learn and say while it runs, and how the step is carried out."""

from __future__ import annotations

import asyncio
import functools
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from executions.engine.live import LiveRun, RunGone
from executions.engine.rows import StepRow
from executions.rules.retry import Retry
from executions.rules.statuses import StepStatus
from executions.rules.values import Json, decode, encode

# Heartbeats closer together than this are kept in memory: the last one counts.
_HEARTBEAT_EVERY = 1.0

current_body: ContextVar[StepContext | None] = ContextVar("current_body", default=None)


@dataclass(slots=True, kw_only=True)
class StepOptions:
    """How a step is carried out. Times are seconds."""

    retry: Retry
    timeout: float | None = None
    schedule_to_start: float | None = None
    schedule_to_close: float | None = None
    heartbeat_timeout: float | None = None
    pure: bool = False
    at_most_once: bool = False
    transactional: bool = False
    kind: str = "step"
    input: Json = None

    @property
    def is_timed(self) -> bool:
        """Whether an attempt has any limit in time."""
        limits = (self.timeout, self.schedule_to_start, self.schedule_to_close)
        return self.heartbeat_timeout is not None or limits != (None, None, None)


class StepContext:
    """What a step's body can learn and say about its attempt; got by `current_step()`."""

    __slots__ = (
        "_is_clean_up",
        "_options",
        "_unwritten",
        "_written_at",
        "attempt",
        "beaten_at",
        "begun",
        "details",
        "has_begun",
        "is_dead",
        "last_heartbeat",
        "live",
        "place",
        "run_id",
        "step",
    )

    def __init__(
        self, live: LiveRun, key: str, attempt: int, last_heartbeat: Json, options: StepOptions
    ) -> None:
        self.run_id = live.id
        self.step = key
        self.attempt = attempt
        self.last_heartbeat = last_heartbeat
        # A step of the clean-up belongs to a run that is being cancelled already.
        self._is_clean_up = live.cancel_delivered
        self.is_dead = False
        self.has_begun = False
        # Resolved when the body begins, where somebody waits for that.
        self.begun: asyncio.Future[None] | None = None
        self.live = live
        self.beaten_at = live.loop.time()
        self.details: Json = None
        self._options = options
        self._written_at = 0.0
        # Details that came too soon after the last ones to be written at once.
        self._unwritten: str | None = None
        # Where the outcome of a transactional step goes.
        self.place: Any = None

    @property
    def key(self) -> str:
        """The same for every attempt and replay: what to hand to an idempotent API."""
        return f"{self.run_id}:{self.step}"

    def begin(self) -> None:
        """The body begins, on whatever thread: its own times count from here."""
        self.has_begun = True
        self.beaten_at = self.live.loop.time()
        if self.begun is not None:
            self.live.loop.call_soon_threadsafe(self._tell_begun, context=self.live.host.context)

    def _tell_begun(self) -> None:
        if self.begun is not None and not self.begun.done():
            self.begun.set_result(None)

    def heartbeat(self, details: Json = None) -> None:
        """Says the attempt is alive; the next attempt reads the last details.

        Raises RunGone when the run was cancelled, lost, or this attempt has timed out.
        """
        is_told = self.live.must_stop and not self._is_clean_up
        if self.is_dead or self.live.dead or is_told:
            raise RunGone(f"The attempt of {self.key} is over.")
        text = encode(details, field="heartbeat")
        self.details = details
        self.live.loop.call_soon_threadsafe(
            functools.partial(self._beat, text), context=self.live.host.context
        )

    def _beat(self, details: str) -> None:
        now = self.live.loop.time()
        self.beaten_at = now
        is_new = self._unwritten is None
        self._unwritten = details
        wait = self._written_at + _HEARTBEAT_EVERY - now
        if wait <= 0:
            self._write_heartbeat()
        elif is_new:
            self.live.call_in(wait, self._write_heartbeat)

    def _write_heartbeat(self) -> None:
        details, self._unwritten = self._unwritten, None
        if details is None or self.is_dead or self.live.dead:
            return
        self._written_at = self.live.loop.time()
        row = StepRow(
            self.step, self._options.kind, StepStatus.STARTED, attempt=self.attempt,
            run_attempt=self.live.attempt, heartbeat=details,
        )  # fmt: skip
        batch = self.live.outbox.put(row, "step.heartbeat", row)
        # Work that has come further than the try before is no poison.
        batch.progress |= decode(details) != self.last_heartbeat


def current_step() -> StepContext:
    """The step whose body is running. Raises RuntimeError outside of one."""
    step = current_body.get()
    if step is None:
        raise RuntimeError("current_step() is for the body of a step.")
    return step


def in_body() -> bool:
    """Whether the caller runs inside a step's body."""
    return current_body.get() is not None
