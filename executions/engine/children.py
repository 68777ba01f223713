"""Child runs: started in the flush that records the step which waits for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from executions import requests
from executions.engine import failpoints
from executions.engine.live import LiveRun
from executions.engine.results import ChildResult
from executions.engine.rows import StepRow
from executions.engine.waits import Wait
from executions.rules.statuses import ParentClose, StepStatus
from executions.rules.values import Json, encode


async def start(live: LiveRun, key: str, task: Any, payload: Json, options: dict[str, Any]) -> str:
    """Starts a run that nobody waits for; its id."""
    record = live.recorded.find(key, "trigger", run_id=live.id)
    if record is not None and record.has_ended:
        await live.moments.replayed(record)
        return str(record.output)
    await live.moments.frontier()
    options.setdefault("parent_close", ParentClose.ABANDON)
    run_id, document = _document(live, task, payload, options, step=None)
    live.outbox.batch.extra().runs.append(document)
    live.has_children = True
    row = StepRow(key, "trigger", StepStatus.COMPLETED, output=f'"{run_id}"')
    future = live.moments.settle(row, None, None, durable=False)
    if future is not None:
        await future
    return run_id


async def run(
    live: LiveRun, key: str, children: Sequence[tuple[Any, Json, dict[str, Any]]]
) -> list[ChildResult]:
    """Starts children, each a task, a payload and options, and waits for all of them."""
    record = live.recorded.find(key, "children", run_id=live.id)
    if record is not None and record.has_ended:
        await live.moments.replayed(record)
        return [ChildResult(**result) for result in record.output]
    await live.moments.frontier()
    if not children:
        return []
    if record is None:
        ids = _start_all(live, key, children)
    else:
        ids = record.input["runs"]
    wait = Wait(key=key, kind="children", future=live.future(), children=ids, is_new=record is None)
    return [ChildResult(**result) for result in await live.moments.wait(wait)]


def _start_all(
    live: LiveRun, key: str, children: Sequence[tuple[Any, Json, dict[str, Any]]]
) -> list[str]:
    # A refused payload must leave no sibling behind, so all are checked before any row.
    documents = [
        _document(live, task, payload, options, step=key) for task, payload, options in children
    ]
    ids = [run_id for run_id, _ in documents]
    live.outbox.batch.extra().runs.extend(document for _, document in documents)
    live.has_children = True
    row = StepRow(
        key,
        "children",
        StepStatus.WAITING,
        pending=len(ids),
        run_attempt=live.attempt,
        input=encode({"runs": ids}, field=key),
    )
    live.outbox.put(row, "step.waiting", row)
    failpoints.hit("children.before_commit")
    return ids


def _document(
    live: LiveRun, task: Any, payload: Json, options: dict[str, Any], *, step: str | None
) -> tuple[str, str]:
    """A child's id and document; it inherits the owner, the workspace and the root."""
    options.setdefault("owner", live.row["owner_id"])
    options.setdefault("workspace", live.row["workspace_id"])
    root = live.row["root_id"] or live.id
    return requests.document(task, payload, parent=live.id, parent_step=step, root=root, **options)
