"""Which nodes form loops: the regions of a graph, nested.

A loop node owns a body; a cycle without a loop node is a region of its own. Inside a region the
graph is acyclic once its back edges are left out, so a round of it is an ordinary schedule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from executions.rules.graph import Edge, Graph, Issue, Node
from executions.rules.names_used import loop_names, uses_names
from executions.rules.walks import (
    Successors,
    reach,
    strong_components,
    successors,
    topological,
)

BODY_HANDLES = frozenset({"body", "output-body", "loop-body"})
EXIT_HANDLES = frozenset({"done", "output-done", "loop-exit", "exit"})
GOTO = "goto"


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
        for members in strong_components(inside, among):
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
    entered = entered or {key for key in members if graph.is_entry(key)} or members
    return min(
        entered,
        key=lambda key: (
            not graph.nodes[key].spec.is_loop, key != graph.entry, graph.nodes[key].index,
        ),
    )  # fmt: skip


def _find_bodies(
    graph: Graph, forward: list[Edge], components: list[_Component], warnings: list[Issue]
) -> dict[str, set[str]]:
    """The body of each loop node: explicit, returned or implicit, in this order."""
    after = successors(forward, graph.nodes)
    order = topological(after)
    loops = sorted(
        (key for key, node in graph.nodes.items() if node.spec.is_loop), key=order.__getitem__
    )
    returned = {component.header: component for component in components}
    drawn = {key: _drawn_body(graph, key, after, returned.get(key)) for key in loops}
    bodies: dict[str, set[str]] = {}
    for key in loops:
        body = drawn[key]
        if body is None:
            body = _implicit_body(graph, graph.nodes[key], after, forward, drawn)
            _warn_implicit(graph.nodes[key], body, warnings)
        for outer, members in bodies.items():
            if key in members and outer != key:
                body &= members
        bodies[key] = body - {key}
    for key in reversed(loops):
        for inner in list(bodies[key]):
            bodies[key] |= bodies.get(inner, set()) - {key}
    return bodies


def _drawn_body(
    graph: Graph, loop: str, after: Successors, component: _Component | None
) -> set[str] | None:
    """The body that edges say: from a body edge, else by returning; None when none say it."""
    out = graph.out_edges[loop]
    explicit = [edge.target for edge in out if edge.handle in BODY_HANDLES]
    if explicit:
        exits = [edge.target for edge in out if edge.handle not in BODY_HANDLES]
        return reach(after, explicit, stop=loop) - reach(after, exits, stop=loop)
    return None if component is None else set(component.members) - {loop}


def _implicit_body(
    graph: Graph,
    loop: Node,
    after: Successors,
    forward: list[Edge],
    drawn: Mapping[str, set[str] | None],
) -> set[str]:
    """Descendants only the loop leads to that use its variables, and all between.

    What a later loop gives the same name to is that loop's.
    """
    descendants = reach(after, after[loop.id])
    starts = [
        key
        for key in graph.nodes
        if key != loop.id and not any(edge.target == key for edge in forward)
    ]
    elsewhere = reach(after, starts, stop=loop.id)
    exits = [e.target for e in graph.out_edges[loop.id] if e.handle in EXIT_HANDLES]
    own = descendants - elsewhere - reach(after, exits)
    names = dict.fromkeys(own, loop_names(loop))
    for later in own & drawn.keys():
        body = drawn[later]
        for key in own & (reach(after, after[later]) if body is None else body):
            names[key] -= loop_names(graph.nodes[later])
    before: dict[str, list[str]] = {key: [] for key in own}
    for source in own:
        for target in after[source]:
            if target in own:
                before[target].append(source)
    users = [key for key in own if names[key] and uses_names(graph.nodes[key].raw, names[key])]
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


def last_of_run(structure: Structure) -> frozenset[str]:
    """The nodes after which nothing comes: no edge leads on, or only back, or into their body."""
    graph = structure.graph
    plain = {key for key in graph.nodes if not graph.out_edges[key]}
    return frozenset(plain | set(last_nodes(structure, structure.root)))
