"""The app's own tasks, imported at start-up so that they are registered."""

from __future__ import annotations

from executions import orchestrator  # noqa: F401
