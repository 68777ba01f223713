"""What waits give back: tokens, outcomes of tokens and signals, outcomes of children."""

from __future__ import annotations

from dataclasses import dataclass

from executions.rules.values import Json


class TokenTimedOut(Exception):
    """A wait token timed out; raised only by `unwrap`."""


class ChildFailed(Exception):
    """A child run did not complete; raised only by `unwrap`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A wait token made by a run."""

    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenResult:
    """The outcome of a wait for a token or a signal: a timeout is a value."""

    ok: bool
    output: Json = None
    error: dict[str, Json] | None = None

    def unwrap(self) -> Json:
        """The output. Raises TokenTimedOut when there is none."""
        if not self.ok:
            raise TokenTimedOut((self.error or {}).get("message", "The wait timed out."))
        return self.output


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildResult:
    """The outcome of a child run."""

    ok: bool
    run_id: str
    output: Json = None
    error: dict[str, Json] | None = None
    status: str = "COMPLETED"

    def unwrap(self) -> Json:
        """The child's output. Raises ChildFailed when it did not complete."""
        if not self.ok:
            message = (self.error or {}).get("message", "")
            raise ChildFailed(f"Run {self.run_id} ended {self.status}: {message}")
        return self.output
