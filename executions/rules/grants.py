"""What a public token was made for: its scopes, held against those of the key that signed it.

| scope                  | allows                                                                 |
|------------------------|------------------------------------------------------------------------|
| `read:runs:run_x`      | the action on the one thing; the id may hold colons itself             |
| `read:runs`            | the action on every thing of the kind                                  |
| `read:all`             | the action on everything                                               |
| `write:tasks…`         | also to trigger the task, by itself and in batches                     |
| `admin`                | everything                                                             |

A scope never allows more than the key may do by itself. A bare `read` allows nothing, and neither
does a token without scopes. Source: `auth.createPublicToken` of @trigger.dev/sdk 4.8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from executions.rules.scopes import EVERY_SCOPE, Scope

MAX_SCOPES = 200
MAX_SCOPE = 512

_EVERYTHING: Final = "all"
_TRIGGERS: Final = frozenset({"trigger", "batchTrigger"})
_WRITES: Final[Mapping[str, frozenset[Scope]]] = {
    "tasks": frozenset({Scope.TRIGGER}),
    "waitpoints": frozenset({Scope.COMPLETE}),
    # Tags and metadata, cancel, replay: whoever may not do one of them cannot hand on all of them.
    "runs": frozenset({Scope.TRIGGER, Scope.CANCEL, Scope.REPLAY}),
}


@dataclass(frozen=True, slots=True)
class Grants:
    """The scopes of one public token, and what its key may do."""

    scopes: frozenset[str]
    held: frozenset[Scope]
    one_time: str | None = None
    """Of a token for one use: what it is known by. It is good for triggering only."""
    expires_at: int = 0
    """Seconds since 1970."""

    def allows(self, action: str, kind: str, id: str | None = None) -> bool:
        """Whether it covers an action (`read`, `write`, `trigger`, `batchTrigger`).

        Without an id, on every thing of the kind. Names that hold a colon are no names.
        """
        if ":" in action or ":" in kind or not needs(action, kind) <= self.held:
            return False
        is_trigger = action in _TRIGGERS and kind == "tasks"
        if self.one_time is not None and not is_trigger:
            return False
        actions = (action, "write") if is_trigger else (action,)
        wanted = {"admin"}
        for name in actions:
            wanted |= {f"{name}:{_EVERYTHING}", f"{name}:{kind}"}
            if id:
                wanted.add(f"{name}:{kind}:{id}")
        return not wanted.isdisjoint(self.scopes)


def needs(action: str, kind: str) -> frozenset[Scope]:
    """What a key must be able to do itself, to hand on an action on a kind of things."""
    if action == "read":
        return frozenset({Scope.READ})
    if action in _TRIGGERS:
        return frozenset({Scope.TRIGGER})
    if action == "write":
        return _WRITES.get(kind, EVERY_SCOPE)
    return EVERY_SCOPE


def parse(scopes: object) -> frozenset[str]:
    """The scopes as a token carries them: a list of texts, or nothing. Raises ValueError."""
    if scopes is None:
        return frozenset()
    if not isinstance(scopes, list) or not all(isinstance(item, str) for item in scopes):
        raise ValueError("scopes is a list of texts")
    if len(scopes) > MAX_SCOPES or any(len(item) > MAX_SCOPE for item in scopes):
        raise ValueError(f"there are at most {MAX_SCOPES} scopes of at most {MAX_SCOPE} characters")
    return frozenset(scopes)
