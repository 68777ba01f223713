"""What runs of the program do, in plain Python: no database, no threads, seconds as numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from executions.tests.model.program import RETRY_SECONDS

Op = tuple[str, Any]
FINAL = ("COMPLETED", "FAILED", "CANCELED", "TIMED_OUT")


@dataclass
class Token:
    """A wait token: open, or with its one outcome."""

    timeout_at: float | None
    status: str = "WAITING"
    output: Any = None


@dataclass(eq=False)
class ModelRun:
    """A run: where its program stands and what it waits for. `id` is that of the real run."""

    ops: list[Op]
    id: str = ""
    start_at: float = 0.0
    deadline: float | None = None
    parent: ModelRun | None = None
    place: int = 0
    seen: list[Any] = field(default_factory=list)
    status: str = "DELAYED"
    is_paused: bool = False
    has_started: bool = False
    until: float | None = None
    failures: int = 0
    tokens: dict[int, Token] = field(default_factory=dict)
    mailbox: list[Any] = field(default_factory=list)
    children: dict[int, ModelRun] = field(default_factory=dict)
    effects: Counter[str] = field(default_factory=Counter)

    @property
    def is_final(self) -> bool:
        """Whether it has ended."""
        return self.status in FINAL

    @property
    def shown(self) -> str:
        """The status that the real run shows at rest."""
        return "PAUSED" if self.is_paused and not self.is_final else self.status

    def end(self, status: str) -> None:
        """Ends it and the children that are open still."""
        self.status = status
        for child in self.children.values():
            if not child.is_final:
                child.end("CANCELED")


@dataclass
class World:
    """All runs and the time."""

    now: float = 0.0
    runs: list[ModelRun] = field(default_factory=list)

    def add(self, run: ModelRun) -> ModelRun:
        """A new run."""
        self.runs.append(run)
        return run

    def settle(self) -> None:
        """Everything that can go on without time passing."""
        known = -1
        while known < len(self.runs):
            known = len(self.runs)
            # A list, so that every run has its turn.
            if any([self._go_on(run) for run in self.runs]):
                known = -1

    def advance(self, seconds: float) -> None:
        """Lets time pass, timer by timer."""
        target = self.now + seconds
        self.settle()
        while (timer := min(self._timers(), default=target + 1)) <= target:
            self.now = max(self.now, timer)
            self._time_out()
            self.settle()
        self.now = target

    def _timers(self) -> Iterator[float]:
        for run in self.runs:
            for token in run.tokens.values():
                if token.status == "WAITING" and token.timeout_at is not None:
                    yield token.timeout_at
            if run.is_final:
                continue
            if run.deadline is not None:
                yield run.deadline
            if not run.is_paused:
                moment = run.until if run.has_started else run.start_at
                if moment is not None and moment > self.now:
                    yield moment

    def _time_out(self) -> None:
        for run in self.runs:
            for token in run.tokens.values():
                is_over = token.timeout_at is not None and token.timeout_at <= self.now
                if is_over and token.status == "WAITING":
                    token.status = "TIMED_OUT"
            if not run.is_final and run.deadline is not None and run.deadline <= self.now:
                run.end("TIMED_OUT")

    def _go_on(self, run: ModelRun) -> bool:
        """Whether the run got on."""
        if run.is_final or run.is_paused or run.start_at > self.now:
            return False
        run.has_started = True
        run.status = "WAITING"
        if run.place == len(run.ops):
            run.end("COMPLETED")
            return True
        kind, given = run.ops[run.place]
        if kind == "fail":
            run.end("FAILED")
            return True
        outcome = getattr(self, f"_{kind}")(run, given)
        if outcome is None:
            return False
        run.seen.append(outcome)
        run.place += 1
        run.until, run.failures = None, 0
        return True

    def _step(self, run: ModelRun, _: Any) -> Any:
        run.effects[f"s{run.place}"] += 1
        return run.place

    def _flaky(self, run: ModelRun, failures: int) -> Any:
        while run.until is None or run.until <= self.now:
            run.effects[f"s{run.place}"] += 1
            if run.failures == failures:
                return run.place
            run.failures += 1
            run.until = self.now + RETRY_SECONDS
        return None

    def _sleep(self, run: ModelRun, seconds: float) -> Any:
        if run.until is None:
            run.until = self.now + seconds
        return "slept" if run.until <= self.now else None

    def _token(self, run: ModelRun, timeout: float | None) -> Any:
        limit = None if timeout is None else self.now + timeout
        token = run.tokens.setdefault(run.place, Token(limit))
        return {"WAITING": None, "COMPLETED": token.output, "TIMED_OUT": "timeout"}[token.status]

    def _signal(self, run: ModelRun, timeout: float | None) -> Any:
        if run.until is None and timeout is not None:
            run.until = self.now + timeout
        if run.mailbox:
            return run.mailbox.pop(0)
        return "timeout" if run.until is not None and run.until <= self.now else None

    def _child(self, run: ModelRun, ops: list[Op]) -> Any:
        child = run.children.get(run.place)
        if child is None:
            child = ModelRun(ops, parent=run, start_at=self.now)
            run.children[run.place] = self.add(child)
        if not child.is_final:
            return None
        return list(child.seen) if child.status == "COMPLETED" else child.status


def fork(run: ModelRun, place: int, now: float, *, edited: Any = None) -> ModelRun:
    """The fork that redoes from the step at `place`, or takes it as done with another output."""
    seen = run.seen[:place] if edited is None else [*run.seen[:place], edited]
    made = ModelRun(run.ops, start_at=now, place=len(seen), seen=seen)
    for at, token in run.tokens.items():
        if at < place:
            made.tokens[at] = Token(token.timeout_at, token.status, token.output)
    return made
