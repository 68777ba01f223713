"""Inputs of manual triggers against the schema that a trigger holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from executions.errors import Invalid
from executions.sandbox import programs
from executions.sandbox.programs import Program, ProgramError

Json = Any

_SECONDS: Final = 2.0
_PLACE: Final = re.compile(r"(?P<place>inputs[^:\s]*): ")


def check(schema: Json, inputs: Mapping[str, Json]) -> None:
    """Raises Invalid naming the input that does not fit the schema."""
    problem = _problem(schema, inputs)
    if problem is not None:
        place = _PLACE.match(problem)
        raise Invalid(problem, field="inputs" if place is None else place["place"])


def check_schema(schema: Json) -> None:
    """Raises Invalid where this is no JSON Schema."""
    problem = _problem(schema, {})
    if problem is not None and problem.startswith("inputSchema "):
        raise Invalid(problem, field="config.inputSchema")


def _problem(schema: Json, value: Json) -> str | None:
    # Its patterns and references may take for ever, so that a process checks that can be stopped.
    names = {"schema": schema, "value": value, "calls": ["inputSchema", "inputs", "inputs"]}
    program = Program(language="schema", code="", names=names, seconds=_SECONDS)
    try:
        problem = programs.run_blocking(program).value
    except ProgramError as error:
        raise Invalid(
            f"inputSchema cannot be applied: {error.message}", field="config.inputSchema"
        ) from error
    return None if problem is None else str(problem)
