"""What a run in hand wants written, collected for the next flush and kept until it is durable."""

from __future__ import annotations

from collections.abc import Callable

from executions.engine.quiet import EngineFuture
from executions.engine.rows import Batch, StepRow
from executions.rules.statuses import StepStatus


class Outbox:
    """One run's share of the journal. `mark` says that there is something to write."""

    def __init__(
        self, *, flush_no: int, ops_written: int, future: Callable[[], EngineFuture],
        mark: Callable[[], None],
    ) -> None:  # fmt: skip
        self.batch = Batch()
        self.in_flight: Batch | None = None
        self.mark = mark
        self._flush_no = flush_no
        self._ops = 0
        self._ops_written = ops_written
        self._future = future
        self._waiting: list[tuple[Batch, EngineFuture]] = []

    def take(self) -> Batch:
        """What the next flush writes: a deferred batch first, unchanged."""
        if self.in_flight is not None:
            return self.in_flight
        batch, self.batch = self.batch, Batch()
        self._flush_no += 1
        batch.no = self._flush_no
        batch.ops = max(self._ops, self._ops_written)
        self.in_flight = batch
        return batch

    def put(self, row: StepRow, event: str, data: str | StepRow) -> Batch:
        """Adds a step's row and its event; a short step's start and end become one of each."""
        batch = self.batch
        earlier = batch.steps.get(row.key)
        if earlier is not None:
            if row.input is None:
                row.input = earlier.input
            row.heartbeat = row.heartbeat or earlier.heartbeat
            ends = row.status in (StepStatus.COMPLETED, StepStatus.FAILED)
            if ends and batch.events[-1][0] == "step.started":
                batch.events.pop()
        batch.steps[row.key] = row
        batch.events.append((event, data))
        self.mark()
        return batch

    def next_op(self) -> bool:
        """Counts one event or metadata change of the body; False when it is written already."""
        self._ops += 1
        return self._ops > self._ops_written

    def flushed(self, batch: Batch) -> None:
        """A batch is durable; what collected meanwhile goes next."""
        self.in_flight = None
        if self._waiting:
            for waited, future in self._waiting:
                if waited is batch and not future.done():
                    future.set_result(None)
            self._waiting = [entry for entry in self._waiting if entry[0] is not batch]
        if self.has_news:
            self.mark()

    def clear(self) -> None:
        """Forgets what has not been written."""
        self.in_flight = None
        self.batch = Batch()

    @property
    def has_news(self) -> bool:
        """Whether anything has collected."""
        batch = self.batch
        return bool(batch.events or batch.steps or batch.extras or batch.move)

    @property
    def is_awaited(self) -> bool:
        """Whether code waits for something to be durable."""
        return bool(self._waiting)

    async def written(self) -> None:
        """Returns when everything put so far is durable."""
        batch = self.batch if self.has_news else self.in_flight
        if batch is not None:
            await self._durable(batch)

    async def before_effect(self) -> None:
        """No effect rests on a decision that a crash could redo: riding rows become durable."""
        if self.batch.riding:
            await self._durable(self.batch)
        elif self.in_flight is not None and self.in_flight.riding:
            await self._durable(self.in_flight)

    async def _durable(self, batch: Batch) -> None:
        future = self._future()
        self._waiting.append((batch, future))
        self.mark()
        await future
