"""The types that do nothing: annotations, and places kept free."""

from __future__ import annotations

from executions.nodes import Effect, NodeCall, NodeConfig, NodeResult, node


@node(
    "annotation",
    synonyms=("label", "comment", "group", "note", "parallel"),
    config=NodeConfig,
    effect=Effect.PURE,
    icon="sticky-note",
)
async def annotation(call: NodeCall[NodeConfig]) -> NodeResult:
    """Explain a part of the workflow; the run passes through."""
    return NodeResult(output={})


@node(
    "noop",
    synonyms=("skip", "placeholder", "no-op"),
    title="No operation",
    config=NodeConfig,
    effect=Effect.PURE,
    icon="circle-dashed",
)
async def noop(call: NodeCall[NodeConfig]) -> NodeResult:
    """Keep a place free for a node to come."""
    return NodeResult(output={"skipped": True})
