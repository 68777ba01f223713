"""What a run in hand waits for, and what the rows say has come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from executions.engine.quiet import EngineFuture
from executions.rules.statuses import RunStatus, TokenStatus

Json = Any
TIMEOUT_ERROR = {"type": "timeout", "message": "The wait timed out."}


@dataclass(slots=True, kw_only=True)
class Wait:
    """One wait of a run. `until` is the moment, in epoch seconds, at which its timer goes off."""

    key: str
    kind: str
    future: EngineFuture
    until: float | None = None
    subject: str | None = None
    children: Sequence[str] = ()
    attempt: int = 1
    # Whether this life of the run began it, so that no claim has looked what became of it.
    is_new: bool = False

    @property
    def step_kind(self) -> str:
        """The kind of the wait's step: a token itself is a step of its own."""
        return "wait" if self.kind == "token" else self.kind


@dataclass(slots=True)
class Findings:
    """What the rows say about the waits of one run."""

    tokens: dict[str, Json] = field(default_factory=dict)
    children: dict[str, dict[str, Json]] = field(default_factory=dict)
    signals: list[tuple[str, str, Json]] = field(default_factory=list)

    def take_signal(self, name: str) -> tuple[str, Json] | None:
        """The earliest unconsumed signal of that name, once."""
        for position, (signal_id, signal_name, data) in enumerate(self.signals):
            if signal_name == name:
                del self.signals[position]
                return signal_id, data
        return None


@dataclass(slots=True)
class Outcome:
    """What a wait has come to, as its step stores it."""

    value: Json
    signal: str | None = None


def outcome_of(wait: Wait, findings: Findings, *, now: float) -> Outcome | None:
    """The outcome of a wait, or None while there is none; timeouts are values.

    What arrived wins over a timer that has gone off meanwhile.
    """
    timed_out = wait.until is not None and wait.until <= now
    if wait.kind in ("sleep", "retry"):
        return Outcome(None) if timed_out else None
    if wait.kind == "token":
        return _found(findings.tokens.get(wait.subject or ""))
    if wait.kind == "children":
        results = findings.children.get(wait.key)
        if results is None:
            return None
        return Outcome([results.get(child) or _gone(child) for child in wait.children])
    signal = findings.take_signal(wait.subject or "")
    if signal is not None:
        return Outcome({"ok": True, "output": signal[1]}, signal=signal[0])
    return Outcome({"ok": False, "error": TIMEOUT_ERROR}) if timed_out else None


def _found(value: Json | None) -> Outcome | None:
    return None if value is None else Outcome(value)


def _gone(run_id: str) -> Json:
    """The outcome of a child whose row was pruned before its parent looked."""
    error = {"type": "NotFound", "message": f"Run {run_id} is not there any more."}
    return {"ok": False, "run_id": run_id, "status": "SYSTEM_FAILURE", "error": error}


def token_value(status: str, output: Json) -> Json | None:
    """A token row as the value of a wait; None while it is open."""
    if status == TokenStatus.COMPLETED:
        return {"ok": True, "output": output}
    if status == TokenStatus.TIMED_OUT:
        return {"ok": False, "error": TIMEOUT_ERROR}
    return None


def child_value(row: Mapping[str, Any]) -> Json:
    """A final child's row as the value of a wait."""
    if row["status"] == RunStatus.COMPLETED:
        return {"ok": True, "run_id": row["id"], "output": row["output"]}
    error = row["error"] or {"type": row["status"], "message": f"The run ended {row['status']}."}
    return {
        "ok": False, "run_id": row["id"], "status": row["status"], "error": error,
        "output": row["output"],
    }  # fmt: skip
