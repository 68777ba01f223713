"""run-hooks: the run that the end of another one starts, to call the hooks of its task."""

from __future__ import annotations

import inspect
from typing import Any

from executions import hooks
from executions.engine.around import CANCEL_HOOK_KEY
from executions.engine.context import Context
from executions.hooks import Hook
from executions.models import Step
from executions.moves import retrieve
from executions.registry import get_task, task
from executions.rules.retry import Retry
from executions.rules.statuses import RunStatus, StepStatus


@task("run-hooks", retry=Retry(max_attempts=5, min_timeout=1, max_timeout=60))
async def run_hooks(payload: dict[str, Any], ctx: Context) -> list[str]:
    """Calls what is due after the end of `payload["run"]`; the names of the hooks called.

    An async hook may take steps in its own scope; a plain one is a step itself.
    """
    run = await ctx.read(retrieve, payload["run"])
    entry = get_task(run.task)
    result = {
        "ok": run.status == RunStatus.COMPLETED, "status": run.status, "output": run.output,
        "error": run.error,
    }  # fmt: skip
    names: list[tuple[str, tuple[Any, ...]]]
    if run.status == RunStatus.COMPLETED:
        names = [("on_success", (run.output,))]
    elif run.status == RunStatus.CANCELED:
        names = [] if await ctx.read(_has_cleaned_up, run.id) else [("on_cancel", ())]
    else:
        names = [("on_failure", (run.error,))]
    called: list[str] = []
    for name, arguments in [*names, ("on_complete", (result,))]:
        for number, hook in enumerate(hooks.named(name, entry.hooks), 1):
            scope = name if number == 1 else f"{name}#{number}"
            await _call(ctx, scope, hook, (entry.parse(run.data.payload), *arguments))
            called.append(scope)
    return called


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
