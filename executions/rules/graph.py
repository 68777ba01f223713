"""What a parsed workflow is: nodes, edges, settings, and the issues found on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from executions.rules.retry import Retry

Json = Any
Severity = Literal["error", "warning"]
Strategy = Literal["fail", "continue", "fallback", "goto"]


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing to change in a definition; an error blocks a run, a warning does not."""

    code: str
    message: str
    node: str | None = None
    severity: Severity = "error"

    def as_json(self) -> dict[str, Any]:
        """The issue as the API and the command line show it."""
        return {
            "code": self.code,
            "node": self.node,
            "severity": self.severity,
            "message": self.message,
        }


class NodeType(Protocol):
    """What parsing and scheduling must know of a node type; NodeSpec provides it."""

    @property
    def type(self) -> str: ...
    @property
    def routes(self) -> bool:
        """An edge without a handle means `default` once other edges have handles."""
        ...

    @property
    def is_loop(self) -> bool: ...
    @property
    def is_output(self) -> bool: ...
    @property
    def is_entry(self) -> bool: ...
    @property
    def own_timeout(self) -> bool: ...

    def read(self, config: dict[str, Json]) -> Any:
        """The typed config; raises ConfigError."""
        ...

    def ways(self, config: Any, handle: str) -> frozenset[str]:
        """All names of the way out `handle`."""
        ...

    def instead(self, config: Any, handle: str) -> tuple[str, ...]:
        """Ways to try, in order, when `handle` is none that the node has and no edge bears it."""
        ...


@dataclass(frozen=True, slots=True)
class OnError:
    """What happens when a node has failed for good."""

    strategy: Strategy = "fail"
    fallback_value: Json = None
    goto_node: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One box of the graph. `type` is canonical; `config` is the typed config of that type."""

    id: str
    type: str
    spec: Any
    name: str
    raw: Mapping[str, Json]
    config: Any = None
    on_error: OnError = OnError()
    retry: Retry | None = None
    timeout: float | None = None
    position: tuple[float, float] | None = None
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One line of the graph; two edges between the same nodes are two edges."""

    id: str
    source: str
    target: str
    handle: str | None = None
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The run-wide settings; `timeout_seconds` counts active time."""

    timeout_seconds: float | None = None
    max_concurrent_nodes: int = 10
    max_rounds: int = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A parsed workflow. Nodes keep definition order."""

    name: str
    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]
    settings: Settings = Settings()
    warnings: tuple[Issue, ...] = ()
    description: str = ""
    # Where the run begins, beside the entry nodes and those that nothing leads to.
    entry: str | None = None
    out_edges: Mapping[str, tuple[Edge, ...]] = field(default_factory=dict)
    in_edges: Mapping[str, tuple[Edge, ...]] = field(default_factory=dict)

    def is_entry(self, node: str) -> bool:
        """Whether a run begins at a node although edges may lead to it."""
        return node == self.entry or bool(self.nodes[node].spec.is_entry)
