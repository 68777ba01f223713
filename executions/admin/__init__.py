"""The operators' admin: looking at runs, tokens, queues, workers; what is done goes by services.

Nothing is added, changed or deleted here, and no list counts its table.
"""

from __future__ import annotations

from executions.admin import (
    audit,
    connections,
    queues,
    runs,
    tokens,
    workers,
    workflows,
    workspaces,
)

__all__ = [
    "audit",
    "connections",
    "queues",
    "runs",
    "tokens",
    "workers",
    "workflows",
    "workspaces",
]
