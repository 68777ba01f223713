"""Regular expressions of users: matched in linear time, or by a process that can be stopped."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import re2  # type: ignore[import-untyped]

from executions.errors import Invalid
from executions.sandbox import programs
from executions.sandbox.programs import Program, ProgramError, ProgramTimeout

SECONDS = 1.0
_MEMORY = 8 * 1024 * 1024
_SEARCH = "return new RegExp({pattern}).test(value);"


class BadPattern(Invalid):
    """A pattern is not valid, or takes too long."""

    code = "bad_pattern"
    non_retryable = True


def found_in(pattern: str, text: str) -> bool:
    """Whether a pattern, as JavaScript reads it, matches anywhere in a text. Raises BadPattern."""
    compiled = _linear(pattern)
    if compiled is not None:
        return compiled.search(text) is not None
    # Looking around and referring back need an engine that can take exponential time.
    program = Program(
        language="javascript",
        code=_SEARCH.format(pattern=json.dumps(pattern)),
        names={"value": text},
        seconds=SECONDS,
    )
    try:
        return bool(programs.run_blocking(program).value)
    except ProgramTimeout as error:
        raise BadPattern(
            f"The pattern {pattern[:200]!r} takes over {SECONDS:g} s; simplify it."
        ) from error
    except ProgramError as error:
        raise BadPattern(f"The pattern {pattern[:200]!r} is not valid: {error.message}") from error


@lru_cache(maxsize=256)
def _linear(pattern: str) -> Any:
    """The pattern for the linear engine, or None where that engine cannot take it."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        return re2.compile(pattern, options)
    except re2.error:
        return None
