"""Named places around each commit at which a test may make the process die or an error rise.

Inactive, a fail point costs one attribute read. `FLOWMAESTRO_FAIL_POINT=name[:hit][:action]`
arms one: at its `hit`-th passing (1 by default) the process exits at once, or with the action
`error` the call raises.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

NAMES = (
    "register.before",
    "register.after",
    "beat.before",
    "beat.after",
    "claim.before",
    "claim.gated_before_commit",
    "claim.begun",
    "claim.after",
    "flush.before",
    "flush.before_commit",
    "flush.before_statement",
    "flush.told",
    "flush.after_commit",
    "flush.after_extras",
    "flush.after_family",
    "flush.after_main",
    "park.before",
    "park.after",
    "step.before_body",
    "step.before_failure",
    "step.before_retry",
    "step.announced",
    "step.after_body",
    "step.after_commit",
    "transactional.before_body",
    "transactional.before_commit",
    "transactional.before_fence",
    "transactional.released",
    "transactional.after_commit",
    "final.before",
    "final.after",
    "children.before_commit",
    "lookup.before",
    "lookup.after",
    "join.before_commit",
    "join.after_commit",
    "stop.before_release",
    "stop.after_release",
    "sign_off.before",
    "sign_off.after",
    "trigger.before",
    "trigger.before_key",
    "trigger.after",
    "trigger.after_key",
    "trigger.after_keyed_commit",
    "change.before_commit",
    "change.after_commit",
    "wake.before",
    "end.before_children",
    "end.before_notify",
    "end.before_parents",
    "token.before_commit",
    "token.before_create",
    "token.after_commit",
    "token.after_create",
    "late_waiters.before_commit",
    "late_waiters.after_commit",
    "tick.before_expiry_commit",
    "tick.before_overdue_commit",
    "tick.before_timed_out_commit",
    "tick.before_timers",
    "tick.before_tokens_commit",
    "tick.after_expiry_commit",
    "tick.after_timers",
    "tick.after_tokens_commit",
    "takeover.before",
    "takeover.before_commit",
    "takeover.marked",
    "takeover.after_commit",
)

active: Callable[[str], None] | None = None
_more: set[str] = set()


def register(*names: str) -> None:
    """Adds the fail points of a higher app."""
    _more.update(names)


class FailPointError(Exception):
    """What an armed fail point raises when its action is `error`."""


def hit(name: str) -> None:
    """Passes a fail point."""
    if active is not None:
        active(name)


def arm(name: str, *, at: int = 1, action: str = "exit") -> None:
    """Makes the `at`-th passing of `name` end the process, or raise FailPointError."""
    global active
    if name not in NAMES and name not in _more:
        known = ", ".join((*NAMES, *sorted(_more)))
        raise ValueError(f"There is no fail point {name}; there are {known}.")
    passed: Counter[str] = Counter()

    def watch(passing: str) -> None:
        passed[passing] += 1
        if passing == name and passed[name] == at:
            if action == "error":
                raise FailPointError(name)
            os._exit(77)

    active = watch


def disarm() -> None:
    """Makes every fail point inactive again."""
    global active
    active = None


def arm_from_environment() -> None:
    """Arms what FLOWMAESTRO_FAIL_POINT names, if anything."""
    value = os.environ.get("FLOWMAESTRO_FAIL_POINT")
    if value:
        name, _, rest = value.partition(":")
        at, _, action = rest.partition(":")
        arm(name, at=int(at or 1), action=action or "exit")
