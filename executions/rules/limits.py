"""How large and how deep a workflow definition may be, and the nodes that stand in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from executions.errors import Invalid
from executions.rules.graph import Issue
from executions.rules.values import encode

Json = Any

MAX_NODES = 2_000
MAX_EDGES = 10_000
MAX_CONFIG_BYTES = 1_000_000
# With its inputs it must fit into a run's payload.
MAX_DEFINITION_BYTES = 2_500_000
MAX_DEPTH = 60


def check_size(definition: Json) -> Issue | None:
    if not isinstance(definition, Mapping):
        return Issue(
            "INVALID_INPUT", "A workflow definition is a JSON object with nodes and edges."
        )
    if _too_deep(definition):
        return _blame(
            definition, lambda entry: _too_deep(entry, MAX_DEPTH - 2), "TOO_DEEP",
            f"is nested deeper than {MAX_DEPTH} levels; flatten it, or pass the data as an input.",
        )  # fmt: skip
    try:
        size = _size(definition)
    except (TypeError, ValueError) as error:
        return Issue(
            "INVALID_INPUT",
            f"The definition is not JSON: {error}. Numbers are finite, keys are text.",
        )
    if size > MAX_DEFINITION_BYTES:
        return _blame(
            definition, lambda entry: _size(entry) > MAX_CONFIG_BYTES, "TOO_LARGE",
            f"makes the definition {size:,} bytes, over the limit of {MAX_DEFINITION_BYTES:,}; "
            "move the data to an input or a file.",
        )  # fmt: skip
    if _has_unfit_text(definition):
        return _blame(
            definition, _has_unfit_text, "INVALID_INPUT",
            "holds a NUL character or half a surrogate pair, which cannot be stored; remove it.",
        )  # fmt: skip
    return None


def _size(value: Json) -> int:
    return len(json.dumps(value, allow_nan=False))


def _has_unfit_text(value: Json) -> bool:
    try:
        encode(value, field="definition")
    except Invalid:
        return True
    return False


def _blame(
    definition: Mapping[str, Json], is_at_fault: Callable[[Json], bool], code: str, what: str
) -> Issue:
    """An issue about the first node at fault, or about the whole where no single one is."""
    for key, entry in node_entries(definition, []):
        if is_at_fault(entry):
            return Issue(code, f"Node {key!r} {what}", key)
    return Issue(code, f"The definition {what}")


def _too_deep(value: Json, limit: int = MAX_DEPTH) -> bool:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > limit:
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


def node_entries(
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
            Issue(
                "TOO_LARGE",
                f"{len(nodes):,} nodes are over the limit of {MAX_NODES:,}; "
                "move some to a subworkflow.",
            )
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
            issues.append(
                Issue(
                    "INVALID_NODE",
                    f"Node {key or position + 1!r} is not an object; give it `type` and `config`.",
                    key,
                )
            )
        elif not isinstance(key, str) or not key.strip():
            issues.append(
                Issue("INVALID_NODE", f"Node number {position + 1} has no `id`; give it one.")
            )
        elif len(key) > 200 or "/" in key:
            issues.append(
                Issue(
                    "INVALID_NODE",
                    f"The node id {key[:40]!r} is over 200 characters or has a slash; change it.",
                    key,
                )
            )
        else:
            entries.append((key, entry))
    return entries
