"""triggered-workflow: the run that a trigger starts; it runs the workflow as a child."""

from __future__ import annotations

from typing import Any, TypedDict

from executions import workflows
from executions.engine.context import Context
from executions.errors import Invalid
from executions.models import Run
from executions.orchestrator import WorkflowFailed
from executions.registry import task
from executions.rules.retry import NO_RETRY, Retry

Json = Any


class TriggeredResult(TypedDict):
    """What came of a triggered workflow. `executionId` is the id of the run of the workflow."""

    success: bool
    executionId: str
    outputs: dict[str, Json]


@task("triggered-workflow", retry=NO_RETRY)
async def triggered_workflow(payload: dict[str, Json], ctx: Context) -> TriggeredResult:
    """Prepares a run of `payload["workflowId"]`, waits for it and records its result.

    `triggerPayload` becomes the workflow's inputs; `triggerId` and `triggerName` say who asked. A
    workflow that fails makes this run fail with the same message and outputs.
    """
    workflow_id = payload.get("workflowId")
    if not isinstance(workflow_id, str):
        raise Invalid("workflowId names the workflow to run.", field="payload.workflowId")
    inputs = payload.get("triggerPayload")
    if inputs is not None and not isinstance(inputs, dict):
        raise Invalid("triggerPayload is an object.", field="payload.triggerPayload")
    version = await ctx.step(
        "prepare", prepare, workflow_id, ctx.run_id, retry=Retry(non_retryable=("not_found",))
    )
    for name in ("triggerId", "triggerName", "triggerType"):
        if payload.get(name) is not None:
            ctx.metadata.set(name, payload[name])
    ctx.metadata.set("workflowName", version["name"])
    ctx.metadata.set("status", "running")
    child = await ctx.trigger_and_wait(
        "orchestrator", {"workflowId": version["versionId"], "inputs": inputs or {}}, name="run",
        definition=version["versionId"], tags=ctx.tags,
    )  # fmt: skip
    ctx.metadata.set("executionId", child.run_id)
    output = child.output if isinstance(child.output, dict) else {}
    outputs = output.get("outputs") or {}
    ctx.metadata.set("status", "completed" if child.ok else "failed")
    if not child.ok:
        message = str((child.error or {}).get("message", f"The workflow ended {child.status}."))
        failed = {"success": False, "executionId": child.run_id, "outputs": outputs}
        raise WorkflowFailed(message, {**failed, "error": message})
    return {"success": True, "executionId": child.run_id, "outputs": outputs}


def prepare(workflow_id: str, run_id: str) -> Json:
    """The version to run, as the workspace of the run may see it: {versionId, name}."""
    workspace = Run.objects.values_list("workspace_id", flat=True).get(pk=run_id)
    version = workflows.find_version(workflow_id, workspace=workspace)
    return {"versionId": version.pk, "name": version.workflow.name}
