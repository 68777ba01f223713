"""What things are: runs, their journal, wait tokens, events, workers, workflows."""

from executions.models.events import RunEvent, StreamChunk
from executions.models.runs import IdempotencyKey, Run, RunData
from executions.models.steps import Signal, Step
from executions.models.tokens import TokenWaiter, WaitToken
from executions.models.workers import Worker
from executions.models.workflows import Workflow, WorkflowVersion

__all__ = [
    "IdempotencyKey",
    "Run",
    "RunData",
    "RunEvent",
    "Signal",
    "Step",
    "StreamChunk",
    "TokenWaiter",
    "WaitToken",
    "Worker",
    "Workflow",
    "WorkflowVersion",
]
