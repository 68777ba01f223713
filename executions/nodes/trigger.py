"""trigger: where a run that something started from outside begins."""

from __future__ import annotations

from executions.nodes import Effect, NodeCall, NodeConfig, NodeResult, node


@node("trigger", config=NodeConfig, effect=Effect.PURE, icon="zap", is_entry=True)
async def trigger(call: NodeCall[NodeConfig]) -> NodeResult:
    """Hand what started the run to the nodes that follow."""
    inputs, name = dict(call.scope.inputs), call.config.output_variable
    if name is None:
        return NodeResult(output=inputs)
    return NodeResult(output={name: inputs.get(name, inputs)})
