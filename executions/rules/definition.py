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
from executions.rules.definition_parts import (
    check_goto,
    read_edges,
    read_on_error,
    read_settings,
)
from executions.rules.graph import Edge, Graph, Issue, Node, NodeType
from executions.rules.limits import MAX_CONFIG_BYTES, check_size, node_entries
from executions.rules.policies import PolicyError, read_retry, read_timeout

Json = Any

_Policy = TypeVar("_Policy")


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
    too_big = check_size(definition)
    if too_big is not None:
        return None, [too_big]
    entries = node_entries(definition, issues)
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
    edges = read_edges(definition, known, _comment_ids(definition), issues)
    check_goto(nodes, known, issues)
    settings = read_settings(definition.get("settings"), issues)
    if any(issue.severity == "error" for issue in issues):
        return None, issues
    return (
        Graph(
            name=str(definition.get("name") or "Workflow"),
            description=str(definition.get("description") or ""),
            nodes=MappingProxyType(nodes),
            edges=edges,
            settings=settings,
            entry=_entry(definition, nodes, edges),
            warnings=tuple(issues),
            out_edges=MappingProxyType(_group(edges, nodes, lambda edge: edge.source)),
            in_edges=MappingProxyType(_group(edges, nodes, lambda edge: edge.target)),
        ),
        issues,
    )


def _entry(definition: Mapping[str, Json], nodes: Mapping[str, Node], edges: Sequence[Edge]) -> str:
    """The node named, else the first input, else one that nothing leads to, else the first."""
    named = definition.get("entryPoint")
    if isinstance(named, str) and named in nodes:
        return named
    led_to = {edge.target for edge in edges}
    inputs = (key for key, node in nodes.items() if node.type == "input")
    free = (key for key in nodes if key not in led_to)
    return next(inputs, None) or next(free, None) or next(iter(nodes))


def _group(
    edges: tuple[Edge, ...], nodes: Mapping[str, Node], key: Callable[[Edge], str]
) -> dict[str, tuple[Edge, ...]]:
    groups: dict[str, list[Edge]] = {node: [] for node in nodes}
    for edge in edges:
        groups[key(edge)].append(edge)
    return {node: tuple(members) for node, members in groups.items()}


def _is_comment(entry: Mapping[str, Json]) -> bool:
    return str(entry.get("type", "")).lower() == "comment"


def _comment_ids(definition: Mapping[str, Json]) -> set[str]:
    return {key for key, entry in node_entries(definition, []) if _is_comment(entry)}


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
        issues.append(
            Issue("INVALID_NODE", f"Node {key!r} has no `type`; choose one of the catalogue.", key)
        )
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
        issues.append(
            Issue(
                "INVALID_NODE",
                f"The config of node {key!r} is not an object; write its settings as one.",
                key,
            )
        )
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
        on_error=read_on_error(key, entry.get("onError", raw.get("onError")), issues),
        retry=_read_policy(key, read_retry, raw.get("retry", entry.get("retry")), issues),
        timeout=(
            None
            if spec.own_timeout
            else _read_policy(key, read_timeout, raw.get("timeout", entry.get("timeout")), issues)
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
