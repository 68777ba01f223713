"""The rounds of one loop node: what each sees, what it gave, and when the loop is over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from executions.nodes.loop import MAX_ROUNDS, LoopConfig, round_names
from executions.rules.policies import Pin
from executions.rules.scheduling import Frame, Job
from executions.rules.scope import Scope
from executions.rules.templates import Renderer

Json = Any


class LoopRun:
    """A loop node between its first round and its last; rounds may overlap."""

    def __init__(
        self, job: Job, scope: Scope, found: dict[str, Json], *, has_body: bool, pin: Pin | None
    ) -> None:
        self.job = job
        self.scope = scope
        self.config: LoopConfig | None = job.node.config
        self.pinned = None if pin is None else found["output"]
        self.attempts: int = found["attempts"]
        self.items: list[Json] | None = None
        self.total: int | None = None
        self.wanted = 0
        self.results: list[Json] = []
        self.warnings: list[str] = list(found.get("warnings", ()))
        self.next_index = 0
        self.active = 0
        self.is_over = False
        self.is_checking = False
        self.failures: list[str] = []
        self._exported = -1
        self._latest: Scope | None = None
        self._has_body = has_body
        self._plan(found["output"])

    def _plan(self, found: Json) -> None:
        if self.pinned is not None or self.config is None:
            listed = found.get("items") if isinstance(found, dict) else None
            self.items = listed if isinstance(listed, list) else [None] * _rounds_of(found)
            self.total = self.wanted = len(self.items) if self._has_body else 0
            return
        self.items = found.get("items")
        total = found["total"]
        if total is not None:
            self.wanted = total
            self.total = min(total, self.config.max_iterations)
            if self.total < total:
                self.warnings.append(
                    f"The loop stopped after {self.total:,} of {total:,} rounds (maxIterations)."
                )
            if not self._has_body:
                self.next_index = self.total

    @property
    def concurrency(self) -> int:
        """How many rounds may run at once; a while loop decides one by one."""
        if self.config is None or self.config.loop_type == "while":
            return 1
        return self.config.max_concurrency

    @property
    def needs_check(self) -> bool:
        """Whether the condition decides if another round begins."""
        return (
            self.pinned is None
            and self.total is None
            and self._has_body
            and not self.is_over
            and not self.is_checking
            and self.active == 0
        )

    @property
    def may_begin(self) -> bool:
        """Whether the next round may begin now, for loops whose length is known."""
        return (
            self._has_body
            and not self.failures
            and self.total is not None
            and self.next_index < self.total
            and self.active < self.concurrency
        )

    @property
    def has_ended(self) -> bool:
        """Whether no round runs and none is to come."""
        if self.active or self.is_checking:
            return False
        if self.failures or self.is_over or not self._has_body:
            return True
        return self.total is not None and self.next_index >= self.total

    def reached_limit(self) -> bool:
        """Whether a while loop has run as many rounds as it may; it then stops with a warning."""
        assert self.config is not None
        if self.next_index < self.config.max_iterations:
            return False
        self.is_over = True
        self.wanted = self.next_index + 1
        self.warnings.append(f"The loop stopped after {self.next_index:,} rounds (maxIterations).")
        return True

    def round_scope(self) -> Scope:
        """The scope of the round about to begin."""
        config = self.config or LoopConfig.model_validate({"arrayPath": []})
        if self.items is not None and self.next_index >= len(self.items):
            items: list[Json] | None = [*self.items, None]
        else:
            items = self.items
        names = round_names(
            config,
            index=self.next_index,
            total=self.total,
            items=items,
            # One round after another share the list itself: a copy for each would take ever longer.
            results=self.results if self.concurrency == 1 else self.results[: self.next_index],
        )
        return Scope(parent=self.scope, fixed=names)

    def begin_round(self) -> int:
        """Count a round as begun; its index."""
        index = self.next_index
        self.next_index += 1
        self.active += 1
        if self.concurrency > 1:
            self.results.append(None)
        return index

    def end_round(self, frame: Frame, scope: Scope, terminals: Iterable[str]) -> None:
        """Record what a round gave."""
        self.active -= 1
        if frame.failures:
            self.failures.extend(frame.failures)
            return
        result = round_result(scope, terminals)
        if self.concurrency > 1:
            self.results[frame.round] = result
        else:
            self.results.append(result)

    def export(self, index: int, scope: Scope) -> None:
        """What a round wrote is seen by the next one and after the loop; the latest round's stays.

        Rounds that overlap do not see each other; of theirs the one that began last counts.
        """
        if self.failures or index <= self._exported:
            return
        self._exported = index
        if self.concurrency == 1:
            self.scope.export(scope)
        else:
            self._latest = scope

    def export_latest(self) -> None:
        """What the latest of overlapping rounds wrote is seen after the loop."""
        if self._latest is not None:
            self.scope.export(self._latest)

    def output(self) -> Json:
        """The loop node's output."""
        if self.pinned is not None:
            return self.pinned
        rounds = self.next_index
        base: dict[str, Json] = {
            "iterations": rounds,
            "results": self.results,
            "completed": rounds >= self.wanted,
        }
        if self.items is not None:
            base["items"] = self.items
        name = self.config.output_variable if self.config is not None else None
        return {**base, name: base} if name else base


async def evaluate_condition(loop: LoopRun) -> Any:
    """Whether a while loop begins another round."""
    assert loop.config is not None
    return Renderer(loop.round_scope()).condition(loop.config.condition or "false")


def _rounds_of(pinned: Json) -> int:
    """How many rounds a pinned output without items tells of; one where it tells nothing."""
    count = pinned.get("iterations") if isinstance(pinned, dict) else None
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        return 1
    return min(count, MAX_ROUNDS)


def round_result(scope: Scope, terminals: Iterable[str]) -> Json:
    """What the last nodes of a round gave: one output as it is, several merged."""
    missing = object()
    given = {
        node: value for node in terminals if (value := scope.output(node, missing)) is not missing
    }
    if len(given) <= 1:
        return next(iter(given.values()), None)
    if all(isinstance(value, dict) for value in given.values()):
        merged: dict[str, Json] = {}
        for value in given.values():
            merged.update(value)
        return merged
    return given
