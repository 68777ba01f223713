"""Which state a workflow's node is in after an event of its run's log; the last event counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Json = Any

PENDING: Final = "pending"
RUNNING: Final = "running"
WAITING: Final = "waiting"
NOT_RUN: Final = "not_run"
# The run ended while the node was at it: cancelled, or out of time.
STOPPED: Final = "stopped"

# `static/executions/format.js` holds the same table for pages that watch a run.
STATE_AFTER: Final[Mapping[str, str]] = {
    "node_started": RUNNING,
    "paused": WAITING,
    "answer_refused": WAITING,
    "resumed": RUNNING,
    "node_completed": "completed",
    "node_failed": "failed",
    "node_skipped": "skipped",
}
# How a failure may be taken so that the node counts as completed.
_HANDLED: Final = frozenset({"continue", "fallback"})


def state_after(event: str, data: Mapping[str, Json]) -> dict[str, Json] | None:
    """The node's entry after an event about it: its status, and output or error where there is one.

    None for an event that says nothing about a node.
    """
    status = STATE_AFTER.get(event)
    if status is None or not data.get("nodeId"):
        return None
    if event == "node_failed" and data.get("handling") in _HANDLED:
        return {"status": "completed", "handledError": data.get("error")}
    entry: dict[str, Json] = {"status": status}
    for name in ("output", "outputSize", "warnings", "error"):
        if name in data:
            entry[name] = data[name]
    return entry


def reading_order(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[str]:
    """The nodes so that each comes after those that lead to it; in a cycle, the first one listed.

    A stored definition's nodes have no order of their own: a JSON object has none.
    """
    place = {node: index for index, node in enumerate(nodes)}
    waiting = dict.fromkeys(nodes, 0)
    after: dict[str, list[str]] = {node: [] for node in nodes}
    for source, target in set(edges):
        after[source].append(target)
        waiting[target] += 1
    order: list[str] = []
    ready = [node for node in nodes if not waiting[node]]
    while waiting:
        node = ready.pop(0) if ready else next(iter(waiting))
        del waiting[node]
        order.append(node)
        for target in sorted(after[node], key=place.__getitem__):
            if target in waiting:
                waiting[target] -= 1
                if not waiting[target]:
                    ready.append(target)
    return order
