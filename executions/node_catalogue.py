"""The catalogue of node types: what forms, docs and the API show, from the one source."""

from __future__ import annotations

from typing import Any

from executions import nodes
from executions.errors import NotFound
from executions.nodes import Effect, NodeSpec

Json = Any

_EFFECTS = {
    Effect.PURE: "none",
    Effect.READS_OUTSIDE: "reads",
    Effect.WRITES_OUTSIDE: "writes",
    Effect.WAITS: "waits",
}


def describe_all() -> list[dict[str, Json]]:
    """Every node type, by name."""
    return [describe(spec) for spec in nodes.catalogue()]


def describe_one(name: str) -> dict[str, Json]:
    """A node type by its name or a synonym. Raises NotFound naming those there are."""
    spec = nodes.find(name)
    if spec is None:
        known = ", ".join(each.type for each in nodes.catalogue())
        raise NotFound(f"There is no node type {name!r}; there are {known}.", field="type")
    return describe(spec)


def describe(spec: NodeSpec) -> dict[str, Json]:
    """A node type: its names, its ways out, what it does outside, and its config as JSON Schema.

    `missing` says why it cannot run here; it is empty for one that can.
    """
    is_available = spec.run is not None or spec.is_loop
    return {
        "type": spec.type,
        "title": spec.title,
        "description": spec.description,
        "synonyms": sorted(spec.synonyms),
        "icon": spec.icon,
        "handles": list(spec.handles),
        "isLoop": spec.is_loop,
        "isOutput": spec.is_output,
        "isEntry": spec.is_entry,
        "effect": _EFFECTS[spec.effect],
        "isAvailable": is_available,
        "missing": "" if is_available else spec.missing.replace("{provider!r}", "its provider"),
        "config": spec.config.model_json_schema(by_alias=True),
    }
