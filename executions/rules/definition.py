"""Parse a workflow definition, in either form and dialect, into one immutable Graph.

What the text says is decided here; which nodes form loops is in loops.py, and which node is next
in scheduling.py. The table of node types is an argument, so this module knows no node type.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from executions.errors import Invalid
from executions.rules.graph import Edge, Graph, Issue, Node, NodeType, OnError, Settings, Strategy
from executions.rules.policies import PolicyError, read_retry, read_timeout

Json = Any

MAX_NODES = 2_000
MAX_EDGES = 10_000
MAX_CONFIG_BYTES = 1_000_000
MAX_DEFINITION_BYTES = 5_000_000
MAX_DEPTH = 60

_Policy = TypeVar("_Policy")

_STRATEGIES: tuple[Strategy, ...] = ("fail", "continue", "fallback", "goto")
# Handles that a canvas draws by default and that choose nothing.
_PLAIN_HANDLES = frozenset({"", "output", "out", "source", "source-right", "source-bottom"})


class InvalidDefinition(Invalid):
    """The definition cannot run; `issues` says what to change."""

    code = "invalid_definition"

    def __init__(self, issues: Sequence[Issue]) -> None:
        self.issues = tuple(issues)
        errors = [issue.message for issue in issues if issue.severity == "error"]
        shown = " ".join(errors[:10])
        more = f" (and {len(errors) - 10} more)" if len(errors) > 10 else ""
        super().__init__(
            f"The workflow definition has {len(errors)} error{'s' if len(errors) != 1 else ''}: "
            f"{shown}{more}",
            field="workflowDefinition",
        )


class ConfigError(Exception):
    """A node's config cannot be read; `problems` holds (field, sentence) pairs."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__(" ".join(sentence for _, sentence in problems))


Lookup = Callable[[str], NodeType | None]


def parse(definition: Json, lookup: Lookup, *, pinned: frozenset[str] = frozenset()) -> Graph:
    """The graph of a definition. Raises InvalidDefinition with every error found.

    `lookup` finds a node type by any of its names. The config of a pinned node is not checked,
    since the node does not run.
    """
    graph, issues = read(definition, lookup, pinned=pinned)
    if graph is None:
        raise InvalidDefinition(issues)
    return graph


def read(
    definition: Json, lookup: Lookup, *, pinned: frozenset[str] = frozenset()
) -> tuple[Graph | None, list[Issue]]:
    """The graph, or None with the errors that prevent it; warnings come along either way."""
    issues: list[Issue] = []
    too_big = _check_size(definition)
    if too_big is not None:
        return None, [too_big]
    entries = _node_entries(definition, issues)
    entries = [(key, entry) for key, entry in entries if not _is_comment(entry)]
    if not entries and not issues:
        issues.append(
            Issue("NO_NODES", "The workflow has no node that runs; add at least one node.")
        )
    nodes: dict[str, Node] = {}
    for key, entry in entries:
        if key in nodes:
            issues.append(
                Issue("DUPLICATE_NODE", f"Two nodes have the id {key!r}; rename one.", key)
            )
            continue
        node = _read_node(key, entry, len(nodes), lookup, issues, check=key not in pinned)
        if node is not None:
            nodes[key] = node
    known = {key for key, _ in entries}
    edges = _read_edges(definition, known, _comment_ids(definition), issues)
    _check_goto(nodes, known, issues)
    settings = _read_settings(definition.get("settings"), issues)
    if any(issue.severity == "error" for issue in issues):
        return None, issues
    return (
        Graph(
            name=str(definition.get("name") or "Workflow"),
            description=str(definition.get("description") or ""),
            nodes=MappingProxyType(nodes),
            edges=edges,
            settings=settings,
            warnings=tuple(issues),
            out_edges=MappingProxyType(_group(edges, nodes, lambda edge: edge.source)),
            in_edges=MappingProxyType(_group(edges, nodes, lambda edge: edge.target)),
        ),
        issues,
    )


def _group(
    edges: tuple[Edge, ...], nodes: Mapping[str, Node], key: Callable[[Edge], str]
) -> dict[str, tuple[Edge, ...]]:
    groups: dict[str, list[Edge]] = {node: [] for node in nodes}
    for edge in edges:
        groups[key(edge)].append(edge)
    return {node: tuple(members) for node, members in groups.items()}


def _check_size(definition: Json) -> Issue | None:
    if not isinstance(definition, Mapping):
        return Issue(
            "INVALID_INPUT", "A workflow definition is a JSON object with nodes and edges."
        )
    if _too_deep(definition):
        return Issue(
            "TOO_DEEP", f"The definition is nested deeper than {MAX_DEPTH} levels; flatten it."
        )
    try:
        size = len(json.dumps(definition))
    except (TypeError, ValueError) as error:
        return Issue("INVALID_INPUT", f"The definition is not JSON: {error}.")
    if size > MAX_DEFINITION_BYTES:
        return Issue(
            "TOO_LARGE",
            f"The definition has {size:,} bytes, over the limit of {MAX_DEFINITION_BYTES:,}.",
        )
    return None


def _too_deep(value: Json) -> bool:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            return True
        level = [
            child
            for item in level
            for child in (
                item.values()
                if isinstance(item, Mapping)
                else item
                if isinstance(item, list | tuple)
                else ()
            )
            if isinstance(child, Mapping | list | tuple)
        ]
    return False


def _node_entries(
    definition: Mapping[str, Json], issues: list[Issue]
) -> list[tuple[str, Mapping[str, Json]]]:
    """Nodes of either form as (id, entry) pairs in definition order."""
    nodes = definition.get("nodes")
    if nodes is None or not isinstance(nodes, Mapping | list):
        issues.append(
            Issue("NO_NODES", "The definition needs `nodes`: an object by id, or a list of nodes.")
        )
        return []
    if len(nodes) > MAX_NODES:
        issues.append(
            Issue("TOO_LARGE", f"{len(nodes):,} nodes are over the limit of {MAX_NODES:,}.")
        )
        return []
    pairs: list[tuple[Json, Json]] = (
        list(nodes.items())
        if isinstance(nodes, Mapping)
        else [(item.get("id") if isinstance(item, Mapping) else None, item) for item in nodes]
    )
    entries: list[tuple[str, Mapping[str, Json]]] = []
    for position, (key, entry) in enumerate(pairs):
        if not isinstance(entry, Mapping):
            issues.append(Issue("INVALID_NODE", f"Node {key or position} is not an object.", key))
        elif not isinstance(key, str) or not key.strip():
            issues.append(Issue("INVALID_NODE", f"Node number {position + 1} has no `id`."))
        elif len(key) > 200 or "/" in key:
            issues.append(
                Issue("INVALID_NODE", "A node id has at most 200 characters and no slash.", key)
            )
        else:
            entries.append((key, entry))
    return entries


def _is_comment(entry: Mapping[str, Json]) -> bool:
    return str(entry.get("type", "")).lower() == "comment"


def _comment_ids(definition: Mapping[str, Json]) -> set[str]:
    return {key for key, entry in _node_entries(definition, []) if _is_comment(entry)}


def _read_node(
    key: str,
    entry: Mapping[str, Json],
    index: int,
    lookup: Lookup,
    issues: list[Issue],
    *,
    check: bool,
) -> Node | None:
    type_name = entry.get("type")
    if not isinstance(type_name, str) or not type_name:
        issues.append(Issue("INVALID_NODE", f"Node {key!r} has no `type`.", key))
        return None
    spec = lookup(type_name)
    if spec is None:
        issues.append(
            Issue(
                "UNKNOWN_NODE_TYPE",
                f"Node {key!r} has the unknown type {type_name!r}; choose a type of the catalogue.",
                key,
            )
        )
        return None
    raw = entry.get("config", entry.get("data"))
    if raw is None:
        raw = {}
    if not isinstance(raw, Mapping):
        issues.append(Issue("INVALID_NODE", f"The config of node {key!r} is not an object.", key))
        return None
    if len(json.dumps(raw)) > MAX_CONFIG_BYTES:
        issues.append(
            Issue(
                "TOO_LARGE",
                f"The config of node {key!r} is over {MAX_CONFIG_BYTES:,} bytes; "
                "move the data to an input.",
                key,
            )
        )
        return None
    # `forEach`, `while` and `repeat` are names of the loop that also say its kind.
    config = _read_config(key, {"__type": type_name, **raw}, spec, issues, check=check)
    name = entry.get("name") or raw.get("label") or raw.get("inputName") or raw.get("outputName")
    return Node(
        id=key,
        type=spec.type,
        spec=spec,
        name=str(name or spec.type),
        raw=MappingProxyType(dict(raw)),
        config=config,
        on_error=_read_on_error(key, entry.get("onError", raw.get("onError")), issues),
        retry=_read_policy(key, read_retry, raw.get("retry"), issues),
        timeout=(
            None
            if spec.own_timeout
            else _read_policy(key, read_timeout, raw.get("timeout"), issues)
        ),
        position=_read_position(entry.get("position")),
        index=index,
    )


def _read_config(
    key: str, raw: dict[str, Json], spec: NodeType, issues: list[Issue], *, check: bool
) -> Any:
    try:
        return spec.read(raw)
    except ConfigError as error:
        if check:
            issues.extend(
                Issue("INVALID_CONFIG", f"Node {key!r}: {sentence}", key)
                for _, sentence in error.problems
            )
        return None


def _read_policy(
    key: str, reader: Callable[[Json], _Policy], value: Json, issues: list[Issue]
) -> _Policy | None:
    try:
        return reader(value)
    except PolicyError as error:
        issues.append(Issue("INVALID_CONFIG", f"Node {key!r}: {error}", key))
        return None


def _read_position(value: Json) -> tuple[float, float] | None:
    if isinstance(value, Mapping):
        x, y = value.get("x"), value.get("y")
        if isinstance(x, int | float) and isinstance(y, int | float):
            return float(x), float(y)
    return None


def _read_on_error(key: str, value: Json, issues: list[Issue]) -> OnError:
    if value is None:
        return OnError()
    if isinstance(value, str):
        value = {"strategy": value}
    strategy = value.get("strategy", "fail") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or strategy not in _STRATEGIES:
        issues.append(
            Issue(
                "INVALID_ON_ERROR",
                f"Node {key!r}: onError.strategy is one of {', '.join(_STRATEGIES)}.",
                key,
            )
        )
        return OnError()
    goto = value.get("gotoNode", value.get("gotoNodeId"))
    if strategy == "goto" and not isinstance(goto, str):
        issues.append(
            Issue("INVALID_ON_ERROR", f"Node {key!r}: onError goto needs `gotoNode`.", key)
        )
    return OnError(strategy, value.get("fallbackValue"), goto if strategy == "goto" else None)


def _check_goto(nodes: Mapping[str, Node], known: set[str], issues: list[Issue]) -> None:
    for node in nodes.values():
        goto = node.on_error.goto_node
        if isinstance(goto, str) and goto not in known:
            issues.append(
                Issue(
                    "UNKNOWN_GOTO",
                    f"Node {node.id!r}: onError goes to {goto!r}, which does not exist.",
                    node.id,
                )
            )


def _read_edges(
    definition: Mapping[str, Json], known: set[str], comments: set[str], issues: list[Issue]
) -> tuple[Edge, ...]:
    listed = definition.get("edges", [])
    if listed is None:
        return ()
    if not isinstance(listed, list):
        issues.append(Issue("INVALID_EDGE", "`edges` is a list."))
        return ()
    if len(listed) > MAX_EDGES:
        issues.append(Issue("TOO_LARGE", f"{len(listed):,} edges exceed {MAX_EDGES:,}."))
        return ()
    edges: list[Edge] = []
    for index, entry in enumerate(listed):
        if not isinstance(entry, Mapping):
            issues.append(Issue("INVALID_EDGE", f"Edge number {index + 1} is not an object."))
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
                    source if end == "target" and source in known else None,
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


def _read_settings(value: Json, issues: list[Issue]) -> Settings:
    if value is None:
        return Settings()
    if not isinstance(value, Mapping):
        issues.append(Issue("INVALID_SETTINGS", "`settings` is an object."))
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
            Issue("INVALID_SETTINGS", f"settings.{key} is a number from {low:g} to {high:g}.")
        )
        return None
    return float(number)
