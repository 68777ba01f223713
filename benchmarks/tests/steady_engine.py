"""An engine that does nothing and takes known times; as a module, a contender for the rounds."""

import itertools

from benchmarks.workflows import LoopRun
from benchmarks.workloads import LongRun, Place, Timeline


class SteadyEngine:
    """Every step takes 2 ms, a start 3 ms; a run out of memory takes longer to wake."""

    version = "steady"

    def __init__(self) -> None:
        self._clock = itertools.count(100)
        self._workers = 1

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def run_sequence(self, steps: int) -> Timeline:
        called = float(next(self._clock))
        first_line = called + 0.003
        return Timeline(called=called, first_line=first_line, last_line=first_line + 0.002 * steps)

    def run_many(self, runs: int, steps: int) -> float:
        return 0.0005 * runs * steps / self._workers

    def complete_token(self, *, released: bool) -> float | None:
        return 0.006 if released else 0.004

    def fan_out(self, children: int) -> float:
        return 0.01 * children

    def run_long(self, steps: int) -> LongRun:
        return LongRun(steps=[0.001 * (1 + number) for number in range(steps)], resume=0.05)

    def park(self, runs: int) -> None:
        pass

    def database_backend(self) -> int | None:
        return None

    def run_fan(self, nodes: int) -> float:
        return 0.002 * nodes

    def run_loop(self, rounds: int) -> LoopRun:
        parts = [0.0001 * rounds * (1 + part) for part in range(10)]
        return LoopRun(parts=parts, total=sum(parts), resume=0.5, memory=100)

    def restart(self, workers: int) -> None:
        self._workers = workers


def create(place: Place) -> SteadyEngine:
    """The steady engine, or one that cannot start where its place says so."""
    if place.dsn == "refused":
        raise ConnectionError("nobody listens there")
    return SteadyEngine()
