"""A node's own retry policy and time limit, read from its config; and pins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from executions.errors import Invalid
from executions.rules.retry import Retry

Json = Any

DEFAULT_TIMEOUT = 600.0
MAX_ATTEMPTS = 100


class PolicyError(Exception):
    """A retry or timeout in a config cannot be read; the message says why."""


def read_retry(value: Json) -> Retry | None:
    """The policy under `config.retry`: a number of attempts, or an object; None when absent.

    Times are seconds, or milliseconds in names that end in Ms.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return None if value else Retry(max_attempts=1)
    if isinstance(value, int | float):
        value = {"maxAttempts": value}
    if not isinstance(value, Mapping):
        raise PolicyError("retry is a number of attempts or an object.")
    attempts = _number(value, "maxAttempts", "max_attempts", "attempts")
    if attempts is None:
        extra = _number(value, "maxRetries", "retries")
        attempts = 3 if extra is None else extra + 1
    if value.get("enabled") is False:
        attempts = 1
    factor = _number(value, "factor", "backoffFactor", "backoffCoefficient")
    low = _seconds(value, "minTimeout", "initialDelay", "delay", "initialInterval")
    high = _seconds(value, "maxTimeout", "maxDelay", "maximumInterval")
    if not 1 <= attempts <= MAX_ATTEMPTS:
        raise PolicyError(f"retry.maxAttempts is a number from 1 to {MAX_ATTEMPTS}.")
    try:
        return Retry(
            max_attempts=int(attempts),
            factor=2.0 if factor is None else factor,
            min_timeout=1.0 if low is None else low,
            max_timeout=60.0 if high is None else high,
            randomize=bool(value.get("randomize", True)),
        )
    except Invalid as error:
        raise PolicyError(error.message) from error


def read_timeout(value: Json) -> float | None:
    """The limit of one attempt under `config.timeout`, in milliseconds there, as seconds."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise PolicyError("timeout is a positive number of milliseconds.")
    return float(value) / 1000


def _number(value: Mapping[str, Json], *names: str) -> float | None:
    for name in names:
        number = value.get(name)
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise PolicyError(f"retry.{name} is a number.")
        return float(number)
    return None


def _seconds(value: Mapping[str, Json], *names: str) -> float | None:
    for name in names:
        seconds = _number(value, name, _snake(name))
        if seconds is not None:
            return seconds
        milliseconds = _number(value, f"{name}Ms", f"{name}InMs")
        if milliseconds is not None:
            return milliseconds / 1000
    return None


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedAttempt:
    """What one attempt of a pinned node comes to."""

    output: Json = None
    handle: str | None = None
    error: str | None = None
    error_type: str = "PinnedError"
    is_retryable: bool = True
    delay_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """What stands in for a node: one result per attempt, the last repeats."""

    attempts: tuple[PinnedAttempt, ...]

    def attempt(self, number: int) -> PinnedAttempt:
        """The result of attempt `number`, from 1."""
        return self.attempts[min(number, len(self.attempts)) - 1]

    @property
    def delay_seconds(self) -> float:
        """How long the first attempt takes."""
        return self.attempts[0].delay_seconds


def read_pins(value: Json, known: Mapping[str, Any]) -> dict[str, Pin]:
    """The pins of a run by node id. Raises Invalid naming the pin at fault."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Invalid("`pins` is an object of node ids.", field="pins")
    pins = {}
    for node, entry in value.items():
        if node not in known:
            raise Invalid(f"The pin {node!r} names no node of the workflow.", field=f"pins.{node}")
        pins[node] = _read_pin(node, entry)
    return pins


def _read_pin(node: str, entry: Json) -> Pin:
    where = f"pins.{node}"
    if not isinstance(entry, Mapping):
        raise Invalid(f"The pin of {node!r} is an object with output or error.", field=where)
    if "attempts" not in entry:
        return Pin(attempts=(_read_attempt(where, entry),))
    attempts = entry["attempts"]
    if not isinstance(attempts, list) or not attempts:
        raise Invalid(f"The attempts of the pin {node!r} are a list of results.", field=where)
    return Pin(attempts=tuple(_read_attempt(where, item) for item in attempts))


def _read_attempt(where: str, entry: Json) -> PinnedAttempt:
    if not isinstance(entry, Mapping) or ("output" in entry) == ("error" in entry):
        raise Invalid(f"{where} has either an `output` or an `error`.", field=where)
    delay = entry.get("delay_ms", 0)
    if isinstance(delay, bool) or not isinstance(delay, int | float) or not 0 <= delay <= 1e12:
        raise Invalid(f"{where}.delay_ms is a number of milliseconds.", field=where)
    handle = entry.get("handle")
    if handle is not None and not isinstance(handle, str):
        raise Invalid(f"{where}.handle is text.", field=where)
    if "output" in entry:
        return PinnedAttempt(
            output=entry["output"], handle=handle, delay_seconds=float(delay) / 1000
        )
    error = entry["error"]
    details = error if isinstance(error, Mapping) else {"message": error}
    return PinnedAttempt(
        error=str(details.get("message", "The pin says that this node fails.")),
        error_type=str(details.get("type", "PinnedError")),
        is_retryable=bool(details.get("retryable", True)),
        delay_seconds=float(delay) / 1000,
    )
