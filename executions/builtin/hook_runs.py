"""run-hooks: the run that the end of another one starts, to call the hooks of its task."""

from __future__ import annotations

import inspect
from typing import Any

from executions import hooks
from executions.engine.around import CANCEL_HOOK_KEY
from executions.engine.context import Context
from executions.errors import Invalid, NotFound
from executions.hooks import Hook
from executions.models import Run, Step
from executions.moves import retrieve
from executions.registry import Task, get_task, task
from executions.rules.retry import Retry
from executions.rules.statuses import RunStatus, StepStatus
from executions.rules.values import Json

# About an hour.
_UNTIL_DEPLOYED = Retry(max_attempts=65, min_timeout=1, max_timeout=60)


@task("run-hooks", retry=Retry(max_attempts=5, min_timeout=1, max_timeout=60))
async def run_hooks(payload: dict[str, Any], ctx: Context) -> list[str]:
    """Calls what is due after the end of `payload["run"]`; the names of the hooks called.

    An async hook may take steps in its own scope; a plain one is a step itself. One that fails
    keeps no other from being called; all that failed are tried again with the next attempt.
    """
    run = await ctx.read(_ended, payload["run"], ctx.run_id)
    # In the middle of a deploy not every worker knows every task.
    await ctx.step("find the task", _find, run.task, retry=_UNTIL_DEPLOYED)
    entry = get_task(run.task)
    result = {
        "ok": run.status == RunStatus.COMPLETED, "status": run.status, "output": run.output,
        "error": run.error,
    }  # fmt: skip
    kind = None
    if run.status == RunStatus.COMPLETED:
        first: tuple[str, tuple[Any, ...]] = ("on_success", (run.output,))
    elif run.status == RunStatus.CANCELED:
        first = ("on_cancel", ())
        if await ctx.read(_has_cleaned_up, run.id):
            # Those of the task's own kind were called while it lived.
            kind = not entry.is_async
    else:
        first = ("on_failure", (run.error,))
    due = [(first, list(hooks.named(first[0], entry.hooks, is_async=kind)))]
    due.append((("on_complete", (result,)), list(hooks.named("on_complete", entry.hooks))))
    given = _payload(entry, run.data.payload)
    called: list[str] = []
    failures: list[Exception] = []
    for (name, arguments), found in due:
        for number, hook in enumerate(found, 1):
            scope = name if number == 1 else f"{name}#{number}"
            try:
                await _call(ctx, scope, hook, (given, *arguments))
            except Exception as error:
                failures.append(error)
            else:
                called.append(scope)
    if failures:
        raise failures[0]
    return called


def _ended(run_id: str, own: str) -> Run:
    """The run whose end started this one, or the one that this is a replay of.

    Raises NotFound for any other: whoever may trigger tasks could have named one of others.
    """
    run = retrieve(run_id)
    origin: str | None = own
    while origin is not None and origin != run.hook_run:
        above = Run.objects.filter(pk=origin, workspace=run.workspace_id)
        origin = above.values_list("forked_from", flat=True).first()
    if origin is None:
        raise _NotOurs(f"There is no run {run_id!r}.", field="payload.run")
    return run


class _NotOurs(NotFound):
    non_retryable = True


def _find(task_id: str) -> None:
    get_task(task_id)


def _payload(entry: Task, stored: Json) -> Any:
    """The payload as the task declares it; as it is when it does not fit, which ends runs too."""
    try:
        return entry.parse(stored)
    except Invalid:
        return stored


async def _call(ctx: Context, scope: str, hook: Hook, arguments: tuple[Any, ...]) -> None:
    branch = ctx.branch(scope)
    if inspect.iscoroutinefunction(hook):
        await hook(*arguments, branch)
    else:
        await branch.step("call", hook, *arguments, branch, kind="hook")


def _has_cleaned_up(run_id: str) -> bool:
    """Whether the run's own `on_cancel` was called while it lived."""
    done = Step.objects.filter(run_id=run_id, key=CANCEL_HOOK_KEY, status=StepStatus.COMPLETED)
    return done.exists()
