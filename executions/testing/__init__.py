"""What tests of tasks are written with: a context in memory, and the engine with a virtual clock.

`DirectContext` needs no database; the fixture `engine` of `executions.testing.plugin` runs the real
engine on the real one. Nothing is imported before it is asked for, so that pytest can load the
plugin before Django is set up.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from executions.testing.direct import TIMED_OUT as TIMED_OUT
    from executions.testing.direct import DirectContext as DirectContext
    from executions.testing.direct import SyncDirectContext as SyncDirectContext
    from executions.testing.kit import Engine as Engine
    from executions.testing.kit import NotAtRest as NotAtRest

_HOMES = {
    "TIMED_OUT": "direct",
    "DirectContext": "direct",
    "SyncDirectContext": "direct",
    "Engine": "kit",
    "NotAtRest": "kit",
}

__all__ = ["TIMED_OUT", "DirectContext", "Engine", "NotAtRest", "SyncDirectContext"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
