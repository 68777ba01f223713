"""The app's own tasks, imported at start-up so that they are registered."""

from __future__ import annotations

from executions import hook_runs, long_running, orchestrator, user_input  # noqa: F401
