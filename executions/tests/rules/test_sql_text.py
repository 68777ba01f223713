"""SQL in every way of writing parameters becomes one statement with numbered ones."""

from __future__ import annotations

import time

import pytest

from executions.rules.scope import Scope
from executions.rules.sql_text import BadSql, rendered, rendered_text, statement
from executions.rules.templates import Renderer

ROBERT = "Robert'); DROP TABLE students;--"


def read(text, given=None, **inputs):
    found = statement(rendered(text, Renderer(Scope(inputs))), given)
    return found.text, list(found.values)


@pytest.mark.parametrize(
    ("text", "given", "sent", "values"),
    [
        ("SELECT $2, $1, $2", ["a", "b"], "SELECT $1, $2, $1", ["b", "a"]),
        ("SELECT %s, %s", ["a", "b"], "SELECT $1, $2", ["a", "b"]),
        ("SELECT :x, :y, :x", {"x": 1, "y": 2}, "SELECT $1, $2, $1", [1, 2]),
        ("SELECT %(x)s", {"x": 1}, "SELECT $1", [1]),
        ("SELECT 5 %% 2, %s", ["a"], "SELECT 5 % 2, $1", ["a"]),
        ("SELECT 5 %% 2", None, "SELECT 5 %% 2", []),
        ("SELECT x::int, :x", {"x": 1}, "SELECT x::int, $1", [1]),
        ("SELECT a[1:2], '12:30', ':x'", None, "SELECT a[1:2], '12:30', ':x'", []),
        ("SELECT '$1 %s' -- $2\n, $1", ["a"], "SELECT '$1 %s'  \n, $1", ["a"]),
        ("SELECT $$ $1 $$, $1", ["a"], "SELECT $$ $1 $$, $1", ["a"]),
        ("SELECT /* $2 :x */ $1;", ["a"], "SELECT   $1", ["a"]),
        ("SELECT E'it\\'s $1', $1", ["a"], "SELECT E'it\\'s $1', $1", ["a"]),
        ("SELECT * FROM t WHERE a LIKE '%s'", [], "SELECT * FROM t WHERE a LIKE '%s'", []),
    ],
)
def test_each_way_of_writing_parameters(text, given, sent, values):
    assert read(text, given) == (sent, values)


@pytest.mark.parametrize(
    ("text", "sent", "values"),
    [
        ("SELECT {{x}}", "SELECT $1", [ROBERT]),
        ("SELECT {{x}}, {{n}}, {{x}}", "SELECT $1, $2, $3", [ROBERT, 5, ROBERT]),
        ("SELECT '{{x}}'", f"SELECT '{ROBERT.replace(chr(39), chr(39) * 2)}'", []),
        ("SELECT '%{{n}}%'", "SELECT '%5%'", []),
        ('SELECT * FROM "{{q}}"', 'SELECT * FROM "a""b"', []),
        ("SELECT {{n}} -- {{x}}", "SELECT $1", [5]),
    ],
)
def test_no_value_of_a_template_is_read_as_sql(text, sent, values):
    assert read(text, x=ROBERT, n=5, q='a"b') == (sent, values)


def test_templates_and_parameters_stand_side_by_side():
    assert read("SELECT $1, {{n}}, $2", ["a", "b"], n=5) == ("SELECT $1, $2, $3", ["a", 5, "b"])


def test_a_value_that_looks_like_a_template_or_slot_stays_a_value():
    assert read("SELECT {{x}}", x="{{n}} $1 \ue0000\ue001") == (
        "SELECT $1", ["{{n}} $1 \ue0000\ue001"],
    )  # fmt: skip


def test_sql_that_the_workflow_made_is_run_as_it_is():
    assert read("{{sql}}", [7], sql="SELECT $1 + 1") == ("SELECT $1 + 1", [7])


@pytest.mark.parametrize(
    ("text", "given", "said"),
    [
        ("SELECT 1; SELECT 2", None, "more than one statement"),
        ("SELECT 1;; DROP TABLE x", None, "more than one statement"),
        ("SELECT $3", ["a"], "list of 1"),
        ("SELECT :x, :z", {"x": 1}, ":z"),
        ("SELECT 'abc", None, "never closed"),
        ('SELECT "abc', None, "never closed"),
        ("SELECT /* abc", None, "never closed"),
        ("SELECT $a$ abc", None, "never closed"),
        ("SELECT {{nothing}}", None, "names nothing"),
        ("SELECT E'{{n}}'", None, "plain"),
        ("SELECT $$ {{n}} $$", None, "plain"),
        ("  ;  ", None, "no SQL"),
        ("SELECT '{{nul}}'", None, "NUL"),
        ("SELECT \ue0001\ue001", None, "private use"),
    ],
)
def test_what_cannot_be_sent_is_refused(text, given, said):
    with pytest.raises(BadSql, match=said):
        read(text, given, n=5, nul="a\0b")


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("select 1", True),
        ("WITH x AS (INSERT INTO t VALUES (1) RETURNING a) SELECT * FROM x", True),
        ("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", False),
        ("INSERT INTO t VALUES (1) RETURNING a", True),
        ("UPDATE t SET a = 1", False),
        ("DELETE FROM t WHERE a IN (SELECT 1)", False),
        ("SELECT 1 INTO t", False),
        ("VALUES (1)", True),
        ("CREATE TABLE t AS SELECT 1", False),
        ("CALL p()", False),
    ],
)
def test_it_is_known_which_statements_give_rows(text, rows):
    assert statement(rendered_text(text)).gives_rows is rows


@pytest.mark.parametrize("piece", ["'", '"', "/*", "$a$", "$$", "E'", "E'\\", "--", ":", "(", "%("])
def test_hostile_text_takes_no_time(piece):
    begun = time.monotonic()
    for text in (piece * (150_000 // len(piece)), "SELECT " + piece * 10_000 + "x"):
        try:
            statement(rendered_text(text), {"x": 1})
        except BadSql:
            pass
    assert time.monotonic() - begun < 5
