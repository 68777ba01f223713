"""The ten actions: how each is prepared, begun on a side's connections, and what came of it."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, cast

from django.db import connection

from executions import runs, tokens
from executions.engine import load, takeover
from executions.engine.flush import Result
from executions.engine.live import LiveRun
from executions.engine.outbox import Outbox
from executions.engine.quiet import EngineFuture
from executions.engine.rows import Batch, Move, StepRow
from executions.errors import Conflict
from executions.tests.pairs.play import LEASE, STALL_LIMIT, Play
from executions.tests.pairs.stage import Side


class Held:
    """A claimed run as the journal knows it, without code: what it wants written, and the answer.

    `answer`: written, moved, held back (woken before it could park), lost, or refused and why.
    """

    has_children = True

    def __init__(self, row: dict[str, Any], batch: Batch) -> None:
        self.id: str = row["id"]
        self.claim: str = row["claim"]
        self.parent_id: str | None = row["parent_id"]
        self.parent_step: str | None = row["parent_step"]
        self.dead = False
        self.answer: Future[str] = Future()
        self.times_taken = 0
        self.outbox = Outbox(
            flush_no=row["flush_no"], ops_written=row["op_seq"], future=EngineFuture,
            mark=lambda: None,
        )  # fmt: skip
        self.outbox.batch = batch
        self._take, self.outbox.take = self.outbox.take, self._count_take  # type: ignore[method-assign]

    def _count_take(self) -> Batch:
        self.times_taken += 1
        return self._take()

    def active_ms(self) -> int:
        """No code, no time."""
        return 0

    def on_flushed(self, batch: Batch, result: Result) -> None:
        """A batch is durable."""
        self.outbox.flushed(batch)
        if batch.move is None:
            self.answer.set_result("written")
        else:
            self.answer.set_result("moved" if result.moved else "held back")

    def on_lost(self) -> None:
        """The fence held."""
        self.dead = True
        self.answer.set_result("lost")

    def on_refused(self, reason: str) -> None:
        """PostgreSQL did not take it."""
        self.dead = True
        self.answer.set_result(f"refused: {reason}")


class Action:
    """Something that happens to the subject; `outcome` says what came of it once it is done."""

    name = ""

    def __init__(self, play: Play, side: Side) -> None:
        self.play = play
        self.side = side
        self.future: Future[Any] = Future()

    @property
    def is_twin(self) -> bool:
        """Whether both actions of the play are of this kind."""
        return self.play.names[0] == self.play.names[1]

    def prepare(self) -> None:
        """Makes ready what this action needs beyond the scene."""

    def begin(self) -> None:
        """Starts it; it goes on until its commit, which its gate may hold."""
        self.future = self.side.on_thread(self._call)

    def is_passed_over(self) -> bool:
        """Whether it goes round a row that the other side holds, and comes again."""
        return False

    @property
    def outcome(self) -> Any:
        """What it returned. Raises what went wrong, but no legal refusal."""
        return self.future.result(0)

    def _call(self) -> str:
        try:
            self._act()
        except Conflict:
            return "refused"
        return "done"

    def _act(self) -> None:
        raise NotImplementedError


class Claim(Action):
    """A worker takes what is due; its outcome is what it got."""

    name = "claim"

    def prepare(self) -> None:
        """Registers the worker, a dead one where a takeover is about."""
        self.worker = self.play.worker(is_stale="takeover" in self.play.names)

    def begin(self) -> None:
        """Claims everything that is due."""
        self.future = self.side.on_loop(
            load.claim(self.side.claims, self.worker, runs=10, suspects=1)
        )


class Flush(Action):
    """A worker writes a step for the subject: the one that holds it, or one that has lost it."""

    name = "flush"

    def prepare(self) -> None:
        """Takes the row of whoever writes here: the holder, or one that was the holder."""
        play = self.play
        has_lost = play.scene == {"A": "contested", "B": "late"}[self.side.name]
        self.row = play.stale if play.current is None or has_lost else play.current
        # One flush, sent again while its first sending is under way.
        self.mark = "A" if play.scene.startswith("resent") else self.side.name

    @property
    def is_fenced(self) -> bool:
        """Whether the run was lost before."""
        return self.row is self.play.stale

    def begin(self) -> None:
        """Hands the batch to the side's journal."""
        self.held = Held(self.row, self.batch())
        self.future = self.held.answer
        journal, live = self.side.journal, cast(LiveRun, self.held)
        self.side._loop.call_soon_threadsafe(journal.mark, live)

    def is_passed_over(self) -> bool:
        """Whether the flush comes again, since somebody held a row that it needs."""
        return self.held.times_taken > 1

    def batch(self) -> Batch:
        """A step of an earlier attempt, which a replay need not ask for, and the move if any."""
        row = StepRow(
            f"by {self.mark}", "step", "COMPLETED", seq=1000, run_attempt=0, output=f'"{self.mark}"'
        )
        batch = Batch(
            steps={row.key: row}, events=[("step.completed", row)], progress=True, move=self.move()
        )
        if self.play.scene == "resent with more":
            # A lone step has a statement of its own.
            batch.events.append(("more", "{}"))
        return batch

    def move(self) -> Move | None:
        """The change of status that goes with it."""
        return None


class Park(Flush):
    """A worker parks the subject, unless it was woken since."""

    name = "park"

    def move(self) -> Move | None:
        """Conditional on the wakes that the holder knows."""
        return Move(status="WAITING", event="run.waiting", seen=self.row["wakes"])


class Complete(Flush):
    """The subject's final flush."""

    name = "complete"

    def move(self) -> Move | None:
        """With an output that says who wrote it."""
        return Move(status="COMPLETED", event="run.completed", output=f'{{"by":"{self.mark}"}}')


class Cancel(Action):
    """Somebody asks for the subject to be cancelled."""

    name = "cancel"

    def _act(self) -> None:
        runs.cancel(self.play.family.subject, reason=f"by {self.side.name}")


class TimeOut(Action):
    """A ticker ends what is out of time."""

    name = "time-out"

    def _act(self) -> None:
        with connection.cursor() as cursor:
            takeover.tick(cursor)


class CompleteToken(Action):
    """The subject's token is completed."""

    name = "token completion"

    def prepare(self) -> None:
        """Knows the token."""
        self.token = self.play.token

    def _act(self) -> None:
        tokens.complete(self.token, f"by {self.side.name}")


class Signal(Action):
    """The subject gets the signal that it waits for."""

    name = "signal"

    def _act(self) -> None:
        runs.signal(self.play.family.subject, "go", f"by {self.side.name}")


class ChildEnd(Flush):
    """The final flush of a child of the subject: its last one, or one of the last two."""

    name = "child end"

    def prepare(self) -> None:
        """Gives the child to a worker."""
        place = 1 if self.is_twin and self.side.name == "B" else 0
        self.row = self.play.claim(self.play.family.children[place], self.play.worker())
        self.mark = self.side.name

    def move(self) -> Move | None:
        """The child's end."""
        return Move(status="COMPLETED", event="run.completed", output=f'"{self.mark}"')


class TakeOver(Action):
    """A ticker finds the holder dead and requeues what it held."""

    name = "takeover"

    def _act(self) -> None:
        with connection.cursor() as cursor:
            takeover.release_runs_of_the_dead(cursor)
            while takeover.take_over(cursor, "another", LEASE, STALL_LIMIT, []):
                pass


ACTIONS: dict[str, type[Action]] = {
    action.name: action
    for action in (
        Claim, Flush, Park, Complete, Cancel, TimeOut, CompleteToken, Signal, ChildEnd, TakeOver,
    )
}  # fmt: skip
# Those of a worker that holds the subject.
HOLDERS = (Flush.name, Park.name, Complete.name)
