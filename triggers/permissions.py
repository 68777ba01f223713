"""What of this app each of the three groups of operators may do."""

from __future__ import annotations

from typing import Final

_LOOK: Final = frozenset({"view_schedule", "view_schedulefire", "view_trigger", "view_delivery"})
_OPERATE: Final = frozenset({"run_schedule"})
_GOVERN: Final = frozenset({"manage_schedule", "manage_trigger"})

ROLES: Final = {
    "viewer": _LOOK,
    "operator": _LOOK | _OPERATE,
    "admin": _LOOK | _OPERATE | _GOVERN,
}
"""Permissions by group; `executions/roles.py` gives them."""
