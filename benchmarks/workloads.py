"""What is timed, said once for every engine: the workloads, their sizes, the Engine protocol.

All clock values are `time.monotonic()`, which is one clock for all processes of a machine: a worker
returns the value of its own line and the client subtracts the value of its call.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Protocol

from benchmarks import serving, usage, workflows

Series = dict[str, list[float]]
"""Samples by row; the key `""` is the workload's own figure, other keys name its detail rows."""

WARM_UP_RUNS = 20
POINTS = {10: 5, 100: 20, 1000: 50, 5000: 50}
"""W7: the step looked at, and how many steps either side of it are looked at with it."""
WORKERS = 2
WORKER_COUNTS = (1, 2, 4)
"""SCALING: how many worker processes share the work."""
CALM = 0.1
"""W6: an engine that uses less of a core than this is at rest."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of each workload is run."""

    samples: int = 30
    steps: int = 10
    runs: int = 1000
    children: int = 200
    long_steps: int = 5000
    parked: int = 10_000
    fan_nodes: int = 200
    rounds: int = 10_000
    rest_seconds: float = 10.0
    repeat_seconds: float = 3.0
    load_seconds: float = 5.0


FULL = Sizes()
QUICK = Sizes(
    samples=6,
    runs=40,
    children=20,
    long_steps=300,
    parked=50,
    fan_nodes=20,
    rounds=200,
    rest_seconds=0.3,
    repeat_seconds=0.0,
    load_seconds=0.5,
)


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """One run: the client's call, the first and the last line of user code in the worker."""

    called: float
    first_line: float
    last_line: float


@dataclass(frozen=True, kw_only=True)
class LongRun:
    """Seconds of each step of one long run; seconds from completing its token to its next line."""

    steps: list[float]
    resume: float


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an engine runs: its database, a directory of its own, a server binary if it has one."""

    dsn: str
    work_dir: str
    server_binary: str = ""


class Sequential(Protocol):
    """What W1 needs."""

    version: str

    def start(self) -> None:
        """Start the workers; ready for runs when it returns."""

    def stop(self) -> None:
        """Stop what `start` started, also after a start that failed."""

    def run_sequence(self, steps: int) -> Timeline:
        """One run of that many sequential steps, on an idle system."""


class Engine(Sequential, Protocol):
    """What a contender can do; each method times one occurrence, with two worker processes."""

    def run_many(self, runs: int, steps: int) -> float:
        """Seconds from before the first enqueue until all runs have ended."""

    def complete_token(self, *, released: bool) -> float | None:
        """Seconds from the completing call to the waiting run's next line.

        `released`: the run has left its worker's memory. None where an engine has no such state.
        """

    def fan_out(self, children: int) -> float:
        """Seconds of a parent that starts that many children of one step and awaits them all."""

    def run_long(self, steps: int) -> LongRun:
        """One run of many steps that then leaves memory on a token, is completed and goes on."""

    def park(self, runs: int) -> None:
        """Start that many runs; returns once each of them waits on a token of its own."""

    def database_backend(self) -> int | None:
        """A process of the database server that serves this engine; None where it has none."""


class Scalable(Engine, Protocol):
    """What SCALING needs beside."""

    def restart(self, workers: int) -> None:
        """Go on with that many worker processes."""


def _pauses(samples: int) -> Iterator[None]:
    """Let the system come to rest between samples; the uneven pause avoids a poller's phase."""
    for number in range(samples):
        time.sleep(0.03 + (number * 37 % 100) / 2000)
        yield


def _warm_up(engine: Sequential, sizes: Sizes) -> None:
    for _ in range(min(WARM_UP_RUNS, sizes.samples)):
        engine.run_sequence(sizes.steps)


def _repeated(once: Callable[[], float], sizes: Sizes) -> list[float]:
    """A short measurement up to five times, a long one once."""
    samples = [once()]
    while sum(samples) < sizes.repeat_seconds and len(samples) < 5:
        samples.append(once())
    return samples


def measure_sequence(engine: Sequential, sizes: Sizes) -> Series:
    """W1: ten sequential steps, ms."""
    _warm_up(engine, sizes)
    lines = [engine.run_sequence(sizes.steps) for _ in _pauses(sizes.samples)]
    return {
        "": [1000 * (line.last_line - line.called) for line in lines],
        "first to last line": [1000 * (line.last_line - line.first_line) for line in lines],
    }


def measure_throughput(engine: Engine, sizes: Sizes) -> Series:
    """W2: many runs of ten steps, steps per second."""
    engine.run_many(max(sizes.runs // 10, 10), sizes.steps)
    spent = _repeated(lambda: engine.run_many(sizes.runs, sizes.steps), sizes)
    return {"": [sizes.runs * sizes.steps / seconds for seconds in spent]}


def measure_start(engine: Sequential, sizes: Sizes) -> Series:
    """W3: trigger to first line of user code, ms."""
    _warm_up(engine, sizes)
    lines = [engine.run_sequence(1) for _ in _pauses(sizes.samples)]
    return {"": [1000 * (line.first_line - line.called) for line in lines]}


def measure_token(engine: Engine, sizes: Sizes) -> Series:
    """W4: token completion to next line, ms; the figure is the engine's faster kind of waiting."""
    series: Series = {}
    for row, released in (("run in memory", False), ("run out of memory", True)):
        engine.complete_token(released=released)
        samples = [engine.complete_token(released=released) for _ in _pauses(sizes.samples)]
        taken = [1000 * sample for sample in samples if sample is not None]
        if taken:
            series[row] = taken
    return {"": min(series.values(), key=median), **series}


def measure_children(engine: Engine, sizes: Sizes) -> Series:
    """W5: a parent with many children, s."""
    _warm_up(engine, sizes)
    engine.fan_out(max(sizes.children // 10, 2))
    return {"": _repeated(lambda: engine.fan_out(sizes.children), sizes)}


def measure_growth(engine: Engine, sizes: Sizes) -> Series:
    """W7: ms of a step early and late in a long run, and ms to resume that run."""
    _warm_up(engine, sizes)
    long_run = engine.run_long(sizes.long_steps)
    rows = {
        f"at step {point:,}": [1000 * _near(long_run.steps, point, width)]
        for point, width in POINTS.items()
        if point < sizes.long_steps
    }
    last = 1000 * _near(long_run.steps, sizes.long_steps, 50)
    return {"": [last], **rows, "resume": [1000 * long_run.resume]}


def measure_rest(engine: Engine, sizes: Sizes) -> Series:
    """W6: memory and processor time of all processes but this client, at rest and with runs parked.

    Memory is shared fairly (PSS), in MiB; processor time is a percentage of one core. Some work
    comes first: what a process takes when it is busy for the first time, it keeps.
    """
    engine.run_many(max(sizes.runs // 4, 10), sizes.steps)
    backend = engine.database_backend()
    server = usage.parent(backend) if backend else None
    at_rest = _look_at_rest(server, sizes)
    started = time.monotonic()
    engine.park(sizes.parked)
    seconds = time.monotonic() - started
    parked = _look_at_rest(server, sizes)
    series = {
        "": [sum(at_rest[:2])],
        **_rest_rows("at rest", at_rest),
        **_rest_rows("parked", parked),
        "parked: all": [sum(parked[:2])],
        "parked: took": [seconds],
    }
    if server is None:
        series = {row: figures for row, figures in series.items() if "database" not in row}
    return series


def _rest_rows(when: str, look: tuple[float, float, float, float]) -> Series:
    engine, database, engine_cpu, database_cpu = look
    return {
        f"{when}: engine": [engine],
        f"{when}: database": [database],
        f"{when}: engine's CPU": [engine_cpu],
        f"{when}: database's CPU": [database_cpu],
    }


def _look_at_rest(server: int | None, sizes: Sizes) -> tuple[float, float, float, float]:
    """MiB of the engine and of the database, then their percentages of a core."""
    ours = usage.descendants(os.getpid())
    theirs = [server, *usage.descendants(server)] if server else []
    _until_calm(ours, sizes)
    groups = (ours, theirs)
    before = [usage.cpu_seconds(group) for group in groups]
    started = time.monotonic()
    time.sleep(sizes.rest_seconds)
    seconds = time.monotonic() - started
    engine, database = (
        100 * max(0.0, usage.cpu_seconds(group) - spent) / seconds
        for group, spent in zip(groups, before, strict=True)
    )
    memory = [usage.memory(group).shared_fairly for group in groups]
    return memory[0], memory[1], engine, database


def _until_calm(pids: list[int], sizes: Sizes) -> None:
    """Wait while an engine still tidies up, but not for ever: some never rest."""
    second = min(1.0, sizes.rest_seconds)
    for _ in range(int(3 * sizes.rest_seconds / second)):
        before = usage.cpu_seconds(pids)
        time.sleep(second)
        if usage.cpu_seconds(pids) - before < CALM * second:
            return


def measure_scaling(engine: Scalable, sizes: Sizes) -> Series:
    """SCALING: W2's throughput with ever more worker processes, steps per second."""
    series: Series = {}
    for workers in WORKER_COUNTS:
        engine.restart(workers)
        series[f"{workers} workers"] = measure_throughput(engine, sizes)[""]
    return {"": series.pop("1 workers"), **series}


def _near(steps: list[float], point: int, width: int) -> float:
    return median(steps[max(0, point - width) : point + width])


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One line of the table."""

    id: str
    title: str
    unit: str
    measure: Callable[..., Series]
    """Called with an engine that the workload can use, and the sizes."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Rows with another unit."""
    fills: bool = False
    """It leaves runs behind, so what is measured next needs an empty database."""

    def unit_of(self, row: str) -> str:
        """The unit of the figure in that row."""
        return self.units.get(row, self.unit)

    def title_for(self, sizes: Sizes) -> str:
        """The title with the sizes filled in."""
        return self.title.format(**asdict(sizes))


WORKLOADS = {
    workload.id: workload
    for workload in (
        Workload(
            id="W1",
            title="{steps} sequential steps, trigger to last line",
            unit="ms",
            measure=measure_sequence,
        ),
        Workload(
            id="W2",
            title="{runs:,} runs of {steps} steps, 2 workers",
            unit="steps/s",
            measure=measure_throughput,
        ),
        Workload(
            id="W3", title="trigger to first line of user code", unit="ms", measure=measure_start
        ),
        Workload(id="W4", title="token completion to next line", unit="ms", measure=measure_token),
        Workload(
            id="W5",
            title="a parent with {children} children",
            unit="s",
            measure=measure_children,
        ),
        Workload(
            id="W6",
            title="all processes at rest, then {parked:,} runs parked",
            unit="MiB",
            measure=measure_rest,
            units={
                "at rest: engine's CPU": "% of a core",
                "at rest: database's CPU": "% of a core",
                "parked: engine's CPU": "% of a core",
                "parked: database's CPU": "% of a core",
                "parked: took": "s",
            },
            fills=True,
        ),
        Workload(
            id="W7",
            title="one step of a run, at step {long_steps:,}",
            unit="ms",
            measure=measure_growth,
        ),
        Workload(
            id="WF200",
            title="a workflow that fans out to {fan_nodes} nodes and in again, per node",
            unit="ms",
            measure=workflows.measure_fan,
        ),
        Workload(
            id="LOOP10K",
            title="a workflow's loop of {rounds:,} rounds, per round",
            unit="ms",
            measure=workflows.measure_loop,
            units={
                "whole": "s",
                "crash at nine tenths, to the next round": "s",
                "memory of all workers": "MiB",
            },
        ),
        Workload(
            id="HTTP",
            title="triggers over HTTP, 8 clients at once",
            unit="requests/s",
            measure=serving.measure_http,
            units=serving.units(),
            fills=True,
        ),
        Workload(
            id="SCALING",
            title="{runs:,} runs of {steps} steps, 1 worker",
            unit="steps/s",
            measure=measure_scaling,
        ),
    )
}
