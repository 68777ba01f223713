"""Triggers as they arrive from outside: payloads by their type, each request done once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from executions import parcels, repeats, requests, triggering
from executions.repeats import Make
from executions.rules.values import Json
from executions.triggering import Handle

# Calls the function that it is given, in the same transaction with what the caller pays for it.
Permit = Callable[[Make], str]


def call(make: Make) -> str:
    """The permit of those who need none."""
    return make()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A run that somebody outside asks for; `options` are those of `runs.trigger`."""

    task: str
    payload: Json = None
    payload_type: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def value(self, workspace: str | None) -> Json:
        """The payload as the task gets it. Raises Invalid, or NotFound for a lost upload."""
        return parcels.value_of(self.payload, self.payload_type, workspace=workspace)


def trigger(
    ask: Ask, *, owner: int | None, workspace: str | None, request_key: str | None = None,
    permit: Permit = call,
) -> Handle:  # fmt: skip
    """Starts the run. A request that is repeated with its `request_key` gets the first one's.

    `permit` is given what starts it, and may refuse to call that. Raises what `runs.trigger`
    raises, and Invalid for a payload that is not of its type.
    """
    handles: list[Handle] = []

    def start() -> str:
        payload = ask.value(workspace)
        handles.append(
            triggering.trigger(
                ask.task, payload, owner=owner, workspace=workspace, **dict(ask.options)
            )
        )
        return handles[0].id

    def start_with_permit() -> str:
        return permit(start)

    run_id, _ = repeats.once(
        "trigger", requests.scope_of(workspace), request_key, start_with_permit, field="request_key"
    )
    return handles[0] if handles else Handle(run_id)
