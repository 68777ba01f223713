"""Short ways to write definitions and to run them on the context in memory."""

from __future__ import annotations

import asyncio
from typing import Any

from executions.orchestrator import WorkflowFailed, orchestrator
from executions.tests.fakes import FakeContext

Json = Any


def flow(nodes: dict[str, Json], *edges: Any, **more: Json) -> dict[str, Json]:
    """A definition: nodes as {id: (type, config)}, edges as "a>b" or "a:handle>b"."""
    listed = {}
    for key, entry in nodes.items():
        kind, config, *rest = entry if isinstance(entry, tuple) else (entry, {})
        listed[key] = {"type": kind, "name": key, "config": config, **(rest[0] if rest else {})}
    drawn = []
    for number, edge in enumerate(edges):
        left, target = edge.split(">")
        source, _, handle = left.partition(":")
        drawn.append(
            {"id": f"e{number}", "source": source, "target": target, "sourceHandle": handle or None}
        )
    return {"name": "test", "nodes": listed, "edges": drawn, **more}


def run(definition: Json, *, ctx: FakeContext | None = None, **payload: Json) -> dict[str, Json]:
    """The orchestrator's output for a definition, also when the run failed."""
    context = ctx or FakeContext()

    async def go() -> dict[str, Json]:
        async with asyncio.timeout(60):
            try:
                return await orchestrator.function(
                    {"workflowDefinition": definition, **payload}, context
                )
            except WorkflowFailed as error:
                return error.output

    return asyncio.run(go())


def statuses(result: dict[str, Json]) -> dict[str, str]:
    """The status of each node."""
    return {node: entry["status"] for node, entry in result["nodes"].items()}
