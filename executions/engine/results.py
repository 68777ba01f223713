"""What waits give back: tokens, outcomes of tokens and signals, outcomes of children."""

from __future__ import annotations

from dataclasses import dataclass

from executions import callback_secrets
from executions.errors import Conflict
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
    secret_key: str | None = None
    """The id of the master key that its address's secret comes from."""

    @property
    def url(self) -> str:
        """The address that completes the token for whoever posts JSON to it.

        Give it only to who may answer, in a mail or a callback. Nothing stores it: a replay makes
        it again. Raises Conflict for a token of an earlier release, KeyMissing without its key.
        """
        if self.secret_key is None:
            raise Conflict(f"Wait token {self.id} was made before tokens had addresses.")
        return callback_secrets.address(self.id, self.secret_key)


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
