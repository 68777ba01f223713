"""triggered-workflow: the run that a trigger starts; it runs the workflow as a child."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NotRequired, TypedDict

from executions import workflows
from executions.engine.context import Context
from executions.errors import Invalid
from executions.models import Run
from executions.orchestrator import WorkflowFailed
from executions.registry import task
from executions.rules.retry import NO_RETRY, Retry

Json = Any
Finder = Callable[[dict[str, Json], str], dict[str, Json] | None]

_finders: list[Finder] = []


def finds_triggers(finder: Finder) -> Finder:
    """Registers what finds the trigger that a schedule's payload means, for a run's id.

    It gives the payload of a triggered workflow, or {"skipped": why nothing is to run}.
    """
    if finder not in _finders:
        _finders.append(finder)
    return finder


class TriggeredResult(TypedDict):
    """What came of a triggered workflow. `executionId` is the id of the run of the workflow.

    `skipped` says why there is none.
    """

    success: bool
    executionId: NotRequired[str]
    outputs: dict[str, Json]
    skipped: NotRequired[str]


@task("triggered-workflow", retry=NO_RETRY)
async def triggered_workflow(payload: dict[str, Json], ctx: Context) -> TriggeredResult:
    """Prepares a run of `payload["workflowId"]`, waits for it and records its result.

    `triggerPayload` becomes the workflow's inputs; `triggerId` and `triggerName` say who asked. A
    workflow that fails makes this run fail with the same message and outputs. The payload of a
    schedule means the trigger that it belongs to.
    """
    if payload.get("workflowId") is None and ("scheduleId" in payload or "externalId" in payload):
        # Its note that the trigger fired is written once, with the step.
        payload = await ctx.step("find", find_trigger, payload, ctx.run_id, transactional=True)
        if "skipped" in payload:
            ctx.metadata.set("status", "skipped")
            return {"success": True, "outputs": {}, "skipped": payload["skipped"]}
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


def find_trigger(payload: dict[str, Json], run_id: str) -> Json:
    """What the trigger of a schedule wants to be run, or why nothing is."""
    for finder in _finders:
        found = finder(payload, run_id)
        if found is not None:
            return found
    return {"skipped": "No trigger belongs to this schedule."}


def prepare(workflow_id: str, run_id: str) -> Json:
    """The version to run, as the workspace of the run may see it: {versionId, name}."""
    workspace = Run.objects.values_list("workspace_id", flat=True).get(pk=run_id)
    version = workflows.find_version(workflow_id, workspace=workspace)
    return {"versionId": version.pk, "name": version.workflow.name}
