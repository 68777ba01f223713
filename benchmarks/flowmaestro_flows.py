"""FlowMaestro's side of the workflow workloads: runs of definitions, and a worker that is killed.

Django's models exist only after the engine has started, hence the imports inside.
"""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from benchmarks import usage
from benchmarks.processes import wait_until
from benchmarks.workflows import PART, LoopRun, fan, loop

SECONDS = 300


class WorkflowRuns:
    """Runs workflows on a cluster that is up."""

    def run_fan(self, nodes: int) -> float:
        """Seconds by the database's clock, from trigger to end."""
        return _seconds(_finished(_start(fan(nodes), {"x": 1})))

    def run_loop(self, rounds: int) -> LoopRun:
        """One loop in peace, then one whose worker is killed."""
        run = _finished(_start(loop(rounds), {}))
        ends = _ends_of_rounds(run.id, rounds)
        starts = [run.started_at, *ends[:-1]]
        parts = [(end - start).total_seconds() for start, end in zip(starts, ends, strict=True)]
        return LoopRun(
            parts=parts, total=_seconds(run), resume=_crash(rounds), memory=_workers_memory()
        )


def _start(definition: dict[str, Any], inputs: dict[str, Any]) -> str:
    from executions import runs

    payload = {"workflowDefinition": definition, "inputs": inputs}
    return runs.trigger("orchestrator", payload).id


def _finished(run_id: str) -> Any:
    from executions.models import Run

    _until(lambda: Run.objects.get(pk=run_id).is_final, "a workflow's end")
    run = Run.objects.get(pk=run_id)
    if run.status != "COMPLETED":
        raise RuntimeError(f"{run} ended as {run.status}: {run.error}")
    return run


def _seconds(run: Any) -> float:
    return float((run.finished_at - run.created_at).total_seconds())


def _ends_of_rounds(run_id: str, rounds: int) -> list[Any]:
    """When each tenth of the rounds was done."""
    from executions.models import Step

    marks = [f"l[{rounds * part // PART - 1}]/t/run" for part in range(1, PART + 1)]
    ends = dict(Step.objects.filter(run_id=run_id, key__in=marks).values_list("key", "finished_at"))
    return [ends[mark] for mark in marks]


def _crash(rounds: int) -> float:
    """Seconds from the death of the worker, nine tenths in, to the next round that is stored."""
    from executions.models import Run, Step, Worker

    run_id = _start(loop(rounds), {})
    mark = f"l[{rounds * 9 // 10}]/t/run"
    steps = Step.objects.filter(run_id=run_id, status="COMPLETED")
    _until(lambda: steps.filter(key=mark).exists(), "the ninth tenth")
    os.kill(Worker.objects.get(pk=Run.objects.get(pk=run_id).worker).pid, signal.SIGKILL)
    killed = time.monotonic()
    done = steps.count()
    _until(lambda: steps.count() > done or Run.objects.get(pk=run_id).is_final, "the next round")
    seconds = time.monotonic() - killed
    _finished(run_id)
    return seconds


def _workers_memory() -> float:
    return usage.memory(usage.descendants(os.getpid())).shared_fairly


def _until(check: Callable[[], bool], what: str) -> None:
    wait_until(check, what=what, seconds=SECONDS, every=0.02)
