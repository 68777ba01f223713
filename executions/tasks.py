"""The app's own tasks, imported at start-up so that they are registered."""

from __future__ import annotations

from executions import orchestrator  # noqa: F401
from executions.builtin import (  # noqa: F401
    hook_runs,
    long_running,
    triggered_runs,
    user_input,
)
