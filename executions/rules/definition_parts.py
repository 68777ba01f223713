"""The parts of a workflow definition beside its nodes: edges, settings, what follows a failure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from executions.rules.graph import Edge, Issue, Node, OnError, Settings, Strategy
from executions.rules.limits import MAX_EDGES

Json = Any

_STRATEGIES: tuple[Strategy, ...] = ("fail", "continue", "fallback", "goto")
# Handles that a canvas draws by default and that choose nothing.
_PLAIN_HANDLES = frozenset({"", "output", "out", "source", "source-right", "source-bottom"})


def read_edges(
    definition: Mapping[str, Json], known: set[str], comments: set[str], issues: list[Issue]
) -> tuple[Edge, ...]:
    listed = definition.get("edges", [])
    if listed is None:
        return ()
    if not isinstance(listed, list):
        issues.append(
            Issue(
                "INVALID_EDGE", "`edges` is not a list; list the edges with `source` and `target`."
            )
        )
        return ()
    if len(listed) > MAX_EDGES:
        issues.append(
            Issue(
                "TOO_LARGE",
                f"{len(listed):,} edges are over the limit of {MAX_EDGES:,}; remove some.",
            )
        )
        return ()
    edges: list[Edge] = []
    for index, entry in enumerate(listed):
        if not isinstance(entry, Mapping):
            issues.append(
                Issue(
                    "INVALID_EDGE",
                    f"Edge number {index + 1} is not an object; give it `source` and `target`.",
                )
            )
            continue
        name = str(entry.get("id") or f"edge-{index + 1}")
        source, target = (
            end if isinstance(end, str) else ""
            for end in (entry.get("source"), entry.get("target"))
        )
        if source in comments or target in comments:
            continue
        missing = [end for end, at in (("source", source), ("target", target)) if at not in known]
        for end in missing:
            issues.append(
                Issue(
                    f"INVALID_EDGE_{end.upper()}",
                    f"Edge {name!r}: its {end} {entry.get(end)!r} is not a node; "
                    "connect it or remove the edge.",
                    next((at for at in (source, target) if at in known), None),
                )
            )
        if missing:
            continue
        handle = entry.get("sourceHandle")
        plain = not isinstance(handle, str) or handle in _PLAIN_HANDLES
        edges.append(
            Edge(
                id=name,
                source=source,
                target=target,
                handle=None if plain else handle,
                index=index,
            )
        )
    return tuple(edges)


def read_settings(value: Json, issues: list[Issue]) -> Settings:
    if value is None:
        return Settings()
    if not isinstance(value, Mapping):
        issues.append(
            Issue(
                "INVALID_SETTINGS",
                "`settings` is not an object; write its values by name, or leave it out.",
            )
        )
        return Settings()
    timeout = _number(value, "timeout", 1, 10**12, issues)
    concurrent = _number(value, "maxConcurrentNodes", 1, 1_000, issues)
    rounds = _number(value, "maxRounds", 1, 10_000, issues)
    return Settings(
        timeout_seconds=None if timeout is None else timeout / 1000,
        max_concurrent_nodes=10 if concurrent is None else int(concurrent),
        max_rounds=25 if rounds is None else int(rounds),
    )


def _number(
    value: Mapping[str, Json], key: str, low: float, high: float, issues: list[Issue]
) -> float | None:
    number = value.get(key)
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int | float) or not low <= number <= high:
        issues.append(
            Issue(
                "INVALID_SETTINGS",
                f"settings.{key} is {number!r:.40}; it must be a number from {low:g} to {high:g}.",
            )
        )
        return None
    return float(number)


def read_on_error(key: str, value: Json, issues: list[Issue]) -> OnError:
    if value is None:
        return OnError()
    if isinstance(value, str):
        value = {"strategy": value}
    names = ("strategy", "errorStrategy")
    strategy = (
        next((value[name] for name in names if value.get(name)), "fail")
        if isinstance(value, Mapping)
        else None
    )
    if not isinstance(value, Mapping) or strategy not in _STRATEGIES:
        issues.append(
            Issue(
                "INVALID_ON_ERROR",
                f"Node {key!r}: onError.strategy must be one of {', '.join(_STRATEGIES)}.",
                key,
            )
        )
        return OnError()
    goto = next(
        (value[name] for name in ("gotoNode", "gotoNodeId", "fallbackNodeId") if value.get(name)),
        None,
    )
    if strategy == "goto" and not isinstance(goto, str):
        issues.append(
            Issue(
                "INVALID_ON_ERROR",
                f"Node {key!r}: onError goto needs `gotoNode`; name the node to go to.",
                key,
            )
        )
    return OnError(strategy, value.get("fallbackValue"), goto if strategy == "goto" else None)


def check_goto(nodes: Mapping[str, Node], known: set[str], issues: list[Issue]) -> None:
    for node in nodes.values():
        goto = node.on_error.goto_node
        if isinstance(goto, str) and goto not in known:
            issues.append(
                Issue(
                    "UNKNOWN_GOTO",
                    f"Node {node.id!r}: onError goes to {goto!r}, which is no node; name another.",
                    node.id,
                )
            )
