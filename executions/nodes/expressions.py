"""The expressions of a transform, in a process of their own: JSONata, and functions for arrays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from executions.nodes import BadConfig
from executions.sandbox import programs
from executions.sandbox.programs import Program, ProgramError, SandboxLost

Json = Any

TIME_LIMIT_SECONDS = 5.0
_ITEMS = "__items"
# Wildcards and parents (where no operand stands before, which makes them an arithmetic sign), the
# whole input as `$`, an escape in a name.
_REACHES_ALL = re.compile(r"(?:^|[^\w)\]\"'`\s]|\b(?:and|or|in)\s)\s*[*%]|\\|\$(?![A-Za-z_])")
# What holds a loop's state, used as a whole.
_WHOLE = re.compile(
    r"\b(?:loop|inputs|variables|globalThis|this|globals|locals|vars)\b(?!\s*\??\.\s*[A-Za-z_])"
)
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
# The expression stands where the method's arguments do, so that `reduce` may have a seed.
_OVER_ARRAY = """const [__f, ...__rest] = [{expression}
];
if (typeof __f !== "function") throw new TypeError("It is not a function.");
return [...__items].{method}(__f, ...__rest);"""


def without_results(names: Mapping[str, Json], code: str) -> Mapping[str, Json]:
    """The names, and of a loop only what a program asks for.

    The results of the rounds so far grow with each; sent to each, the last of many rounds would
    take many times as long as the first.
    """
    state = names.get("loop")
    if not isinstance(state, dict) or "results" in code or _WHOLE.search(code) is not None:
        return names
    return {**names, "loop": {key: value for key, value in state.items() if key != "results"}}


def is_arrow(expression: str) -> bool:
    """Whether an expression is a JavaScript function rather than JSONata."""
    return "=>" in expression


async def over_array(
    method: str, items: list[Json], expression: str, names: Mapping[str, Json]
) -> Json:
    """What an array's `map`, `filter`, `reduce` or `sort` gives with a JavaScript function."""
    # Of a large context, what the function names.
    words = frozenset(_WORD.findall(expression))
    names = without_results(names, expression)
    seen = {name: value for name, value in names.items() if name in words}
    program = Program(
        language="javascript",
        code=_OVER_ARRAY.format(expression=expression.strip().rstrip(";"), method=method),
        names={**seen, _ITEMS: items},
        seconds=TIME_LIMIT_SECONDS,
    )
    return await _value(program, "function", expression)


async def evaluate_jsonata(
    expression: str, subject: Mapping[str, Json], bindings: Mapping[str, Json]
) -> Json:
    """The value of a JSONata expression."""
    if _REACHES_ALL.search(expression) is None:
        # Of a large context, what the expression can name.
        subject = without_results(subject, expression)
        subject = {name: value for name, value in subject.items() if name in expression}
    program = Program(
        language="jsonata",
        code=expression,
        names={"subject": subject, "bindings": bindings},
        seconds=TIME_LIMIT_SECONDS,
    )
    return await _value(program, "JSONata expression", expression)


async def _value(program: Program, what: str, expression: str) -> Json:
    for last in (False, False, True):
        try:
            return (await programs.run(program)).value
        except ProgramError as error:
            raise BadConfig(
                f"The {what} {expression[:200]!r} failed: {error.message}", field="expression"
            ) from error
        except SandboxLost:
            # An expression has no effect: it is worked out again.
            if last:
                raise
    raise AssertionError("unreachable")
