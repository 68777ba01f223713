"""Runs programs by themselves."""

from __future__ import annotations

import asyncio
from typing import Any

from executions.sandbox import programs
from executions.sandbox.programs import Outcome, Program


def outcome(language: Any, code: str, *, seconds: float = 10.0, **more: Any) -> Outcome:
    """What a program comes to."""
    return asyncio.run(programs.run(Program(language=language, code=code, seconds=seconds, **more)))


def javascript(code: str, **more: Any) -> Any:
    """The value of a JavaScript program."""
    return outcome("javascript", code, **more).value


def python(code: str, **more: Any) -> Any:
    """The value of a Python program."""
    return outcome("python", code, **more).value
