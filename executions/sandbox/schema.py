"""Checks a value against a JSON Schema; used in a program's process only.

Schemas hold patterns and references of whoever wrote them: either can take for ever.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from jsonschema import exceptions as schema_errors  # type: ignore[import-untyped]
from jsonschema.validators import validator_for  # type: ignore[import-untyped]
from referencing import Registry
from referencing.exceptions import Unresolvable

# What messages call the schema, the value as a whole, and where places in it begin.
_CALLS = ("The review's JSON Schema", "The answer", "$")


def preload() -> None:
    """Check once, so that the meta-schemas are read."""
    _problem({"type": "object"}, {})


def prepare() -> Callable[[dict[str, Any], bytes], bytes]:
    """The function gives null, or a sentence that says what is wrong."""
    return _evaluate


def _evaluate(asked: dict[str, Any], names: bytes) -> bytes:
    found = json.loads(names)["names"]
    problem = _problem(found["schema"], found["value"], found.get("calls", _CALLS))
    return json.dumps({"value": json.dumps(problem), "stdout": "", "stderr": ""}).encode()


def _problem(schema: Any, value: Any, calls: Sequence[str] = _CALLS) -> str | None:
    its_schema, whole, root = calls
    validator = validator_for(schema)
    try:
        validator.check_schema(schema)
        # An empty registry fetches nothing: a schema that points elsewhere is an error.
        checker = validator(schema, registry=Registry())
        found = schema_errors.best_match(checker.iter_errors(value))
    except schema_errors.SchemaError as error:
        return f"{its_schema} is not valid: {error.message}."
    except (Unresolvable, RecursionError, re.error, TypeError) as error:
        return f"{its_schema} cannot be applied: {error}"
    if found is None:
        return None
    place = whole if found.json_path == "$" else root + found.json_path[1:]
    return f"{place}: {found.message}."
