"""What a validator advises: lone nodes, ways that nothing takes, costs, names used twice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from executions.rules.comparisons import to_text
from executions.rules.graph import Graph, Issue, Node
from executions.rules.loops import GOTO, Structure, all_edges
from executions.rules.walks import reach

Json = Any

_EXPENSIVE = frozenset(
    "agent audio audioInput audioOutput audioTranscription embeddings imageGeneration llm router "
    "videoGeneration vision".split()
)
_PROMPTED = frozenset({"llm", "router", "vision"})
_LEAST_PROMPT = 5
# Of one name, so many nodes are compared with each other.
_COMPARED = 20
_WORD = re.compile(r"[A-Za-z_$][\w$]*")


def find_advice(structure: Structure) -> list[Issue]:
    """Warnings about what runs, but perhaps not as its author thinks."""
    graph = structure.graph
    return [
        *_orphans(graph),
        *_ways(graph),
        *_twice_named(graph),
        *_prompts(graph),
        *_costs(structure),
        *_outputs(graph),
    ]


def _warning(code: str, message: str, node: str | None = None) -> Issue:
    return Issue(code, message, node, "warning")


def _orphans(graph: Graph) -> Iterator[Issue]:
    if len(graph.nodes) < 2:
        return
    joined = {end for edge in all_edges(graph) for end in (edge.source, edge.target)}
    for node in graph.nodes.values():
        if node.id not in joined and node.type != "annotation":
            yield _warning(
                "ORPHAN_NODE",
                f"Node {node.id!r} has no edge; connect it, or remove it if it is not needed.",
                node.id,
            )


def _ways(graph: Graph) -> Iterator[Issue]:
    """Edges of a way out that their node does not have, and choices that lead nowhere."""
    for node in graph.nodes.values():
        ways = _ways_of(node)
        if not ways:
            continue
        edges = graph.out_edges[node.id]
        if not edges and node.spec.routes:
            yield _warning(
                "CONDITIONAL_MISSING_BRANCH",
                f"Node {node.id!r} has no outgoing edge, so it decides nothing; connect its ways.",
                node.id,
            )
        for edge in edges:
            if edge.handle is not None and edge.handle not in ways | {"error", GOTO}:
                shown = ", ".join(sorted(_plain_ways(node)))
                yield _warning(
                    "UNKNOWN_HANDLE",
                    f"Edge {edge.id!r} leaves node {node.id!r} by {edge.handle!r}, a way that it "
                    f"does not have; use one of {shown}.",
                    node.id,
                )


def _plain_ways(node: Node) -> list[str]:
    config = node.config
    listed = [to_text(case.value) for case in getattr(config, "cases", ())]
    listed += [to_text(route.get("value", "")) for route in getattr(config, "routes", ())]
    more = (getattr(config, "default_case", None), getattr(config, "default_route", None))
    return [*listed, *(name for name in more if name), *node.spec.handles]


def _ways_of(node: Node) -> frozenset[str]:
    """Every name of every way out of a node that chooses; empty where it does not say them."""
    chooses = node.spec.routes or node.spec.handles == ("true", "false")
    if not chooses or node.config is None:
        return frozenset()
    if node.type == "router" and not node.config.routes:
        return frozenset()
    names: frozenset[str] = frozenset()
    for way in _plain_ways(node):
        names |= node.spec.ways(node.config, way)
    return names


def _twice_named(graph: Graph) -> Iterator[Issue]:
    named: dict[str, list[str]] = {}
    for node in graph.nodes.values():
        name = node.raw.get("outputVariable")
        if isinstance(name, str) and name and node.type not in ("humanReview", "variable"):
            named.setdefault(name, []).append(node.id)
    after = {key: [edge.target for edge in edges] for key, edges in graph.out_edges.items()}
    for name, nodes in named.items():
        shown = nodes[:_COMPARED]
        behind = {key: reach(after, after[key]) for key in shown} if len(shown) > 1 else {}
        for first, second in combinations(shown, 2):
            if second in behind[first] or first in behind[second]:
                yield _warning(
                    "OUTPUT_VARIABLE_CONFLICT",
                    f"Nodes {first!r} and {second!r} both write {name!r}, and the one that ends "
                    f"first keeps the name; rename one, or use {{{{{second}.{name}}}}}.",
                    second,
                )


def _prompts(graph: Graph) -> Iterator[Issue]:
    for node in graph.nodes.values():
        prompt = node.raw.get("prompt")
        given = prompt is not None and len(to_text(prompt).strip()) >= _LEAST_PROMPT
        if node.type in _PROMPTED and not given:
            yield _warning(
                "EMPTY_PROMPT",
                f"Node {node.id!r} has no prompt to speak of; write what the model is to do.",
                node.id,
            )


def _words(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield from _WORD.findall(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _words(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _words(item)


def _costs(structure: Structure) -> Iterator[Issue]:
    graph = structure.graph
    used: dict[str, set[str]] = {}
    for node in graph.nodes.values():
        for word in _words({**node.raw, "outputVariable": None, "label": None}):
            used.setdefault(word, set()).add(node.id)
    for node in graph.nodes.values():
        if node.type not in _EXPENSIVE:
            continue
        name = node.raw.get("outputVariable")
        if isinstance(name, str) and name and graph.out_edges[node.id] and node.type != "router":
            readers = (used.get(name, set()) | used.get(node.id, set())) - {node.id}
            if not readers:
                yield _warning(
                    "UNUSED_EXPENSIVE_OUTPUT",
                    f"Nothing uses {name!r}, what node {node.id!r} pays a model for; use it, or "
                    "remove the node.",
                    node.id,
                )
    for loop, body in structure.bodies.items():
        costly = [key for key in sorted(body.members) if graph.nodes[key].type in _EXPENSIVE]
        if costly:
            yield _warning(
                "EXPENSIVE_LOOP_OPERATION",
                f"Each round of loop {loop!r} asks a model ({', '.join(costly)}); set "
                "maxIterations to what you are ready to pay for.",
                loop,
            )


def _outputs(graph: Graph) -> Iterator[Issue]:
    if not any(node.spec.is_output for node in graph.nodes.values()):
        yield _warning(
            "NO_WORKFLOW_OUTPUT",
            "The workflow has no output node, so its result is that of its last nodes; add an "
            "output node to choose it.",
        )
