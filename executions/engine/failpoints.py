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
    "claim.before",
    "claim.after",
    "flush.before",
    "flush.before_commit",
    "flush.after_commit",
    "park.before",
    "step.before_body",
    "step.after_body",
    "final.before",
    "transactional.before_commit",
    "transactional.after_commit",
    "trigger.before",
    "token.before_commit",
    "token.after_commit",
    "takeover.before_commit",
    "stop.before_release",
)

active: Callable[[str], None] | None = None


class FailPointError(Exception):
    """What an armed fail point raises when its action is `error`."""


def hit(name: str) -> None:
    """Passes a fail point."""
    if active is not None:
        active(name)


def arm(name: str, *, at: int = 1, action: str = "exit") -> None:
    """Makes the `at`-th passing of `name` end the process, or raise FailPointError."""
    global active
    if name not in NAMES:
        raise ValueError(f"There is no fail point {name}; there are {', '.join(NAMES)}.")
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
