"""What things are: runs, their journal, queues, wait tokens, events, workers, workflows, audit."""

from executions.models.audit import AuditEntry
from executions.models.events import RunEvent, StreamChunk
from executions.models.queues import Queue
from executions.models.runs import Debounce, IdempotencyKey, Run, RunData
from executions.models.steps import PastStep, Signal, Step
from executions.models.tokens import TokenWaiter, WaitToken
from executions.models.workers import Worker
from executions.models.workflows import Workflow, WorkflowVersion

__all__ = [
    "AuditEntry",
    "Debounce",
    "IdempotencyKey",
    "PastStep",
    "Queue",
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
