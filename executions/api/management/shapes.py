"""Runs as the SDK of Trigger.dev expects them.

PAUSED is shown as WAITING, since an operator will let it go on; NEEDS_ATTENTION as PENDING_VERSION,
since it waits for code that it can go on with. The API of FlowMaestro itself tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from executions.api.management.base import iso, some
from executions.errors import Invalid
from executions.inspection import run_sources
from executions.inspection.run_details import Details
from executions.models import Run
from executions.rules.statuses import FINAL, RunStatus
from executions.rules.values import encode

Json = Any

_SHOWN: Final = {
    RunStatus.PAUSED: "WAITING",
    RunStatus.NEEDS_ATTENTION: "PENDING_VERSION",
}
# The public names, and which statuses each asks for in a filter. DEQUEUED is none of ours: a run
# that a worker takes is EXECUTING at once.
_ASKED: Final[dict[str, tuple[RunStatus, ...]]] = {
    **{str(status): (status,) for status in RunStatus},
    "WAITING": (RunStatus.WAITING, RunStatus.PAUSED),
    "PENDING_VERSION": (RunStatus.NEEDS_ATTENTION,),
    "DEQUEUED": (),
}
_CODES: Final = {
    RunStatus.CANCELED: "TASK_RUN_CANCELLED",
    RunStatus.TIMED_OUT: "MAX_DURATION_EXCEEDED",
    RunStatus.CRASHED: "TASK_RUN_CRASHED",
}


def status_of(run: Run) -> str:
    """The run's status by its public name."""
    return _SHOWN.get(RunStatus(run.status), run.status)


def statuses_asked(names: list[str]) -> list[RunStatus]:
    """The statuses that public names ask for. Raises Invalid naming those there are."""
    found: list[RunStatus] = []
    for name in names:
        if name not in _ASKED:
            known = ", ".join(sorted(_ASKED))
            raise Invalid(
                f"There is no status {name!r}; there are {known}.", field="filter[status]"
            )
        found += _ASKED[name]
    return found


# ---- a run --------------------------------------------------------------------------------------


def common(run: Run, key: str | None) -> dict[str, Json]:
    """What every shape of a run has. It carries `updated_at`, as lists and details give it."""
    status = status_of(run)
    updated_at: datetime = getattr(run, "updated_at", None) or run.finished_at or run.created_at
    is_final, is_success = run.status in FINAL, run.status == RunStatus.COMPLETED
    return {
        "id": run.id,
        "status": status,
        "taskIdentifier": run.task,
        "isQueued": status in ("QUEUED", "DELAYED", "PENDING_VERSION"),
        "isExecuting": status == "EXECUTING",
        "isWaiting": status == "WAITING",
        "isCompleted": is_final,
        "isSuccess": is_success,
        "isFailed": is_final and not is_success,
        "isCancelled": run.status == RunStatus.CANCELED,
        "isTest": False,
        "createdAt": iso(run.created_at),
        "updatedAt": iso(max(updated_at, run.created_at)),
        "tags": run.tags,
        "costInCents": 0,
        "baseCostInCents": 0,
        "durationMs": run.active_ms,
        "metadata": run.data.metadata,
        **some(
            idempotencyKey=key,
            startedAt=_iso(run.started_at),
            finishedAt=_iso(run.finished_at),
            delayedUntil=_iso(run.wake_at) if run.status == RunStatus.DELAYED else None,
            expiredAt=_iso(run.finished_at) if run.status == RunStatus.EXPIRED else None,
        ),
    }


def listed(run: Run, keys: Mapping[str, str]) -> dict[str, Json]:
    """A run in a list."""
    workspace = run.workspace
    env = {
        "id": "installation" if workspace is None else workspace.id,
        "name": "installation" if workspace is None else workspace.name,
    }
    return {**common(run, keys.get(run.id)), "env": env}


def retrieved(details: Details) -> dict[str, Json]:
    """A run with all that is known of it."""
    run, depth = details.run, details.depth
    return {
        **_related(run, depth, details.keys),
        "payload": run.data.payload,
        "attemptCount": 0 if run.started_at is None else run.attempt,
        "relatedRuns": {
            **some(
                root=details.root and _related(details.root, 0, details.keys),
                parent=details.parent and _related(details.parent, depth - 1, details.keys),
            ),
            "children": [_related(child, depth + 1, details.keys) for child in details.children],
        },
        **some(output=run.output, error=error_of(run), schedule=_schedule(details)),
    }


def _related(run: Run, depth: int, keys: Mapping[str, str]) -> dict[str, Json]:
    is_of_batch = run_sources.kind_of(run.source) == "batch"
    function = "batchTrigger" if is_of_batch else "triggerAndWait" if run.parent_step else "trigger"
    return {
        **common(run, keys.get(run.id)),
        "depth": depth,
        "triggerFunction": function,
        **some(batchId=run.source if is_of_batch else None),
    }


def _schedule(details: Details) -> Json:
    """What its schedule says of itself, in the shape that its app gives it."""
    is_scheduled = run_sources.kind_of(details.run.source) == "sched"
    return dict(details.source) if is_scheduled and details.source else None


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)


# ---- how it ended -------------------------------------------------------------------------------


def error_of(run: Run) -> dict[str, str] | None:
    """Why a run did not complete; None for one that did, or that may yet."""
    if not run.error or not run.is_final:
        return None
    error: Mapping[str, Json] = run.error
    return some(
        name=str(error.get("type", "Error")),
        message=str(error.get("message", "")),
        stackTrace=error.get("traceback"),
    )


def result(run: Run) -> dict[str, Json]:
    """The outcome of a run that ended, as results are polled."""
    base = {
        "id": run.id,
        "taskIdentifier": run.task,
        "usage": {"durationMs": run.active_ms},
    }
    if run.status == RunStatus.COMPLETED:
        output = encode(run.output, field="output")
        return {"ok": True, "output": output, "outputType": "application/json", **base}
    error = error_of(run) or {"name": "Error", "message": f"The run ended {run.status}."}
    message, trace = error["message"], error.get("stackTrace", "")
    code = _CODES.get(RunStatus(run.status))
    if code is None and run.status != RunStatus.FAILED:
        code = "UNSPECIFIED_ERROR"
    if code is None:
        kind = {"type": "BUILT_IN_ERROR", "name": error["name"]}
    else:
        kind = {"type": "INTERNAL_ERROR", "code": code}
    return {"ok": False, "error": {**kind, "message": message, "stackTrace": trace}, **base}
