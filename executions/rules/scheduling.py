"""Which node runs next: a Schedule over the regions of a graph, told of each settlement.

No I/O and no data: the caller runs nodes and evaluates loops, the schedule says what may start,
what is skipped, and when a round or the whole is over.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from executions.rules.graph import Edge, Node
from executions.rules.loops import GOTO, Line, Region, Structure, Unit

ERROR = "error"
DEFAULT = "default"
NO_WAYS: frozenset[str] = frozenset()

# How a failure is taken: the strategies of onError, and a drawn error edge.
Handling = Literal["fail", "continue", "fallback", "goto", "error_edge"]
_Decide = Callable[[Edge], bool]


@dataclass(eq=False, slots=True)
class Frame:
    """One round of a region: which of its units are settled and which lines are live."""

    region: Region
    path: tuple[str, ...]
    parent: Frame | None
    number: int
    round: int = 0
    pending: dict[Unit, int] = field(default_factory=dict)
    live: set[Unit] = field(default_factory=set)
    open_units: int = 0
    edge_live: dict[int, bool] = field(default_factory=dict)
    exit_live: dict[int, bool] = field(default_factory=dict)
    back_live: bool = False
    failures: list[str] = field(default_factory=list)
    loop: Job | None = None

    @property
    def scope(self) -> Frame:
        """The frame whose context this one shares: rounds of a cycle write where it stands."""
        frame = self
        while frame.region.kind == "cycle" and frame.parent is not None:
            frame = frame.parent
        return frame


@dataclass(eq=False, slots=True)
class Job:
    """One node to run once, in one round."""

    node: Node
    frame: Frame

    @property
    def key(self) -> str:
        """The node's key in the run: the rounds around it, then its id."""
        return "/".join((*self.frame.path, self.node.id))


class Schedule:
    """The state of a run's graph. Every method returns at once and is deterministic."""

    def __init__(self, structure: Structure) -> None:
        self._structure = structure
        self._graph = structure.graph
        self._limit = structure.graph.settings.max_concurrent_nodes
        self._max_rounds = structure.graph.settings.max_rounds
        self._plan = _Plan(structure)
        self._ready: list[tuple[int, int, Job]] = []
        self._work: deque[tuple[Frame, Unit]] = deque()
        self._frames = 0
        self.running = 0
        self.skipped: list[tuple[str, Frame]] = []
        self.closed_rounds: list[Frame] = []
        self.errors: dict[str, str] = {}
        self.root = self._open(structure.root, None, ())

    @property
    def is_finished(self) -> bool:
        """Whether every unit of the whole graph is settled."""
        return self.root.open_units == 0

    @property
    def failures(self) -> list[str]:
        """Ids of the nodes whose failure nothing handled."""
        return self.root.failures

    def take(self) -> list[Job]:
        """The jobs that may start now, in definition order; they count as running."""
        jobs = []
        while self._ready and self.running < self._limit:
            jobs.append(heapq.heappop(self._ready)[2])
            self.running += 1
        return jobs

    def complete(self, job: Job, handle: str | None = None) -> None:
        """A job ended well and chose `handle`, None when its node chooses nothing."""
        ways = self._ways(job.node, handle)
        self.running -= 1
        self._settle_node(job.frame, job.node.id, lambda edge: self._chosen(edge, job.node, ways))
        self._drain()

    def _ways(self, node: Node, handle: str | None) -> frozenset[str]:
        """The names of the way out that was chosen; of an unknown one, what stands in for it."""
        spec = node.spec
        if handle is None:
            return frozenset({DEFAULT}) if spec.routes else NO_WAYS
        ways: frozenset[str] = spec.ways(node.config, handle)
        if spec.routes:
            drawn = {edge.handle or DEFAULT for edge in self._graph.out_edges[node.id]}
            for other in spec.instead(node.config, handle):
                if ways & drawn:
                    break
                ways = spec.ways(node.config, other)
        return ways

    def fail(self, job: Job, handling: Handling | None = None) -> Handling:
        """A job failed for good; the answer says how, by the definition, that is taken."""
        handling = handling or self.handling(job.node)
        if handling in ("continue", "fallback"):
            self.complete(job)
            return handling
        self.running -= 1
        if handling == "fail":
            job.frame.failures.append(job.node.id)
            taken = NO_WAYS
        else:
            taken = frozenset({ERROR, GOTO})
        self._settle_node(job.frame, job.node.id, lambda edge: edge.handle in taken)
        self._drain()
        return handling

    def handling(self, node: Node) -> Handling:
        """How a failure of `node` is taken."""
        if node.on_error.strategy != "fail":
            return node.on_error.strategy
        drawn = any(edge.handle == ERROR for edge in self._graph.out_edges[node.id])
        return "error_edge" if drawn else "fail"

    def open_loop(self, job: Job) -> None:
        """A loop node begins its rounds; it holds no place among the running nodes meanwhile."""
        self.running -= 1

    def open_round(self, job: Job, index: int) -> Frame:
        """Begin round `index` of a loop; its end appears in `closed_rounds`."""
        body = self._structure.bodies[job.node.id]
        path = (*job.frame.path, f"{job.node.id}[{index}]")
        frame = self._open(body, job.frame, path, round_=index, loop=job)
        self._drain()
        return frame

    def close_loop(self, job: Job, *, failed: bool = False, rounds: int = 0) -> Handling | None:
        """All rounds of a loop are over, or one failed; the loop node settles."""
        self.running += 1
        if rounds == 0 and not failed:
            for line in self._plan.leaving.get(job.node.id, ()):
                job.frame.exit_live[line.edge.index] = True
        if failed:
            return self.fail(job)
        self.complete(job, "done")
        return None

    def has_body(self, node: Node) -> bool:
        """Whether a loop node repeats anything."""
        return node.id in self._structure.bodies

    def body_of(self, node: Node) -> Iterable[str]:
        """The nodes that a loop node repeats, in definition order."""
        return [key for key in self._plan.inside(node.id) if key != node.id]

    def _chosen(self, edge: Edge, node: Node, ways: frozenset[str]) -> bool:
        if edge.handle in (ERROR, GOTO):
            return edge.handle in ways
        if not ways or node.spec.is_loop:
            return True
        if edge.handle is not None:
            return edge.handle in ways
        if node.spec.routes:
            out = self._graph.out_edges[node.id]
            handled = any(other.handle not in (None, ERROR) for other in out)
            return DEFAULT in ways or not handled
        return True

    def _open(
        self,
        region: Region,
        parent: Frame | None,
        path: tuple[str, ...],
        *,
        round_: int = 0,
        loop: Job | None = None,
    ) -> Frame:
        frame = Frame(region, path, parent, self._frames, round_, loop=loop)
        self._frames += 1
        plan = self._plan
        frame.open_units = len(region.units)
        frame.pending = dict(plan.incoming[region])
        for line, unit in plan.external.get(region, ()):
            if self._entered(line, region, frame):
                frame.live.add(unit)
        if region.kind == "cycle" and round_ > 0 and region.header is not None:
            frame.live.add(plan.unit_of_header[region])
        starts = plan.starts[region]
        for unit in region.units:
            if frame.pending[unit] == 0:
                if unit in starts:
                    frame.live.add(unit)
                self._work.append((frame, unit))
        if parent is None:
            self._drain()
        return frame

    def _entered(self, line: Line, region: Region, frame: Frame) -> bool:
        """Whether an edge from outside leads live into a round that begins now."""
        if region.kind == "loop" and line.edge.source == region.header:
            return True
        if region.kind == "cycle" and frame.round > 0 and line.edge.target == region.header:
            return False
        outer = frame.parent
        while outer is not None:
            if line.edge.index in outer.edge_live:
                return outer.edge_live[line.edge.index]
            outer = outer.parent
        return False

    def _settle_node(self, frame: Frame, node: str, is_live: _Decide) -> None:
        for line in self._plan.outgoing[node]:
            live = is_live(line.edge)
            if line.region is frame.region:
                self._settle_line(frame, line, live)
                continue
            outer = frame.parent
            while outer is not None and outer.region is not line.region:
                outer = outer.parent
            if outer is not None and live:
                outer.exit_live[line.edge.index] = True
        self._settle_unit(frame, node)

    def _settle_line(self, frame: Frame, line: Line, live: bool) -> None:
        frame.edge_live[line.edge.index] = live
        if line.is_back:
            # The way into a loop's body, and the way back from it, decide nothing here.
            if live and _begins_round(line):
                frame.back_live = True
            return
        if live:
            frame.live.add(line.target)
        frame.pending[line.target] -= 1
        if frame.pending[line.target] == 0:
            self._work.append((frame, line.target))

    def _settle_unit(self, frame: Frame, unit: Unit, *, skipped: bool = False) -> None:
        for line in self._plan.leaving.get(unit, ()):
            live = not skipped and frame.exit_live.get(line.edge.index, False)
            if line.region is frame.region and not line.is_back:
                self._settle_line(frame, line, live)
            elif live and _begins_round(line):
                frame.back_live = True
        frame.open_units -= 1
        if frame.open_units == 0:
            self._close(frame)

    def _close(self, frame: Frame) -> None:
        region, parent = frame.region, frame.parent
        if parent is None:
            return
        if region.kind == "loop":
            self.closed_rounds.append(frame)
            return
        parent.failures.extend(node for node in frame.failures if node not in parent.failures)
        if not frame.back_live:
            self._settle_unit(parent, region)
        elif frame.round < self._max_rounds:
            base = parent.path
            step = f"{region.header}~{frame.round + 1}"
            self._open(region, parent, (*base, step), round_=frame.round + 1)
        else:
            header = str(region.header)
            self.errors[header] = (
                f"The cycle through {header!r} reached its limit of {self._max_rounds} rounds "
                "(settings.maxRounds); let a condition leave it earlier or raise the limit."
            )
            if header not in parent.failures:
                parent.failures.append(header)
            self._settle_unit(parent, region, skipped=True)

    def _drain(self) -> None:
        """Make units with all lines settled ready, or skip them; repeated until quiet."""
        while self._work:
            frame, unit = self._work.popleft()
            if unit not in frame.live:
                self._skip(frame, unit)
            elif isinstance(unit, Region):
                self._open(unit, frame, frame.path)
            else:
                node = self._graph.nodes[unit]
                heapq.heappush(self._ready, (node.index, frame.number, Job(node, frame)))

    def _skip(self, frame: Frame, unit: Unit) -> None:
        for node in self._plan.inside(unit):
            self.skipped.append((node, frame))
        if isinstance(unit, str):
            self._settle_node(frame, unit, lambda edge: False)
        else:
            self._settle_unit(frame, unit, skipped=True)


def _begins_round(line: Line) -> bool:
    """Whether a back line is a cycle's own: its loop nodes' inner lines are not."""
    return line.region.kind == "cycle" and (
        line.source != line.target or line.edge.source == line.edge.target
    )


class _Plan:
    """What every frame of a region has in common, computed once."""

    def __init__(self, structure: Structure) -> None:
        self._structure = structure
        self.incoming: dict[Region, dict[Unit, int]] = {}
        self.outgoing: dict[str, list[Line]] = {key: [] for key in structure.graph.nodes}
        self.leaving: dict[Unit, list[Line]] = {}
        self.external: dict[Region, list[tuple[Line, Unit]]] = {}
        self.starts: dict[Region, frozenset[Unit]] = {}
        self.unit_of_header: dict[Region, Unit] = {}
        regions = [structure.root, *structure.bodies.values(), *structure.cycles]
        for region in regions:
            self.incoming[region] = dict.fromkeys(region.units, 0)
        for line in structure.lines:
            self._add(line)
        entered = {unit for pairs in self.external.values() for _, unit in pairs}
        targets = {line.target for line in structure.lines if not line.is_back}
        for region in regions:
            if region.kind == "cycle":
                self.unit_of_header[region] = self._unit(str(region.header), region)
            self.starts[region] = frozenset(
                unit
                for unit in region.units
                if unit not in entered and unit not in targets and self._may_start(unit, region)
            )

    def _add(self, line: Line) -> None:
        self.outgoing[line.edge.source].append(line)
        if line.source != line.edge.source:
            self.leaving.setdefault(line.source, []).append(line)
        if not line.is_back:
            self.incoming[line.region][line.target] += 1
        # The regions that the edge enters on its way from `line.region` down to its target.
        region: Region | None = self._structure.home[line.edge.target]
        while region is not None and region is not line.region:
            unit = self._unit(line.edge.target, region)
            self.external.setdefault(region, []).append((line, unit))
            region = region.parent

    def _unit(self, node: str, region: Region) -> Unit:
        """The unit of `region` that is, or holds, `node`."""
        inner: Region | None = self._structure.home[node]
        unit: Unit = node
        while inner is not None and inner is not region:
            unit = inner if inner.kind == "cycle" else str(inner.header)
            inner = inner.parent
        return unit

    def _may_start(self, unit: Unit, region: Region) -> bool:
        """A cycle that nothing leads to starts only at an entry node of its own."""
        if isinstance(unit, Region):
            return any(self._structure.graph.is_entry(key) for key in unit.members)
        if region.kind == "cycle":
            return unit == region.header
        return True

    def inside(self, unit: Unit) -> Iterable[str]:
        """The nodes that a unit stands for."""
        nodes = self._structure.graph.nodes
        if isinstance(unit, Region):
            members = unit.members
        elif unit in self._structure.bodies:
            members = self._structure.bodies[unit].members | {unit}
        else:
            return (unit,)
        return sorted(members, key=lambda key: nodes[key].index)
