"""What expressions do to values, and what that costs: a budget for all expressions of a node.

Values are JSON data; a path walks dicts and lists only. Which expressions there are is in
expressions.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from executions.rules.comparisons import to_number, to_text
from executions.rules.functions import MAX_TEXT, ExpressionError, operand, tidy, weight

Json = Any

MAX_STEPS = 10_000
# What all expressions of one node may cost together: a unit is at most about a microsecond, and the
# event loop stands still meanwhile.
MAX_WORK = 500_000
_STEP_WORK = 5
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0"}
# Of an object or array, these see the JSON text.
_AS_TEXT = frozenset({"toLowerCase", "toUpperCase", "trim", "toString"})


class _Missing:
    """The answer for a name that is not there; null is a value."""

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING = _Missing()


class Names(Protocol):
    """Where the roots of paths are looked up."""

    def get(self, name: str, default: Any = None, /) -> Any: ...


@dataclass(slots=True)
class Budget:
    """What one rendering may still spend, and the clock it sees."""

    names: Names
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    steps: int = MAX_STEPS
    text: int = MAX_TEXT
    work: int = MAX_WORK

    def begin(self) -> None:
        """The next expression begins; the work is that of all of them."""
        self.steps, self.text = MAX_STEPS, MAX_TEXT

    def spend_step(self) -> None:
        """Pays for one operation."""
        self.steps -= 1
        if self.steps < 0:
            raise ExpressionError(f"The expression takes more than {MAX_STEPS:,} steps.")
        self.spend_work(_STEP_WORK)

    def spend_work(self, amount: int) -> None:
        """Pays for work on the event loop. Raises ExpressionError when none is left."""
        self.work -= amount
        if self.work < 0:
            raise ExpressionError(
                "The node's expressions do too much work; look into less data, or use a code node."
            )

    def look_at(self, *values: Json) -> None:
        """Pays for looking at all of some values."""
        for value in values:
            if isinstance(value, str):
                if len(value) > 255:
                    self.spend_work(len(value) >> 8)
            elif isinstance(value, list | Mapping):
                self.spend_work(weight(value, self.work))

    def spend_text(self, size: int) -> None:
        """Pays for text or items that an expression makes."""
        self.text -= size
        if self.text < 0:
            raise ExpressionError(f"The expression builds more than {MAX_TEXT:,} characters.")


def lookup(path: Sequence[str | int], budget: Budget) -> Json:
    """The value at a path from a root name, or MISSING."""
    root = str(path[0])
    value = budget.names.get(root, MISSING)
    if value is MISSING and root in ("$now", "now"):
        value = now_text(budget)
    for key in path[1:]:
        value = member(value, key)
        if value is MISSING:
            return MISSING
    return value


def member(value: Json, key: Json) -> Json:
    """`value[key]` in JSON data: a key, an index, or `length`; MISSING when absent."""
    if isinstance(value, Mapping):
        name = to_text(key)
        if name in value:
            return value[name]
        return len(value) if name == "length" else MISSING
    if isinstance(value, list | str):
        if key == "length":
            return len(value)
        number = to_number(key) if not isinstance(key, list | Mapping) else math.nan
        if number == number and number.is_integer() and 0 <= number < len(value) and key != "":
            return value[int(number)]
    return MISSING


def now_text(budget: Budget) -> str:
    """The moment as JSON has it."""
    return budget.now().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def calculate(operator: str, left: Json, right: Json, budget: Budget) -> Json:
    """The value of an arithmetic operation; `+` joins text."""
    budget.look_at(left, right)
    if operator == "+" and (isinstance(left, str) or isinstance(right, str)):
        text = to_text(left) + to_text(right)
        budget.spend_text(len(text))
        return text
    a, b = operand(left), operand(right)
    if operator == "+":
        return tidy(a + b)
    if operator == "-":
        return tidy(a - b)
    if operator == "*":
        return tidy(a * b)
    if b == 0 or math.isnan(a) or math.isnan(b) or math.isinf(a):
        return None
    return tidy(a / b if operator == "/" else math.fmod(a, b))


def charge_call(name: str, value: Json, arguments: list[Json], budget: Budget) -> None:
    """Pays for a method before it runs: what it goes through, and its arguments as text."""
    budget.look_at(*arguments)
    if not isinstance(value, list | Mapping):
        budget.look_at(value)
    elif name == "join":
        budget.look_at(value)
    elif name == "includes" and isinstance(value, list):
        budget.spend_work(len(value) + sum(len(i) >> 8 for i in value if isinstance(i, str)))
        if arguments and isinstance(arguments[0], list | Mapping):
            wanted = weight(arguments[0], budget.work)
            budget.spend_work(min(len(value) * wanted, weight(value, budget.work)))
    elif name != "slice":
        budget.spend_work(weight(value, budget.work) if name in _AS_TEXT else len(value))


def charge_result(result: Json, budget: Budget) -> None:
    """Pays for what a method made."""
    if isinstance(result, str):
        budget.spend_text(len(result))
    elif isinstance(result, list):
        budget.spend_text(len(result))


def unquote(literal: str) -> str:
    """The text that a literal with quotes stands for."""
    body, out, position = literal[1:-1], [], 0
    while position < len(body):
        char = body[position]
        position += 1
        if char == "\\" and position < len(body):
            char = body[position]
            position += 1
            if char == "u" and position + 4 <= len(body):
                try:
                    out.append(chr(int(body[position : position + 4], 16)))
                    position += 4
                    continue
                except ValueError:
                    pass
            char = _ESCAPES.get(char, char)
        out.append(char)
    try:
        # Two escapes may be the halves of one character; a half alone is no text.
        return "".join(out).encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError as error:
        raise ExpressionError("A text in the expression holds half a character.") from error
