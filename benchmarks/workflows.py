"""Workflows: a wide graph, a long loop, and what a crash late in that loop costs.

Ours alone: no peer runs definitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from benchmarks.workloads import Series, Sizes

PART = 10
"""The first and the last tenth of the rounds are told apart: of 10,000, the first thousand."""


@dataclass(frozen=True, kw_only=True)
class LoopRun:
    """Seconds of each tenth of the rounds, of the whole, from a crash to the next round; MiB."""

    parts: list[float]
    total: float
    resume: float
    memory: float


class Flows(Protocol):
    """What WF200 and LOOP10K need."""

    def run_fan(self, nodes: int) -> float:
        """Seconds of a workflow that fans out to that many nodes and joins them again."""

    def run_loop(self, rounds: int) -> LoopRun:
        """A loop of so many rounds of one node, and one whose worker dies nine tenths in."""


def measure_fan(engine: Flows, sizes: Sizes) -> Series:
    """WF200: ms per node."""
    engine.run_fan(sizes.fan_nodes)
    seconds = [engine.run_fan(sizes.fan_nodes) for _ in range(min(sizes.samples, 10))]
    return {
        "": [1000 * each / sizes.fan_nodes for each in seconds],
        "whole": [1000 * each for each in seconds],
    }


def measure_loop(engine: Flows, sizes: Sizes) -> Series:
    """LOOP10K: ms per round, first and last; seconds to go on after a crash; MiB of the workers."""
    engine.run_fan(sizes.fan_nodes)
    loop = engine.run_loop(sizes.rounds)
    per_round = [1000 * PART * seconds / sizes.rounds for seconds in loop.parts]
    return {
        "": [1000 * loop.total / sizes.rounds],
        "first tenth": [per_round[0]],
        "last tenth": [per_round[-1]],
        "whole": [loop.total],
        "crash at nine tenths, to the next round": [loop.resume],
        "memory of all workers": [loop.memory],
    }


def fan(nodes: int) -> dict[str, Any]:
    """input → so many transforms → one output."""
    return {
        "name": "fan",
        "nodes": {
            "in": {"type": "input", "name": "in", "config": {"inputName": "x"}},
            **{f"n{number}": _template(f"n{number}", "{{x}}") for number in range(nodes)},
            "out": {
                "type": "output",
                "name": "out",
                "config": {"outputName": "y", "value": "{{n0}}"},
            },
        },
        "edges": [
            edge
            for number in range(nodes)
            for edge in (_edge("in", f"n{number}"), _edge(f"n{number}", "out"))
        ],
    }


def loop(rounds: int) -> dict[str, Any]:
    """A loop whose body is one transform."""
    config = {"loopType": "count", "count": rounds, "maxIterations": rounds}
    value = {"outputName": "rounds", "value": "{{l.iterations}}", "format": "json"}
    return {
        "name": "loop",
        "nodes": {
            "l": {"type": "loop", "name": "l", "config": config},
            "t": _template("t", "{{loop.index}}"),
            "out": {"type": "output", "name": "out", "config": value},
        },
        "edges": [_edge("l", "t", "body"), _edge("t", "l"), _edge("l", "out", "done")],
    }


def _template(name: str, template: str) -> dict[str, Any]:
    config = {"operation": "template", "template": template}
    return {"type": "transform", "name": name, "config": config}


def _edge(source: str, target: str, handle: str | None = None) -> dict[str, Any]:
    return {
        "id": f"{source}-{target}",
        "source": source,
        "target": target,
        "sourceHandle": handle,
    }
