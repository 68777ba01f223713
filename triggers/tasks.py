"""What a schedule runs for its trigger: the task `scheduled-trigger`, and how it finds the trigger.

Imported at start-up, so that it is registered.
"""

from __future__ import annotations

from typing import Any, Final, NotRequired, TypedDict

from executions.builtin import triggered_runs
from executions.engine.context import Context
from executions.models import Run
from executions.orchestrator import WorkflowFailed
from executions.registry import task
from executions.rules.ids import has_prefix
from executions.rules.retry import NO_RETRY
from triggers import firing
from triggers.models import Trigger
from triggers.models.triggers import PREFIX

Json = Any

# How a schedule's external id may name its trigger, beside the bare id.
_LINK: Final = "trigger-"
_TOLD: Final = ("timestamp", "lastTimestamp", "timezone", "scheduleId")


class Fired(TypedDict):
    """What a schedule's time came to; `skipped` says why nothing ran."""

    success: bool
    triggerId: NotRequired[str]
    executionId: NotRequired[str]
    outputs: NotRequired[dict[str, Json]]
    skipped: NotRequired[str]


@task("scheduled-trigger", retry=NO_RETRY)
async def scheduled_trigger(payload: dict[str, Json], ctx: Context) -> Fired:
    """Looks the trigger up by its schedule, starts `triggered-workflow` and waits for it.

    It waits so that the schedule knows whether its last run is still under way, and how it ended.
    A trigger that was deleted or switched off ends it without a failure.
    """
    given = payload if isinstance(payload, dict) else {}
    # Its note that the trigger fired is written once, with the step.
    found = await ctx.step(
        "look up", triggered_runs.find_trigger, given, ctx.run_id, transactional=True
    )
    if "skipped" in found:
        return {"success": True, "skipped": found["skipped"]}
    ctx.metadata.set("triggerId", found["triggerId"])
    child = await ctx.trigger_and_wait(
        firing.TASK, found, name="run", source=found["triggerId"], tags=ctx.tags
    )
    output = child.output if isinstance(child.output, dict) else {}
    fired: Fired = {
        "success": child.ok,
        "triggerId": found["triggerId"],
        "executionId": child.run_id,
        "outputs": output.get("outputs") or {},
    }
    if not child.ok:
        message = str((child.error or {}).get("message", f"The workflow ended {child.status}."))
        raise WorkflowFailed(message, {**fired, "error": message})
    return fired


@triggered_runs.finds_triggers
def find(payload: dict[str, Json], run_id: str) -> dict[str, Json]:
    """What the trigger of a schedule wants to be run, in the workspace of the schedule's run.

    Notes that it fired. {"skipped": why} where there is no such trigger, or it is switched off.
    """
    workspace = Run.objects.values_list("workspace_id", flat=True).get(pk=run_id)
    trigger = _of_schedule(payload, workspace)
    if trigger is None:
        named = payload.get("externalId") or payload.get("scheduleId")
        return {"skipped": f"There is no trigger for the schedule {named!r} in this workspace."}
    if trigger.deleted_at is not None:
        return {"skipped": f"Trigger {trigger.id} was deleted."}
    if not trigger.enabled:
        return {"skipped": f"Trigger {trigger.id} is disabled."}
    firing.note(trigger.id, run=run_id)
    told = {name: payload[name] for name in _TOLD if payload.get(name) is not None}
    return firing.payload_of(trigger, {**told, **(trigger.config.get("inputs") or {})})


def _of_schedule(payload: dict[str, Json], workspace: str | None) -> Trigger | None:
    among = Trigger.objects.filter(workspace=workspace)
    schedule_id = payload.get("scheduleId")
    if isinstance(schedule_id, str):
        found = among.filter(schedule=schedule_id).first()
        if found is not None:
            return found
    external_id = payload.get("externalId")
    named = external_id.removeprefix(_LINK) if isinstance(external_id, str) else ""
    return among.filter(pk=named).first() if has_prefix(named, PREFIX) else None
