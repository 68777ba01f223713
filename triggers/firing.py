"""A trigger fires: the run it starts and the note of it, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import connection

from executions import runs
from executions.runs import Handle
from triggers.models import Trigger

Json = Any
TASK = "triggered-workflow"
_ERROR_LIMIT = 2000


def fire(trigger: Trigger, inputs: Json, *, metadata: Mapping[str, Json] | None = None) -> Handle:
    """Starts the trigger's workflow with these inputs; the caller has seen that it may.

    Raises TooLarge, or Invalid for inputs that are not JSON; then nothing is written.
    """
    handle = runs.trigger(
        TASK,
        payload_of(trigger, inputs),
        owner=trigger.owner_id,
        workspace=trigger.workspace_id,
        source=trigger.id,
        metadata=metadata,
    )
    note(trigger.id, run=handle.id)
    return handle


def payload_of(trigger: Trigger, inputs: Json) -> dict[str, Json]:
    """What the run of a firing is given."""
    return {
        "triggerId": trigger.id,
        "triggerName": trigger.name,
        "triggerType": trigger.type,
        "workflowId": trigger.workflow_id,
        "triggerPayload": inputs,
    }


def note(trigger_id: str, *, run: str | None = None, error: str = "") -> None:
    """Writes down that a trigger fired, or that it could not."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO triggers_firing (trigger_id, run, error, at) "
            "VALUES (%s, %s, %s, flowmaestro_now())",
            [trigger_id, run, error[:_ERROR_LIMIT]],
        )
