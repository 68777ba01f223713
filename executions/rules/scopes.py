"""Verbs that a key or a member may use, one permission each: to read is not to replay."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from executions.errors import Invalid


class Scope(StrEnum):
    """A verb. ADMIN changes what runs: definitions, triggers, schedules, connections, queues."""

    READ = "read"
    TRIGGER = "trigger"
    CANCEL = "cancel"
    COMPLETE = "complete"
    REPLAY = "replay"
    ADMIN = "admin"


class Role(StrEnum):
    """What a user is in a workspace."""

    VIEWER = "viewer"
    MEMBER = "member"
    ADMIN = "admin"


EVERY_SCOPE: Final = frozenset(Scope)
SCOPES_OF: Final = {
    Role.VIEWER: frozenset({Scope.READ}),
    Role.MEMBER: EVERY_SCOPE - {Scope.ADMIN},
    Role.ADMIN: EVERY_SCOPE,
}
ALL: Final = "*"
"""Stands for every scope, also those of later releases."""


def parse(scopes: Iterable[str]) -> frozenset[Scope]:
    """The scopes of these names; `*` is all of them. Raises Invalid naming an unknown one."""
    if isinstance(scopes, str):
        raise Invalid("scopes is a list of names.", field="scopes")
    found: set[Scope] = set()
    for name in scopes:
        if name == ALL:
            return EVERY_SCOPE
        if name not in EVERY_SCOPE:
            known = ", ".join(Scope)
            raise Invalid(f"There is no scope {name!r}; there are {known} and *.", field="scopes")
        found.add(Scope(name))
    return frozenset(found)
