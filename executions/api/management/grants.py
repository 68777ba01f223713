"""What public tokens may trigger, and the token that an answer gives its client."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from rest_framework.response import Response

from executions import public_access
from executions.access import Caller, Scope, ScopeMissing
from executions.intake import Permit
from executions.rules.grants import Grants

_TRIGGERING = ("trigger", "batchTrigger", "write", "admin")


def with_token(caller: Caller, response: Response, scopes: Sequence[str]) -> Response:
    """The response with what its client needs for a public token of these scopes."""
    for name, value in public_access.headers(caller, scopes).items():
        response[name] = value
    return response


def permit_of(caller: Caller) -> Permit:
    """What a trigger costs the caller: a token for one use is used up by it."""
    return functools.partial(public_access.spend, caller)


def may_fill(caller: Caller, batch_id: str) -> bool:
    """Whether a public token for one use was used for this batch; others need not have been."""
    held = caller.grants
    if not isinstance(held, Grants) or held.one_time is None:
        return True
    return public_access.made_with(caller) == batch_id


def may_trigger(caller: Caller) -> bool:
    """Whether a public token is for triggering something, be it a single task."""
    held = caller.grants
    if not isinstance(held, Grants) or Scope.TRIGGER not in held.held:
        return False
    return any(_is_for_triggering(scope) for scope in held.scopes)


def _is_for_triggering(scope: str) -> bool:
    action, _, rest = scope.partition(":")
    return action in _TRIGGERING and (action == "admin" or rest.split(":")[0] in ("tasks", "all"))


def may_batch(caller: Caller, tasks: Sequence[object]) -> bool:
    """Whether a public token is for batches of all these tasks; of any, when none is named."""
    held = caller.grants
    if not isinstance(held, Grants):
        return False
    if not tasks:
        return held.allows("batchTrigger", "tasks")
    return all(isinstance(task, str) and _covers(held, task) for task in tasks)


def require_task(caller: Caller, task: str) -> None:
    """Raises ScopeMissing for a public token that is not for batches of this task."""
    if caller.grants is not None and not _covers(caller.grants, task):
        raise ScopeMissing(f'This public token was not made for batches of task "{task}".')


def _covers(held: object, task: str) -> bool:
    return isinstance(held, Grants) and held.allows("batchTrigger", "tasks", task)
