"""Users' regular expressions, kind and unkind."""

from __future__ import annotations

import time

import pytest

from executions.errors import Invalid
from executions.nodes.human_review import check_answer
from executions.patterns import BadPattern, found_in
from executions.rules.comparisons import case_matches


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("^[a-z]+$", "abc", True),
        ("b", "abc", True),
        ("^b", "abc", False),
        (r"^[\w.+-]+@[\w-]+\.[\w.]+$", "ann@example.org", True),
        (r"^(?=.*\d)(?=.*[a-z]).{4,}$", "ab12", True),
        (r"^(?=.*\d)(?=.*[a-z]).{4,}$", "abcd", False),
        (r"^(a)\1$", "aa", True),
        ("^\\u00e9$", "é", True),
        ("^$", "\n", False),
    ],
)
def test_patterns_are_read_as_javascript_reads_them(pattern, text, found):
    assert found_in(pattern, text) is found


@pytest.mark.parametrize("pattern", ["(", "[a-", "(?<n>", "a{2,1}"])
def test_a_broken_pattern_is_named(pattern):
    with pytest.raises(BadPattern, match="not valid"):
        found_in(pattern, "x")


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|aa)+$", "^(.*a){20}$", "^([a-z]+)*$"])
def test_patterns_that_backtrack_for_ever_elsewhere_are_quick(pattern):
    begun = time.monotonic()
    assert found_in(pattern, "a" * 10_000 + "!") is False
    assert time.monotonic() - begun < 2


def test_patterns_that_need_backtracking_are_stopped():
    with pytest.raises(BadPattern, match="simplify"):
        found_in(r"^(?=(a+)+$)b", "a" * 40 + "!")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^(a+)+$"},
        {"$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
         | {"d40": {}}, "$ref": "#/$defs/d0"},
    ],
)  # fmt: skip
def test_a_schema_that_takes_for_ever_is_stopped(schema, monkeypatch):
    monkeypatch.setattr("executions.nodes.human_review._SCHEMA_SECONDS", 0.5)
    with pytest.raises(Invalid, match="cannot be applied"):
        check_answer({"validation": {"jsonSchema": schema}}, "a" * 40 + "!")


@pytest.mark.parametrize(
    ("text", "case", "matches"),
    [
        ("Report-2024.PDF", "report*.pdf", True),
        ("a", "?", True), ("", "?", False), ("", "*", True), ("ab", "a**b", True),
        ("aXbXc", "a*b*c", True), ("abc", "a*bc*bc", False), ("a.c", "a.?", True),
        ("abc", "a.?", False), ("one two", "*tw?", True), ("one two", "two*", False),
        ("aba", "ab*ba", False), ("line\nbreak", "line*", True),
    ],
)  # fmt: skip
def test_wildcards_match_whole_texts_without_case(text, case, matches):
    assert case_matches(text, case) is matches


def test_a_wildcard_with_many_stars_is_quick():
    begun = time.monotonic()
    assert not case_matches("a" * 50_000, "*a" * 30 + "*b")
    assert time.monotonic() - begun < 2
