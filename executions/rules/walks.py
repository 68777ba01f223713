"""Walks over the edges of a graph: what is reached, which parts are cycles, in which order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from executions.rules.graph import Edge

Successors = Mapping[str, list[str]]


def strong_components(inside: set[str], edges: list[Edge]) -> Iterator[set[str]]:
    """Strongly connected components with at least one edge (Tarjan, without recursion)."""
    after = successors(edges, inside)
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


def successors(edges: Iterable[Edge], inside: Iterable[str]) -> dict[str, list[str]]:
    """The targets of each node, of the edges that stay inside."""
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


def topological(after: Successors) -> dict[str, int]:
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
