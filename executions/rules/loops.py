"""Which nodes form loops: the regions of a graph, nested.

A loop node owns a body; a cycle without a loop node is a region of its own. Inside a region the
graph is acyclic once its back edges are left out, so a round of it is an ordinary schedule.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from executions.rules.graph import Edge, Graph, Issue, Node

BODY_HANDLES = frozenset({"body", "output-body", "loop-body"})
EXIT_HANDLES = frozenset({"done", "output-done", "loop-exit", "exit"})
GOTO = "goto"

Successors = Mapping[str, list[str]]

_PLACEHOLDER = re.compile(r"\{\{([^{}]*)\}\}")
# Fields whose text is an expression without braces.
_EXPRESSION_FIELDS = frozenset(
    {"condition", "expression", "code", "inputData", "arrayPath", "collection", "items"}
)


@dataclass(eq=False, slots=True)
class Region:
    """A part of the graph that is scheduled as one: the whole, a loop's body, or a cycle."""

    kind: Literal["root", "loop", "cycle"]
    header: str | None
    members: frozenset[str]
    parent: Region | None = None
    # Units are node ids, and for a cycle nested here the Region itself, in definition order.
    units: list[str | Region] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<Region {self.kind} {self.header}>"


Unit = str | Region


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An edge as the schedule sees it: within one region, from unit to unit."""

    edge: Edge
    region: Region
    source: Unit
    target: Unit
    is_back: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """The loops of a graph: regions, where each node lives, and the lines between units."""

    graph: Graph
    root: Region
    home: Mapping[str, Region]
    bodies: Mapping[str, Region]
    cycles: tuple[Region, ...]
    lines: tuple[Line, ...]
    warnings: tuple[Issue, ...]


def find_structure(graph: Graph) -> Structure:
    """The regions of a graph, outermost first, with what the validator should say about them."""
    edges = all_edges(graph)
    components = _components(graph, edges)
    back = {edge for component in components for edge in component.back}
    forward = [edge for edge in edges if edge not in back]
    warnings: list[Issue] = []
    bodies = _find_bodies(graph, forward, components, warnings)
    root = Region("root", None, frozenset(graph.nodes))
    regions = [root]
    for loop, members in bodies.items():
        if members:
            regions.append(Region("loop", loop, frozenset(members)))
    for component in components:
        if not component.is_loop_body(bodies):
            closed = set(component.members)
            for node in component.members:
                closed |= bodies.get(node, set())
            regions.append(Region("cycle", component.header, frozenset(closed)))
    home = _nest(graph, regions)
    return Structure(
        graph=graph,
        root=root,
        home=home,
        bodies={
            region.header: region for region in regions if region.kind == "loop" and region.header
        },
        cycles=tuple(region for region in regions if region.kind == "cycle"),
        lines=tuple(_line(edge, home, back) for edge in edges),
        warnings=tuple(warnings),
    )


def all_edges(graph: Graph) -> list[Edge]:
    """The drawn edges, and one `goto` edge for each node whose onError names a target."""
    edges = list(graph.edges)
    for node in graph.nodes.values():
        if node.on_error.goto_node is not None:
            edges.append(
                Edge(
                    id=f"goto:{node.id}",
                    source=node.id,
                    target=node.on_error.goto_node,
                    handle=GOTO,
                    index=len(edges),
                )
            )
    return edges


@dataclass(frozen=True, slots=True)
class _Component:
    """A strongly connected part: where it is entered, and the edges that go back there."""

    header: str
    members: frozenset[str]
    back: frozenset[Edge]

    def is_loop_body(self, bodies: Mapping[str, set[str]]) -> bool:
        """Whether each back edge is the return from the body of the loop node at its head."""
        body = bodies.get(self.header)
        return body is not None and all(edge.source in body for edge in self.back)


def _components(graph: Graph, edges: list[Edge]) -> list[_Component]:
    """Strongly connected parts, nested: each part without its back edges is split again."""
    found: list[_Component] = []
    work: list[tuple[set[str], list[Edge]]] = [(set(graph.nodes), edges)]
    while work:
        inside, among = work.pop()
        for members in _strong(inside, among):
            internal = [e for e in among if e.source in members and e.target in members]
            if not internal:
                continue
            header = _header(graph, members, edges)
            back = frozenset(edge for edge in internal if edge.target == header)
            found.append(_Component(header, frozenset(members), back))
            work.append((members, [edge for edge in internal if edge not in back]))
    return found


def _header(graph: Graph, members: set[str], edges: list[Edge]) -> str:
    """The node at which a cycle is entered; among several a loop node, then the first drawn."""
    entered = {e.target for e in edges if e.target in members and e.source not in members}
    entered = entered or {key for key in members if graph.nodes[key].spec.is_entry} or members
    return min(entered, key=lambda key: (not graph.nodes[key].spec.is_loop, graph.nodes[key].index))


def _strong(inside: set[str], edges: list[Edge]) -> Iterator[set[str]]:
    """Strongly connected components with at least one edge (Tarjan, without recursion)."""
    after = _successors(edges, inside)
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    on_stack: set[str] = set()
    stack: list[str] = []
    for start in after:
        if start in index:
            continue
        work = [(start, iter(after[start]))]
        index[start] = low[start] = len(index)
        stack.append(start)
        on_stack.add(start)
        while work:
            node, rest = work[-1]
            for target in rest:
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(after[target])))
                    break
                if target in on_stack:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    members = set()
                    while node not in members:
                        members.add(stack.pop())
                    on_stack -= members
                    if len(members) > 1 or node in after[node]:
                        yield members


def _successors(edges: Iterable[Edge], inside: Iterable[str]) -> dict[str, list[str]]:
    after: dict[str, list[str]] = {key: [] for key in inside}
    for edge in edges:
        if edge.source in after and edge.target in after:
            after[edge.source].append(edge.target)
    return after


def reach(after: Successors, starts: Iterable[str], *, stop: str | None = None) -> set[str]:
    """All nodes reached from `starts`, these included, without passing through `stop`."""
    seen = {start for start in starts if start != stop}
    work = list(seen)
    while work:
        for target in after[work.pop()]:
            if target not in seen and target != stop:
                seen.add(target)
                work.append(target)
    return seen


def _find_bodies(
    graph: Graph, forward: list[Edge], components: list[_Component], warnings: list[Issue]
) -> dict[str, set[str]]:
    """The body of each loop node: explicit, returned or implicit, in this order."""
    after = _successors(forward, graph.nodes)
    order = _topological(after)
    loops = sorted(
        (key for key, node in graph.nodes.items() if node.spec.is_loop), key=order.__getitem__
    )
    returned = {component.header: component for component in components}
    bodies: dict[str, set[str]] = {}
    for key in loops:
        out = graph.out_edges[key]
        explicit = [edge.target for edge in out if edge.handle in BODY_HANDLES]
        component = returned.get(key)
        if explicit:
            exits = [edge.target for edge in out if edge.handle not in BODY_HANDLES]
            body = reach(after, explicit, stop=key) - reach(after, exits, stop=key)
        elif component is not None:
            body = set(component.members) - {key}
        else:
            body = _implicit_body(graph, graph.nodes[key], after, forward)
            _warn_implicit(graph.nodes[key], body, warnings)
        for outer, members in bodies.items():
            if key in members and outer != key:
                body &= members
        bodies[key] = body - {key}
    for key in reversed(loops):
        for inner in list(bodies[key]):
            bodies[key] |= bodies.get(inner, set()) - {key}
    return bodies


def _topological(after: Successors) -> dict[str, int]:
    """A position for each node such that edges go forward; `after` is acyclic."""
    waiting = dict.fromkeys(after, 0)
    for targets in after.values():
        for target in targets:
            waiting[target] += 1
    ready = [key for key, count in waiting.items() if count == 0]
    for key in ready:
        for target in after[key]:
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)
    return {key: position for position, key in enumerate(ready)}


def _implicit_body(graph: Graph, loop: Node, after: Successors, forward: list[Edge]) -> set[str]:
    """Descendants only the loop leads to that use its variables, and all between."""
    descendants = reach(after, after[loop.id])
    starts = [
        key
        for key in graph.nodes
        if key != loop.id and not any(edge.target == key for edge in forward)
    ]
    elsewhere = reach(after, starts, stop=loop.id)
    exits = [e.target for e in graph.out_edges[loop.id] if e.handle in EXIT_HANDLES]
    own = descendants - elsewhere - reach(after, exits)
    names = loop_names(loop)
    before: dict[str, list[str]] = {key: [] for key in own}
    for source in own:
        for target in after[source]:
            if target in own:
                before[target].append(source)
    users = [key for key in own if uses_names(graph.nodes[key].raw, names)]
    return reach(before, users)


def _warn_implicit(loop: Node, body: set[str], warnings: list[Issue]) -> None:
    if body:
        taken = ", ".join(sorted(body))
        text = (
            f"Loop {loop.id!r} has no edge for its body; the nodes that use its item run in each "
            f"round: {taken}. Connect its `body` handle to say so."
        )
    else:
        text = f"Loop {loop.id!r} has no body; connect its `body` handle to the nodes to repeat."
    warnings.append(Issue("LOOP_NO_BODY", text, loop.id, "warning"))


def loop_names(loop: Node) -> frozenset[str]:
    """The names under which a body sees the loop's state."""
    config = loop.config
    item = getattr(config, "item_variable", None) or loop.raw.get("itemVariable") or "item"
    index = getattr(config, "index_variable", None) or loop.raw.get("indexVariable") or "index"
    return frozenset({"loop", str(item), str(index)})


def uses_names(config: Any, names: frozenset[str]) -> bool:
    """Whether a config's templates or expressions mention one of `names` as a root."""
    pattern = re.compile(
        rf"(?<![\w$.'\"-])(?:{'|'.join(re.escape(name) for name in sorted(names))})(?![\w$-])"
    )
    work: list[tuple[str, Any]] = [("", config)]
    while work:
        key, value = work.pop()
        if isinstance(value, str):
            texts = [value] if key in _EXPRESSION_FIELDS else _PLACEHOLDER.findall(value)
            if any(pattern.search(text) for text in texts):
                return True
        elif isinstance(value, Mapping):
            work.extend((str(name), child) for name, child in value.items())
        elif isinstance(value, list | tuple):
            work.extend((key, child) for child in value)
    return False


def _nest(graph: Graph, regions: list[Region]) -> dict[str, Region]:
    """Give each region its parent and units, and each node its innermost region."""
    # A cycle that fills a whole body, or the whole graph, lies inside of it.
    ranks = {"cycle": 0, "loop": 1, "root": 2}
    inner_first = sorted(regions, key=lambda r: (len(r.members), ranks[r.kind]))
    for region in regions:
        if region.kind != "root":
            # A body lives where its loop node lives; a cycle where all of its nodes do.
            needed = {region.header} if region.kind == "loop" else region.members
            region.parent = next(
                other
                for other in inner_first
                if other is not region
                and needed <= other.members
                and len(other.members) >= len(region.members)
                and not (other.kind == "loop" and other.header in region.members)
            )
    home = {
        key: next(region for region in inner_first if key in region.members) for key in graph.nodes
    }
    for key, region in home.items():
        region.units.append(key)
    for region in regions:
        if region.kind == "cycle" and region.parent is not None:
            region.parent.units.append(region)
    for region in regions:
        region.units.sort(key=lambda unit: unit_index(graph, unit))
    return home


def unit_index(graph: Graph, unit: Unit) -> int:
    """The place of a unit in definition order; a cycle stands where its header does."""
    key = unit if isinstance(unit, str) else unit.header
    return graph.nodes[str(key)].index


def _chain(node: str, home: Mapping[str, Region]) -> list[tuple[Region, Unit]]:
    """The regions around a node, innermost first, with the unit that holds it in each."""
    chain: list[tuple[Region, Unit]] = []
    region: Region | None = home[node]
    unit: Unit = node
    while region is not None:
        chain.append((region, unit))
        if region.kind == "cycle":
            unit = region
        elif region.header is not None:
            unit = region.header
        region = region.parent
    return chain


def _line(edge: Edge, home: Mapping[str, Region], back: set[Edge]) -> Line:
    around = dict(_chain(edge.target, home))
    region, source = next(
        (region, unit) for region, unit in _chain(edge.source, home) if region in around
    )
    target = around[region]
    return Line(
        edge=edge,
        region=region,
        source=source,
        target=target,
        is_back=edge in back or source == target,
    )


def last_nodes(structure: Structure, region: Region) -> tuple[str, ...]:
    """The nodes of a region after which nothing of it comes; of a cycle, those that go back."""
    inner = [line for line in structure.lines if line.region is region and not line.is_back]
    sources = {line.source for line in inner}
    last: list[str] = []
    for unit in region.units:
        if unit in sources:
            continue
        if isinstance(unit, str):
            last.append(unit)
        else:
            ends = {
                line.edge.source for line in structure.lines if line.region is unit and line.is_back
            }
            last.extend(sorted(ends, key=lambda key: structure.graph.nodes[key].index))
    return tuple(last)
