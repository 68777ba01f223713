"""Two runs side by side: path, inputs, outputs, time, usage, attempts, version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from executions.models import Run, Step
from executions.moves import retrieve
from executions.rules.values import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFacts:
    """What a comparison looks at in a step. `seconds`: from its start to its outcome."""

    key: str
    kind: str
    status: str
    attempt: int
    seconds: float | None
    input: Json = None
    output: Json = None
    error: Json = None
    usage: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What a comparison looks at in a run; its steps in the order in which they ended."""

    id: str
    task: str
    version: str | None
    status: str
    attempt: int
    generation: int
    payload: Json
    output: Json
    error: Json
    seconds: float | None
    usage: Mapping[str, float]
    steps: Sequence[StepFacts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A step in both runs; None where one of them does not have it."""

    key: str
    a: StepFacts | None
    b: StepFacts | None
    differs_in: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs. `first_difference` is the place, from 0, at which their paths part, if they do.

    `differs_in` names the parts of the runs that differ; times and usage are left to the reader.
    """

    a: RunFacts
    b: RunFacts
    differs_in: tuple[str, ...]
    first_difference: int | None
    pairs: Sequence[Pair]

    @property
    def is_same(self) -> bool:
        """Whether the runs took the same path to the same end, with the same values."""
        return not self.differs_in and not any(pair.differs_in for pair in self.pairs)


_OF_RUN = ("task", "version", "status", "attempt", "generation", "payload", "output", "error")
_OF_STEP = ("kind", "status", "attempt", "input", "output", "error")


def compare(a_id: str, b_id: str) -> Comparison:
    """The runs of these ids. Raises NotFound."""
    return laid_side_by_side(_facts(retrieve(a_id)), _facts(retrieve(b_id)))


def laid_side_by_side(a: RunFacts, b: RunFacts) -> Comparison:
    """What two runs have in common, step by step."""
    of_a = {step.key: step for step in a.steps}
    of_b = {step.key: step for step in b.steps}
    keys = [*of_a, *(key for key in of_b if key not in of_a)]
    pairs = [
        Pair(key=key, a=of_a.get(key), b=of_b.get(key), differs_in=_differences(of_a, of_b, key))
        for key in keys
    ]
    parted = _parted_at(list(of_a), list(of_b))
    differs = [name for name in _OF_RUN if not _is_same(a, b, name)]
    return Comparison(
        a=a,
        b=b,
        differs_in=tuple(differs + (["path"] if parted is not None else [])),
        first_difference=parted,
        pairs=pairs,
    )


def _differences(
    of_a: Mapping[str, StepFacts], of_b: Mapping[str, StepFacts], key: str
) -> tuple[str, ...]:
    one, other = of_a.get(key), of_b.get(key)
    if one is None or other is None:
        return ("presence",)
    return tuple(name for name in _OF_STEP if not _is_same(one, other, name))


def _is_same(one: RunFacts | StepFacts, other: RunFacts | StepFacts, name: str) -> bool:
    mine, theirs = getattr(one, name), getattr(other, name)
    if name == "error" and isinstance(mine, dict) and isinstance(theirs, dict):
        # Tracebacks name lines, which any change of the code moves.
        return all(mine.get(part) == theirs.get(part) for part in ("type", "message", "code"))
    return bool(mine == theirs)


def _parted_at(a: Sequence[str], b: Sequence[str]) -> int | None:
    for place, (one, other) in enumerate(zip(a, b, strict=False)):
        if one != other:
            return place
    return None if len(a) == len(b) else min(len(a), len(b))


# ---- reading ------------------------------------------------------------------------------------


def _facts(run: Run) -> RunFacts:
    steps = [
        StepFacts(
            key=step.key, kind=step.kind, status=step.status, attempt=step.attempt,
            seconds=_seconds(step), input=step.input, output=step.output, error=step.error,
            usage=_numbers(step.usage),
        )
        for step in Step.objects.filter(run_id=run.id).order_by("seq", "started_at", "key")
    ]  # fmt: skip
    usage = dict(_numbers(run.usage) or {})
    if not usage:
        for step in steps:
            for name, number in (step.usage or {}).items():
                usage[name] = usage.get(name, 0) + number
    return RunFacts(
        id=run.id, task=run.task, version=run.definition_id, status=run.status,
        attempt=run.attempt, generation=run.generation, payload=run.data.payload,
        output=run.output, error=run.error, seconds=_seconds(run), usage=usage, steps=steps,
    )  # fmt: skip


def _seconds(thing: Run | Step) -> float | None:
    if thing.started_at is None or thing.finished_at is None:
        return None
    return (thing.finished_at - thing.started_at).total_seconds()


def _numbers(usage: Json) -> dict[str, float] | None:
    """The counts of a usage document: tokens, calls, money."""
    if not isinstance(usage, dict):
        return None
    return {
        name: number
        for name, number in usage.items()
        if isinstance(number, (int, float)) and not isinstance(number, bool)
    }
