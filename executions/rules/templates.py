"""{{ }} in node configs: compiled once, rendered once, never applied to what comes out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from executions.rules.comparisons import is_truthy, to_text
from executions.rules.evaluation import MAX_WORK, MISSING, Budget, Names, lookup
from executions.rules.expressions import MAX_LENGTH, Expression, compile_expression
from executions.rules.functions import ExpressionError, weight

Json = Any

MAX_RENDERED = 8_000_000
# Longer texts are compiled each time: what they compile to takes a hundred times their memory.
_CACHED_LENGTH = 1_000
_CACHED_PLACEHOLDER = 300
# What a placeholder costs of a node's work, and each character that the parser has to read.
_PLACEHOLDER_WORK = 20
_PARSE_WORK = 15

# Braces may stand inside quotes; possessive repetition keeps hostile text linear.
_PLACEHOLDER = re.compile(
    r"\{\{(?:([^{}]*+)|((?:[^{}'\"]|'(?:[^'\\]|\\.){0,500}+'|\"(?:[^\"\\]|\\.){0,500}+\"){0,500}+))\}\}",
    re.DOTALL,
)
_QUOTE = re.compile(r'(?<!\\)(?:\\\\)*"')
_BRACKETS = re.compile(r"\[(?:(\d+)|'([^']*)'|\"([^\"]*)\")\]")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One {{…}}: as written, its expression, and the plain path it may also be."""

    raw: str
    expression: Expression | None
    problem: str | None
    plain: tuple[str, ...]
    # What compiling and resolving it costs of the node's work.
    work: int


Part = str | Placeholder


def _compile_parts(template: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    end = work = 0
    for match in _PLACEHOLDER.finditer(template):
        if match.start() > end:
            parts.append(template[end : match.start()])
        inner = match.group(1) if match.group(1) is not None else match.group(2)
        raw, inner = match.group(0), inner.strip()
        short = len(raw) <= _CACHED_PLACEHOLDER
        parts.append(placeholder := (_placeholder_cached if short else _placeholder)(raw, inner))
        work += placeholder.work
        if work > MAX_WORK:
            raise ExpressionError("The template has too many expressions; split it up.")
        end = match.end()
    if end < len(template):
        parts.append(template[end:])
    return tuple(parts)


_compile_cached = lru_cache(maxsize=1024)(_compile_parts)


def compile_template(template: str) -> tuple[Part, ...]:
    """The text and the placeholders of a template, in order."""
    if "{{" not in template:
        return (template,) if template else ()
    if len(template) > _CACHED_LENGTH:
        return _compile_parts(template)
    return _compile_cached(template)


def _placeholder(raw: str, inner: str) -> Placeholder:
    work = _PLACEHOLDER_WORK
    if len(inner) > MAX_LENGTH:
        problem = f"An expression has at most {MAX_LENGTH:,} characters."
        return Placeholder(raw, None, problem, (), work)
    dotted = _BRACKETS.sub(lambda m: "." + next(g for g in m.groups() if g is not None), inner)
    plain = tuple(part.strip() for part in dotted.split(".") if part.strip())
    try:
        expression = compile_expression(inner)
    except ExpressionError as error:
        work += _PARSE_WORK * len(inner)
        return Placeholder(raw, None, str(error), plain, work)
    work += (1 if expression.path is not None else _PARSE_WORK) * len(inner)
    return Placeholder(raw, expression, None, plain, work)


_placeholder_cached = lru_cache(maxsize=4096)(_placeholder)


class Renderer:
    """Renders configs over one context; `warnings` collects the names that are missing."""

    def __init__(
        self,
        names: Names,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.names = names
        self.now = now
        self.warnings: list[str] = []
        self._left = MAX_RENDERED
        self._budget = Budget(names, now)

    def begin(self) -> None:
        """An attempt begins: all that a node may spend is there again, and no warnings."""
        self.warnings.clear()
        self._left = MAX_RENDERED
        self._budget = Budget(self.names, self.now)

    def pay(self, work: int) -> None:
        """Takes from the work that a node may do on the event loop. Raises ExpressionError."""
        self._budget.spend_work(work)

    def value(self, value: Json) -> Json:
        """A config value with every text in it rendered; a lone {{…}} keeps its type."""
        if isinstance(value, str):
            return self.typed(value)
        if isinstance(value, Mapping):
            return {key: self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value

    def typed(self, template: str) -> Json:
        """One text: the value of a lone {{…}}, else the rendered text."""
        parts = compile_template(template)
        if len(parts) == 1 and isinstance(parts[0], Placeholder):
            value = self.resolve(parts[0])
            return parts[0].raw if value is MISSING else value
        return self._join(parts)

    def text(self, value: Json, *, missing: str | None = None) -> str:
        """A value as text; a missing name stays as written, or becomes `missing`."""
        if isinstance(value, str):
            return self._join(compile_template(value), missing)
        return to_text(self.value(value))

    def structured(self, template: str) -> Json:
        """As `typed`; text that is a JSON object or array becomes that value.

        Placeholders inside the strings of a JSON text are rendered string by string, so a quote
        or a line break in a value cannot break the JSON around it.
        """
        parts = compile_template(template)
        if len(parts) == 1 and isinstance(parts[0], Placeholder):
            return self.typed(template)
        if _is_bracketed(template):
            try:
                return self._leaves(json.loads(template))
            except (ValueError, RecursionError):
                pass
        text = self._join(parts)
        for candidate in (text, self._join_json(parts) if _is_bracketed(template) else ""):
            if _is_bracketed(candidate):
                try:
                    return json.loads(candidate)
                except (ValueError, RecursionError):
                    continue
        return text

    def condition(self, text: str) -> bool:
        """Whether an expression, with or without braces around or inside it, is true."""
        trimmed = text.strip()
        parts = compile_template(trimmed)
        if len(parts) == 1 and isinstance(parts[0], Placeholder):
            trimmed = trimmed[2:-2].strip()
            parts = (trimmed,)
        if any(isinstance(part, Placeholder) for part in parts):
            trimmed, names = self._with_slots(parts)
        else:
            names = self.names
        budget = self._budget
        budget.spend_work(_PARSE_WORK * len(trimmed))
        expression = compile_expression(trimmed, condition=True)
        budget.begin()
        budget.names = names
        try:
            value = expression.evaluate(budget)
        finally:
            budget.names = self.names
        if value is MISSING:
            self._warn(trimmed)
            return False
        return is_truthy(value)

    def expression(self, text: str) -> Json:
        """The value of an expression given without braces, or as a template; MISSING if absent."""
        parts = compile_template(text)
        if any(isinstance(part, Placeholder) for part in parts):
            if len(parts) == 1 and isinstance(parts[0], Placeholder):
                return self.resolve(parts[0])
            return self._join(parts)
        return self.resolve(_placeholder(text, text.strip()))

    def resolve(self, placeholder: Placeholder) -> Json:
        """The value of one placeholder; MISSING with a warning when there is none."""
        budget = self._budget
        budget.begin()
        budget.spend_work(placeholder.work)
        expression = placeholder.expression
        is_path = expression is None or expression.path is not None
        if not is_path and "-" in placeholder.raw and " " not in placeholder.raw.strip("{} "):
            # A hyphen in a key, as in `headers.content-type`, reads like a subtraction.
            value = lookup(placeholder.plain, budget)
            if value is not MISSING:
                return value
        if expression is not None:
            value = expression.evaluate(budget)
            if value is not MISSING:
                return value
        if is_path and placeholder.plain:
            value = lookup(placeholder.plain, budget)
            if value is not MISSING:
                return value
        self._warn(placeholder.raw, placeholder.problem)
        return MISSING

    def _with_slots(self, parts: tuple[Part, ...]) -> tuple[str, Names]:
        """Placeholders inside an expression become names, so no data is read as expression."""
        if sum(len(part) if isinstance(part, str) else 1 for part in parts) > MAX_LENGTH:
            raise ExpressionError(f"An expression has at most {MAX_LENGTH:,} characters.")
        slots: dict[str, Json] = {}
        text = ""
        for part in parts:
            if isinstance(part, str):
                text += part
                continue
            name = f"$slot{len(slots)}"
            value = self.resolve(part)
            slots[name] = None if value is MISSING else value
            quoted = text[-1:] in ("'", '"')
            # `'{{x}}' == 'a'`: the quotes around a placeholder are the author's, for text.
            text = text[:-1] + f"({name})" if quoted else text + f"({name})"
            if quoted:
                slots[name] = "" if slots[name] is None else self._text_of(slots[name])
                text += "\0"
        text = re.sub("\0['\"]", "", text).replace("\0", "")
        return text, _Slots(slots, self.names)

    def _leaves(self, value: Json) -> Json:
        if isinstance(value, str):
            parts = compile_template(value)
            if len(parts) == 1 and isinstance(parts[0], Placeholder):
                found = self.resolve(parts[0])
                if isinstance(found, dict | list):
                    return found
                return parts[0].raw if found is MISSING else self._text_of(found)
            return self._join(parts)
        if isinstance(value, dict):
            return {key: self._leaves(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._leaves(item) for item in value]
        return value

    def _join(self, parts: tuple[Part, ...], missing: str | None = None) -> str:
        texts = []
        for part in parts:
            if isinstance(part, str):
                texts.append(part)
                continue
            value = self.resolve(part)
            if value is MISSING:
                texts.append(part.raw if missing is None else missing)
            else:
                texts.append(self._text_of(value))
        return "".join(texts)

    def _join_json(self, parts: tuple[Part, ...]) -> str:
        """The parts as JSON text: escaped inside quotes, whole values outside of them."""
        texts, quoted = [], False
        for part in parts:
            if isinstance(part, str):
                texts.append(part)
                quoted ^= len(_QUOTE.findall(part)) % 2 == 1
                continue
            value = self.resolve(part)
            if value is MISSING:
                value = part.raw
            if quoted:
                texts.append(json.dumps(self._text_of(value), ensure_ascii=False)[1:-1])
            elif isinstance(value, list | Mapping):
                texts.append(self._text_of(value))
            else:
                texts.append(self._spend(json.dumps(value, ensure_ascii=False)))
        return "".join(texts)

    def _text_of(self, value: Json) -> str:
        """A value as text, refused before it is made where it is sure to be too much."""
        if isinstance(value, list | Mapping) and weight(value, self._left) > self._left:
            self._spend_size(self._left + 1)
        return self._spend(to_text(value))

    def _spend(self, text: str) -> str:
        self._spend_size(len(text))
        return text

    def _spend_size(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise ExpressionError(f"The templates render more than {MAX_RENDERED:,} characters.")

    def _warn(self, raw: str, problem: str | None = None) -> None:
        shown = raw if len(raw) <= 200 else raw[:197] + "…"
        text = f"{shown}: {problem}" if problem else f"{shown} names nothing in this run."
        if text not in self.warnings and len(self.warnings) < 50:
            self.warnings.append(text)


def _is_bracketed(text: str) -> bool:
    trimmed = text.strip()
    return trimmed[:1] + trimmed[-1:] in ("{}", "[]")


class _Slots:
    """Names over a few values of its own."""

    def __init__(self, own: Mapping[str, Json], names: Names) -> None:
        self._own = own
        self._names = names

    def get(self, name: str, default: Any = None, /) -> Any:
        if name in self._own:
            return self._own[name]
        return self._names.get(name, default)
