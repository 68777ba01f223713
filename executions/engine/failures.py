"""How a step fails, what its task sees of it, and how an error is stored."""

from __future__ import annotations

import traceback
from collections.abc import Mapping

from django.conf import settings

from executions.errors import FlowMaestroError
from executions.rules.values import Json, encode


class StepFailed(Exception):
    """A step used up its attempts, or failed in a way that forbids another."""

    def __init__(self, step: str, error: Mapping[str, Json], attempts: int) -> None:
        self.step = step
        self.error_type = str(error.get("type", "Error"))
        self.message = str(error.get("message", ""))
        self.attempts = attempts
        self.error = dict(error)
        super().__init__(
            f'Step "{step}" failed after {attempts} attempt{"s" * (attempts != 1)}: '
            f"{self.error_type}: {self.message}"
        )


class StepTimeout(Exception):
    """An attempt ran longer than its start-to-close timeout, or missed its heartbeat."""


class NotStarted(StepTimeout):
    """A step waited longer for its start than its schedule-to-start timeout."""

    non_retryable = True


class StepInterrupted(StepFailed):
    """An at-most-once step was started and its outcome is unknown; it is not started again."""

    non_retryable = True


def failure_of(step: str, error: Mapping[str, Json], attempts: int) -> StepFailed:
    """What a stored failure raises in the task's code."""
    kind = StepInterrupted if error.get("type") == StepInterrupted.__name__ else StepFailed
    return kind(step, error, attempts)


def contained(error: BaseException) -> Exception:
    """An error that asyncio would let through, as one that belongs to the code that raised it.

    SystemExit from a command or an argument parser would end the worker, and a CancelledError that
    nobody asked for would look like a cancellation of the run.
    """
    kind = type(type(error).__name__, (Exception,), {"__module__": "builtins"})
    return kind(str(error) or f"The code raised {type(error).__name__}.")


def error_value(error: BaseException) -> dict[str, Json]:
    """An error as it is stored: type, message, code and field if any, and the traceback."""
    if isinstance(error, StepFailed):
        value: dict[str, Json] = {"type": error.error_type, "message": str(error)}
        value["step"] = error.step
        return value
    limit = settings.FLOWMAESTRO.ERROR_LIMIT
    trace = "".join(traceback.format_exception(error))
    value = {
        "type": type(error).__name__,
        "message": encodable(str(error) or type(error).__name__)[:limit],
        "traceback": encodable(trace)[-limit:],
    }
    if isinstance(error, FlowMaestroError):
        value["code"] = error.code
        if error.field is not None:
            value["field"] = error.field
    return value


def error_text(error: BaseException) -> str:
    """The stored form of an error as JSON text."""
    return encode(error_value(error), field="error")


def encodable(text: str) -> str:
    """Text that PostgreSQL stores: without NUL and lone surrogates."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
