"""Runs one node in a workflow on the engine, where it has its run's files."""

from __future__ import annotations

from typing import Any

from executions import runs
from executions.tests.flows import flow

Json = Any


def ran(engine: Any, nodes: dict[str, Json], *edges: str, **inputs: Json) -> tuple[str, Json]:
    """The id of a run of these nodes, and what it came to, also when it failed."""
    definition = flow(nodes, *edges)
    handle = engine.trigger("orchestrator", {"workflowDefinition": definition, "inputs": inputs})
    engine.run_until_idle(seconds=60)
    run = runs.retrieve(handle.id)
    assert run.is_final
    return handle.id, run.output


def one(engine: Any, kind: str, config: dict[str, Json], **inputs: Json) -> tuple[str, Json]:
    """The id of a run of one node, and the node's output."""
    run_id, result = ran(engine, {"n": (kind, {"retry": 1, **config})}, **inputs)
    entry = result["nodes"]["n"]
    assert entry["status"] == "completed", entry
    return run_id, entry["output"]


def refusal(engine: Any, kind: str, config: dict[str, Json], **inputs: Json) -> str:
    """What a node that must fail says."""
    _, result = ran(engine, {"n": (kind, {"retry": 1, **config})}, **inputs)
    return result["nodes"]["n"]["error"]["message"]
