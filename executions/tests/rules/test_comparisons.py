"""Tests of the comparisons of conditional and switch nodes."""

from __future__ import annotations

import pytest

from executions.rules.comparisons import case_matches, compare, to_text, typed


@pytest.mark.parametrize(
    ("left", "operator", "right", "holds"),
    [
        ("5", "==", "5.0", True),
        (" 7 ", "==", "7", True),
        ("0x10", "==", "16", True),
        ("1e3", "==", "1000", True),
        ("Yes", "==", "yes", True),
        ("yes", "==", "true", False),
        ("TRUE", "==", "true", True),
        ("null", "==", "0", False),
        ("0", "==", "null", True),
        ("null", "==", "undefined", True),
        ("", "==", "0", True),
        ("abc", "==", "0", False),
        ("[1,2]", "==", "[1, 2]", True),
        ('{"a":1}', "!=", '{"a":2}', True),
        ("10", ">", "9", True),
        ("b", ">", "A", True),
        ("abc", "<", "5", False),
        ("null", "<", "1", True),
        ("true", ">=", "1", True),
        ("Hello World", "contains", "WORLD", True),
        ("[1,2,3]", "contains", "2", True),
        ("123", "contains", "2", False),
        ("Report.pdf", "endsWith", ".PDF", True),
        ("Report.pdf", "startsWith", "rep", True),
        ("3", "gte", "3", True),
        ("a", "neq", "b", True),
        ("", "isEmpty", "", True),
        ("[]", "isEmpty", "", True),
        ("x", "isNotEmpty", "", True),
        ("null", "isNull", "", True),
        ("x", "no such operator", "x", True),
    ],
)
def test_both_sides_are_typed_and_then_compared(left, operator, right, holds):
    assert compare(left, operator, right) is holds


@pytest.mark.parametrize(
    ("text", "case", "matches"),
    [
        ("image/png", "image/*", True),
        ("IMAGE/PNG", "image/p?g", True),
        ("image", "image/*", False),
        ("5.0", "5", True),
        ("", "0", True),
        ("Gold", "gold", True),
        ("a.b", "a?b", True),
        ("a\nb", "a*b", True),
        ("gold", "silver", False),
    ],
)
def test_a_case_matches_by_wildcard_then_number_then_text(text, case, matches):
    assert case_matches(text, case) is matches


def test_a_wildcard_of_many_stars_ends_at_once():
    assert case_matches("a" * 200, "*" * 200 + "b") is False


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (3.0, "3"), (0.5, "0.5"), ([1, "a"], '[1,"a"]')],
)
def test_values_become_text_as_json_does(value, text):
    assert to_text(value) == text


def test_huge_text_is_no_number():
    assert typed("9" * 5000) == "9" * 5000
