"""The expressions inside {{ }}: their grammar, and a bounded evaluation over JSON data.

Nothing here touches a host object: a path walks dicts and lists only, and data is never parsed
as an expression. How placeholders sit in text is in templates.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from lark import Lark, Token, Transformer
from lark.exceptions import LarkError, VisitError

from executions.rules.comparisons import is_truthy, to_number
from executions.rules.evaluation import MISSING as MISSING
from executions.rules.evaluation import (
    Budget,
    Names,
    calculate,
    charge_call,
    charge_result,
    lookup,
    member,
    now_text,
    unquote,
)
from executions.rules.functions import (
    METHODS,
    ORDERS,
    PREDICATES,
    loosely_equal,
    ordinal,
    strictly_equal,
    tidy,
)
from executions.rules.functions import ExpressionError as ExpressionError

Json = Any

MAX_LENGTH = 10_000
MAX_DEPTH = 100
_CACHED_LENGTH = 300


Evaluate = Callable[[Budget], Json]


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression. `path` is set when it is one plain reference."""

    evaluate: Evaluate
    depth: int = 1
    is_boolean: bool = False
    path: tuple[str | int, ...] | None = None
    roots: frozenset[str] = field(default_factory=frozenset)


_GRAMMAR = r"""
    ?start: ternary
    ?ternary: either | either "?" ternary ":" ternary          -> choose
    ?either: both | either ("||" | "??") both                  -> either
    ?both: equality | both "&&" equality                       -> both
    ?equality: order | equality EQUALITY order                 -> equality
    ?order: sum | order ORDER sum                              -> order
    ?sum: product | sum SUM product                            -> arithmetic
    ?product: unary | product PRODUCT unary                    -> arithmetic
    ?unary: postfix | "!" unary -> negate | "-" unary          -> minus | "+" unary -> plus
    ?postfix: atom
            | postfix ("." | "?.") FIELD                       -> member
            | postfix ("." | "?.") INDEX                       -> position
            | postfix "[" ternary "]"                          -> item
            | postfix ("." | "?.") FIELD "(" arguments ")"     -> method
    ?atom: NUMBER                                              -> number
         | STRING                                              -> text
         | NAME                                                -> name
         | NAME "(" arguments ")"                              -> function
         | "[" arguments "]"                                   -> array
         | "(" ternary ")"
    arguments: (ternary ("," ternary)*)?

    EQUALITY: "===" | "!==" | "==" | "!="
    ORDER: ">=" | "<=" | ">" | "<"
    SUM: "+" | "-"
    PRODUCT: "*" | "/" | "%"
    NAME: /[^\W\d][\w$]*(-[\w$]+)*|\$[\w$]*(-[\w$]+)*/
    FIELD: /[^\W\d][\w$]*|\$[\w$]*/
    INDEX: /\d+/
    NUMBER: /0[xX][0-9a-fA-F]+|(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?/
    STRING: /"(\\.|[^"\\])*"|'(\\.|[^'\\])*'/s
    %ignore /\s+/
"""

_CONSTANTS: Mapping[str, Json] = {"true": True, "false": False, "null": None, "undefined": None}


def _constant(value: Json, *, boolean: bool = False) -> Expression:
    return Expression(lambda budget: value, is_boolean=boolean)


def _over(parts: Sequence[Expression], evaluate: Evaluate, *, boolean: bool = False) -> Expression:
    depth = 1 + max((part.depth for part in parts), default=0)
    if depth > MAX_DEPTH:
        raise ExpressionError(f"The expression is nested deeper than {MAX_DEPTH} levels.")
    roots = frozenset().union(*(part.roots for part in parts))

    def counted(budget: Budget) -> Json:
        budget.spend_step()
        return evaluate(budget)

    return Expression(counted, depth, boolean, None, roots)


def value_of(expression: Expression, budget: Budget) -> Json:
    """The expression's value, with null for a name that is missing."""
    value = expression.evaluate(budget)
    return None if value is MISSING else value


class _Compiler(Transformer):  # type: ignore[type-arg]
    """Builds an Expression from the parse, bottom-up."""

    def __init__(self, *, condition: bool) -> None:
        super().__init__()
        # In a condition only truth counts, so `||` is the logical one throughout.
        self._condition = condition

    def choose(self, parts: list[Expression]) -> Expression:
        test, yes, no = parts
        return _over(parts, lambda b: value_of(yes if is_truthy(value_of(test, b)) else no, b))

    def either(self, parts: list[Expression]) -> Expression:
        left, right = parts
        logical = self._condition or left.is_boolean

        def evaluate(budget: Budget) -> Json:
            value = value_of(left, budget)
            kept = is_truthy(value) if logical else value is not None
            return value if kept else value_of(right, budget)

        return _over(parts, evaluate, boolean=left.is_boolean and right.is_boolean)

    def both(self, parts: list[Expression]) -> Expression:
        left, right = parts

        def evaluate(budget: Budget) -> Json:
            value = value_of(left, budget)
            return value_of(right, budget) if is_truthy(value) else value

        return _over(parts, evaluate, boolean=left.is_boolean and right.is_boolean)

    def equality(self, parts: list[Any]) -> Expression:
        left, operator, right = parts
        wanted = operator.value[0] == "="
        same = strictly_equal if len(operator.value) == 3 else loosely_equal

        def evaluate(budget: Budget) -> Json:
            a, b = value_of(left, budget), value_of(right, budget)
            budget.look_at(a, b)
            return same(a, b) == wanted

        return _over((left, right), evaluate, boolean=True)

    def order(self, parts: list[Any]) -> Expression:
        left, operator, right = parts
        holds = ORDERS[operator.value]

        def evaluate(budget: Budget) -> Json:
            a, b = value_of(left, budget), value_of(right, budget)
            budget.look_at(a, b)
            return holds(ordinal(a), ordinal(b))

        return _over((left, right), evaluate, boolean=True)

    def arithmetic(self, parts: list[Any]) -> Expression:
        left, operator, right = parts
        sign = operator.value
        return _over(
            (left, right), lambda b: calculate(sign, value_of(left, b), value_of(right, b), b)
        )

    def negate(self, parts: list[Expression]) -> Expression:
        return _over(parts, lambda b: not is_truthy(value_of(parts[0], b)), boolean=True)

    def minus(self, parts: list[Expression]) -> Expression:
        return _over(parts, lambda b: calculate("-", 0, value_of(parts[0], b), b))

    def plus(self, parts: list[Expression]) -> Expression:
        return _over(parts, lambda b: calculate("-", value_of(parts[0], b), 0, b))

    def number(self, parts: list[Token]) -> Expression:
        return _constant(tidy(to_number(str(parts[0]))))

    def text(self, parts: list[Token]) -> Expression:
        return _constant(unquote(str(parts[0])))

    def array(self, parts: list[list[Expression]]) -> Expression:
        items = parts[0]
        return _over(items, lambda b: [value_of(item, b) for item in items])

    def arguments(self, parts: list[Expression]) -> list[Expression]:
        return parts

    def name(self, parts: list[Token]) -> Expression:
        name = str(parts[0])
        if name in _CONSTANTS:
            return _constant(_CONSTANTS[name], boolean=name in ("true", "false"))
        return _reference((name,))

    def member(self, parts: list[Any]) -> Expression:
        return self._step(parts[0], str(parts[1]))

    def position(self, parts: list[Any]) -> Expression:
        return self._step(parts[0], int(str(parts[1])))

    def _step(self, base: Expression, key: str | int) -> Expression:
        if base.path is not None:
            return _reference((*base.path, key))
        return _over((base,), lambda b: member(value_of(base, b), key))

    def item(self, parts: list[Expression]) -> Expression:
        base, key = parts
        if not key.roots and key.depth == 1 and base.path is not None:
            constant = key.evaluate(Budget({}))
            if isinstance(constant, str | int) and not isinstance(constant, bool):
                return _reference((*base.path, constant))

        def evaluate(budget: Budget) -> Json:
            within, at = value_of(base, budget), value_of(key, budget)
            budget.look_at(at)
            return member(within, at)

        return _over(parts, evaluate)

    def method(self, parts: list[Any]) -> Expression:
        base, name, arguments = parts[0], str(parts[1]), parts[2]
        if base.path == ("Object",) and name in ("keys", "values", "entries"):
            return self._call(name, arguments)
        if name not in METHODS:
            raise ExpressionError(
                f"There is no method {name!r}; known are {', '.join(sorted(METHODS))}."
            )
        run = METHODS[name]

        def evaluate(budget: Budget) -> Json:
            value = value_of(base, budget)
            given = [value_of(argument, budget) for argument in arguments]
            charge_call(name, value, given, budget)
            result = run(value, *given)
            charge_result(result, budget)
            return result

        return _over((base, *arguments), _arity(name, evaluate), boolean=name in PREDICATES)

    def function(self, parts: list[Any]) -> Expression:
        return self._call(str(parts[0]), parts[1])

    def _call(self, name: str, arguments: list[Expression]) -> Expression:
        if name == "now":
            return _over(arguments, lambda b: now_text(b))
        if name in ("includes", "join", *METHODS) and arguments:
            base, *rest = arguments
            return self.method([base, name, rest])
        raise ExpressionError(
            f"There is no function {name!r}; known are now, {', '.join(sorted(METHODS))}."
        )


def _arity(name: str, evaluate: Evaluate) -> Evaluate:
    def guarded(budget: Budget) -> Json:
        try:
            return evaluate(budget)
        except TypeError as error:
            raise ExpressionError(f"{name} is called with the wrong arguments.") from error

    return guarded


def _reference(path: tuple[str | int, ...]) -> Expression:
    """A path from a root name. A root with hyphens that is unknown is a subtraction."""
    root = str(path[0])
    minus = _subtraction(path) if "-" in root else None

    def evaluate(budget: Budget) -> Json:
        budget.spend_step()
        value = lookup(path, budget)
        if value is MISSING and minus is not None and budget.names.get(root, MISSING) is MISSING:
            return minus.evaluate(budget)
        return value

    return Expression(evaluate, 1, False, path, frozenset((root,)))


def _subtraction(path: tuple[str | int, ...]) -> Expression | None:
    first, *others = str(path[0]).split("-")
    total = _reference((first,))
    for position, part in enumerate(others):
        rest = path[1:] if position == len(others) - 1 else ()
        numeric = part.isdigit() and not rest
        right = _constant(int(part)) if numeric else _reference((part, *rest))
        left = total
        total = _over(
            (left, right),
            lambda b, left=left, right=right: calculate(  # type: ignore[misc]
                "-", _present(left, b), _present(right, b), b
            ),
        )
    whole = total

    def evaluate(budget: Budget) -> Json:
        try:
            return whole.evaluate(budget)
        except LookupError:
            return MISSING

    return Expression(evaluate, whole.depth, False, None, whole.roots)


def _present(expression: Expression, budget: Budget) -> Json:
    value = expression.evaluate(budget)
    if value is MISSING:
        raise LookupError
    return value


# What most placeholders are needs no parser.
_PLAIN_PATH = re.compile(r"[^\W\d]\w*+(?:\.[^\W\d]\w*+)*+")
_PARSER = Lark(_GRAMMAR, parser="lalr", lexer="contextual", maybe_placeholders=False)


def compile_expression(text: str, *, condition: bool = False) -> Expression:
    """The expression a text stands for. Raises ExpressionError with what is wrong."""
    if len(text) <= _CACHED_LENGTH:
        return _compile_cached(text, condition)
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"An expression has at most {MAX_LENGTH:,} characters.")
    return _compile(text, condition)


def _compile(text: str, condition: bool) -> Expression:
    if _PLAIN_PATH.fullmatch(text) and not _CONSTANTS.keys() & {text.partition(".")[0]}:
        return _reference(tuple(text.split(".")))
    try:
        return _Compiler(condition=condition).transform(_PARSER.parse(text))  # type: ignore[no-any-return]
    except VisitError as error:
        if isinstance(error.orig_exc, ExpressionError):
            raise error.orig_exc from None
        raise ExpressionError(f"{_shown(text)} cannot be read.") from error
    except RecursionError as error:
        raise ExpressionError("The expression is nested too deep.") from error
    except LarkError as error:
        column = getattr(error, "column", None)
        place = f" at character {column}" if isinstance(column, int) and column > 0 else ""
        raise ExpressionError(f"{_shown(text)} is not an expression{place}.") from error


# Long ones are not kept: compiled, they take a hundred times the memory of their text.
_compile_cached = lru_cache(maxsize=2048)(_compile)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "…")


def evaluate(text: str, names: Names, *, condition: bool = False) -> Json:
    """The value of an expression over `names`; a missing name is null."""
    return value_of(compile_expression(text, condition=condition), Budget(names))
