"""What things are: runs, their journal, queues, tokens, events, workers, workflows, connections,
workspaces.
"""

from executions.models.audit import AuditEntry
from executions.models.batches import AnsweredRequest, Batch, BatchItem, Parcel
from executions.models.connections import ApiDescription, Connection
from executions.models.events import RunEvent, StreamChunk
from executions.models.files import FilePiece, RunFile
from executions.models.queues import Queue
from executions.models.runs import Debounce, IdempotencyKey, Run, RunData
from executions.models.steps import PastStep, Signal, Step
from executions.models.tokens import TokenWaiter, WaitToken
from executions.models.workers import Worker
from executions.models.workflows import Workflow, WorkflowVersion
from executions.models.workspaces import Membership, Workspace

__all__ = [
    "AnsweredRequest",
    "ApiDescription",
    "AuditEntry",
    "Batch",
    "BatchItem",
    "Connection",
    "Debounce",
    "FilePiece",
    "IdempotencyKey",
    "Membership",
    "Parcel",
    "PastStep",
    "Queue",
    "Run",
    "RunData",
    "RunEvent",
    "RunFile",
    "Signal",
    "Step",
    "StreamChunk",
    "TokenWaiter",
    "WaitToken",
    "Worker",
    "Workflow",
    "WorkflowVersion",
    "Workspace",
]
