"""SQL with parameters, whichever way it writes them: as PostgreSQL's $1, $2, … and their values.

A {{…}} becomes a parameter too; inside quotes, where no parameter can stand, it becomes part of the
quoted text, with its quotes doubled. So no value is ever read as SQL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from executions.errors import Invalid
from executions.rules.comparisons import to_text
from executions.rules.evaluation import MISSING
from executions.rules.templates import Placeholder, Renderer, compile_template

Json = Any

MAX_SQL = 200_000
_OPEN, _CLOSE = "\ue000", "\ue001"
_SLOT = re.compile(f"{_OPEN}(\\d+){_CLOSE}")
_TOKEN = re.compile(
    r"""
      (?P<escaped>\b[eE]'(?:[^'\\]|\\.|'')*')
    | (?P<text>'(?:[^']|'')*')
    | (?P<identifier>"(?:[^"]|"")*")
    | (?P<dollar>\$(?P<tag>(?:[A-Za-z_][A-Za-z_0-9]*)?)\$.*?\$(?P=tag)\$)
    | (?P<line>--[^\n]*)
    | (?P<comment>/\*.*?\*/)
    | (?P<unclosed>/\*|\$(?:[A-Za-z_]\w*)?\$)
    | (?P<number>\$\d+)
    | (?P<cast>::)
    | (?P<colon>:(?P<name>[A-Za-z_]\w*))
    | (?P<percent>%(?:s(?!\w)|%|\((?P<key>\w{1,100})\)s))
    | (?P<slot>\ue000\d+\ue001)
    | (?P<word>[A-Za-z_][\w$]*)
    | (?P<other>[\s\S])
    """,
    re.VERBOSE | re.DOTALL,
)
_NUMBERED = re.compile(r"\$\d")
_VERBS = frozenset(
    {"select", "insert", "update", "delete", "merge", "values", "table", "show", "explain"}
)
_GIVE_ROWS = frozenset({"select", "values", "table", "show", "explain"})


class BadSql(Invalid):
    """The SQL cannot be sent; the message says why."""

    code = "bad_sql"
    non_retryable = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement as it is sent. `gives_rows` says whether it answers with rows."""

    text: str
    values: tuple[Json, ...]
    gives_rows: bool
    verb: str


@dataclass(slots=True)
class _Reading:
    """What is known while the tokens go by."""

    given: Json
    slots: Sequence[Json]
    uses_percent: bool
    out: list[str] = field(default_factory=list)
    values: list[Json] = field(default_factory=list)
    places: dict[tuple[str, Json], int] = field(default_factory=dict)
    depth: int = 0
    verb: str = ""
    gives_rows: bool = False
    next_percent: int = 0
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Sql:
    """SQL with the values of its {{…}} beside it, not yet with its parameters."""

    text: str
    slots: tuple[Json, ...] = ()


def rendered(template: Json, render: Renderer) -> Sql:
    """The SQL of a config. A text that is one {{…}} altogether is SQL that the workflow made.

    Raises BadSql for a name that is missing: the statement would mean something else.
    """
    if isinstance(template, Sql):
        return template
    if not isinstance(template, str):
        raise BadSql(f"The SQL is text, not {to_text(template)[:100]!r}.", field="query")
    if len(template) > MAX_SQL:
        raise BadSql(f"The SQL has more than {MAX_SQL:,} characters.", field="query")
    if _OPEN in template or _CLOSE in template:
        raise BadSql("The SQL holds a character for private use.", field="query")
    parts = compile_template(template.strip())
    values: list[Json] = []
    texts = []
    for part in parts:
        if not isinstance(part, Placeholder):
            texts.append(part)
            continue
        value = render.resolve(part)
        if value is MISSING:
            raise BadSql(f"{part.raw[:200]} in the SQL names nothing in this run.", field="query")
        texts.append(f"{_OPEN}{len(values)}{_CLOSE}")
        values.append(value)
    if len(parts) == 1 and values:
        return rendered_text(to_text(values[0]))
    return Sql("".join(texts), tuple(values))


def rendered_text(text: str) -> Sql:
    """SQL that holds no {{…}} of its own."""
    if _OPEN in text or _CLOSE in text or len(text) > MAX_SQL:
        raise BadSql("The SQL is too long, or holds a character for private use.", field="query")
    return Sql(text)


def statement(sql: Sql, given: Json = None, *, before: Sequence[Json] = ()) -> Statement:
    """The statement with the values of its parameters: a list for $1 and %s, an object for :name.

    `before` are values that the text already has as $1, $2, …; its own numbers come after them.
    """
    is_list = isinstance(given, list | tuple)
    has_numbers = _NUMBERED.search(sql.text) is not None
    reading = _Reading(given, sql.slots, uses_percent=is_list and bool(given) and not has_numbers)
    reading.values.extend(before)
    for match in _TOKEN.finditer(sql.text):
        kind = next(name for name, value in match.groupdict().items() if value is not None)
        _HANDLERS.get(kind, _plain)(reading, match)
    text = "".join(reading.out).strip().rstrip(";").strip()
    if not text:
        raise BadSql("There is no SQL to run.", field="query")
    return Statement(
        text=text, values=tuple(reading.values), gives_rows=reading.gives_rows, verb=reading.verb
    )


def _number_for(reading: _Reading, key: tuple[str, Json], value: Callable[[], Json]) -> str:
    if key not in reading.places:
        reading.values.append(value())
        reading.places[key] = len(reading.values)
    return f"${reading.places[key]}"


def _item(reading: _Reading, index: int, written: str) -> Json:
    if not isinstance(reading.given, list | tuple) or not 0 <= index < len(reading.given):
        count = len(reading.given) if isinstance(reading.given, list | tuple) else 0
        raise BadSql(
            f"The SQL has the parameter {written}, but `parameters` is a list of {count}.",
            field="parameters",
        )
    return reading.given[index]


def _named(reading: _Reading, name: str, written: str) -> Json:
    if not isinstance(reading.given, Mapping) or name not in reading.given:
        raise BadSql(
            f"The SQL has the parameter {written}, which `parameters` has not.", field="parameters"
        )
    return reading.given[name]


def _end_check(reading: _Reading) -> None:
    if reading.ended:
        raise BadSql("The SQL is more than one statement; use one node for each.", field="query")


def _plain(reading: _Reading, match: re.Match[str]) -> None:
    text = match.group()
    if text == ";" and reading.depth <= 0:
        reading.ended = True
    elif not text.isspace():
        _end_check(reading)
        reading.depth += {"(": 1, ")": -1}.get(text, 0)
    if text in ("'", '"'):
        # Read as anything else, the rest would be taken for what it is not.
        raise BadSql(f"A quote {text} in the SQL is never closed.", field="query")
    reading.out.append(text)


def _comment(reading: _Reading, match: re.Match[str]) -> None:
    reading.out.append(" ")


def _unclosed(reading: _Reading, match: re.Match[str]) -> None:
    raise BadSql(f"{match.group()} in the SQL is never closed.", field="query")


def _number(reading: _Reading, match: re.Match[str]) -> None:
    _end_check(reading)
    index = int(match.group()[1:])
    key = ("number", index)
    reading.out.append(_number_for(reading, key, lambda: _item(reading, index - 1, match.group())))


def _colon(reading: _Reading, match: re.Match[str]) -> None:
    _end_check(reading)
    name = match.group("name")
    if not isinstance(reading.given, Mapping):
        # A slice of an array.
        reading.out.append(match.group())
        return
    reading.out.append(
        _number_for(reading, ("name", name), lambda: _named(reading, name, match.group()))
    )


def _percent(reading: _Reading, match: re.Match[str]) -> None:
    _end_check(reading)
    text, key = match.group(), match.group("key")
    if key is not None and isinstance(reading.given, Mapping):
        reading.out.append(
            _number_for(reading, ("name", key), lambda: _named(reading, key, match.group()))
        )
    elif text == "%s" and reading.uses_percent:
        index = reading.next_percent
        reading.next_percent += 1
        place = ("percent", index)
        reading.out.append(_number_for(reading, place, lambda: _item(reading, index, text)))
    else:
        reading.out.append("%" if text == "%%" and reading.uses_percent else text)


def _slot(reading: _Reading, match: re.Match[str]) -> None:
    _end_check(reading)
    index = int(match.group()[1:-1])
    reading.out.append(_number_for(reading, ("slot", index), lambda: reading.slots[index]))


def _filled(reading: _Reading, text: str, quote: str) -> str:
    def value(match: re.Match[str]) -> str:
        filling = to_text(reading.slots[int(match.group(1))])
        if "\0" in filling:
            raise BadSql("A value in the SQL holds a NUL character.", field="query")
        return filling.replace(quote, quote * 2)

    return _SLOT.sub(value, text)


def _text(reading: _Reading, match: re.Match[str]) -> None:
    _end_check(reading)
    reading.out.append(_filled(reading, match.group(), "'"))


def _identifier(reading: _Reading, match: re.Match[str]) -> None:
    _end_check(reading)
    reading.out.append(_filled(reading, match.group(), '"'))


def _verbatim(reading: _Reading, match: re.Match[str]) -> None:
    _end_check(reading)
    if _OPEN in match.group():
        raise BadSql(
            "{{…}} cannot stand in an E'…' or $$…$$ text; use a plain '…' text.", field="query"
        )
    reading.out.append(match.group())


def _word(reading: _Reading, match: re.Match[str]) -> None:
    _end_check(reading)
    word = match.group().lower()
    if reading.depth == 0:
        if not reading.verb and word in _VERBS:
            reading.verb, reading.gives_rows = word, word in _GIVE_ROWS
        elif reading.verb in ("insert", "update", "delete", "merge") and word == "returning":
            reading.gives_rows = True
        elif reading.verb == "select" and word == "into":
            reading.gives_rows = False
        elif not reading.verb and word != "with" and not reading.out:
            reading.verb = word
    reading.out.append(match.group())


_HANDLERS: dict[str, Callable[[_Reading, re.Match[str]], None]] = {
    "escaped": _verbatim, "text": _text, "identifier": _identifier, "dollar": _verbatim,
    "line": _comment, "comment": _comment, "unclosed": _unclosed,
    "number": _number, "colon": _colon,
    "percent": _percent, "slot": _slot, "word": _word,
}  # fmt: skip
