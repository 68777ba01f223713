"""subworkflow: run another stored workflow as a child run and go on with its outputs."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from executions import workflows
from executions.errors import FlowMaestroError
from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, node
from executions.rules.comparisons import to_text
from executions.rules.retry import Retry

Json = Any

# A workflow may call itself, but not for ever.
MAX_DEPTH = 10


class SubworkflowFailed(FlowMaestroError):
    """The other workflow did not complete."""

    code = "subworkflow_failed"


class SubworkflowConfig(NodeConfig):
    """Which workflow, by id or name, and what it is given."""

    workflow_id: str | None = Field(None, title="Workflow", description="An id or a version's id")
    workflow_name: str | None = Field(None, title="Name", description="Instead of an id")
    inputs: dict[str, Json] = Field(default_factory=dict, title="Inputs")

    @model_validator(mode="after")
    def _names_one(self) -> SubworkflowConfig:
        if not self.workflow_id and not self.workflow_name:
            raise ValueError("Name the workflow to run: workflowId, or workflowName.")
        return self


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    config.setdefault("workflowId", config.get("subworkflowId") or config.get("workflow"))
    for name in ("inputMapping", "inputMappings", "parameters", "input"):
        if not config.get("inputs") and config.get(name):
            config["inputs"] = config[name]
    given = config.get("inputs")
    if isinstance(given, list):
        config["inputs"] = {
            str(item.get("key", item.get("name"))): item.get("value")
            for item in given
            if isinstance(item, dict) and item.get("key", item.get("name")) not in (None, "")
        }
    elif not isinstance(given, dict):
        config.pop("inputs", None)
    return config


@node(
    "subworkflow",
    synonyms=("subWorkflow", "sub-workflow", "workflow", "executeWorkflow"),
    title="Workflow",
    config=SubworkflowConfig,
    effect=Effect.WAITS,
    icon="workflow",
    dialect=_dialect,
)
async def subworkflow(call: NodeCall[SubworkflowConfig]) -> NodeResult:
    """Run another workflow and wait for it."""
    config, ctx = call.config, call.ctx
    reference = call.render.text(config.workflow_id or "").strip()
    name = call.render.text(config.workflow_name or "").strip()
    found = await ctx.step(
        "version", workflows.find_for_run, reference or None, name or None, ctx.run_id, MAX_DEPTH,
        retry=Retry(non_retryable=("not_found", "too_deep")),
    )  # fmt: skip
    inputs = call.render.value(config.inputs)
    if not isinstance(inputs, dict):
        raise BadConfig(f"inputs is an object, not {to_text(inputs)[:100]!r}.", field="inputs")
    payload = {"workflowId": found["versionId"], "inputs": inputs}
    child = await ctx.trigger_and_wait(
        "orchestrator", payload, name="run", definition=found["versionId"]
    )
    if not child.ok:
        message = (child.error or {}).get("message", "")
        raise SubworkflowFailed(
            f"The workflow {found['name']!r} (run {child.run_id}) ended {child.status}: {message}"
        )
    output = child.output if isinstance(child.output, dict) else {}
    return NodeResult(output=call.wrap(output.get("outputs", output)))
