"""How deep values may be nested."""

from __future__ import annotations

import json

import pytest

from executions.rules.json_depth import MAX_DEPTH, is_too_deep, may_be_deep


def nested(depth, opens="[", closes="]"):
    return opens * depth + closes * depth


@pytest.mark.parametrize(
    ("text", "too_deep"),
    [
        ("1", False),
        ('"[[["', False),
        (nested(MAX_DEPTH), False),
        (nested(MAX_DEPTH + 1), True),
        ('{"a":' * MAX_DEPTH + "1" + "}" * MAX_DEPTH, False),
        ('{"a":' * MAX_DEPTH + "[]" + "}" * MAX_DEPTH, True),
        ("[" + ",".join(["[]"] * 5000) + "]", False),
        ("[" + ",".join([*["[]"] * 5000, nested(MAX_DEPTH)]) + "]", True),
    ],
)
def test_levels_are_counted_and_not_brackets(text, too_deep):
    assert is_too_deep(json.loads(text)) is too_deep
    if too_deep:
        assert may_be_deep(text.encode())


def test_a_body_with_few_brackets_needs_no_second_look():
    assert not may_be_deep(b'{"payload": {"a": [1, 2, {"b": []}]}}')
    assert may_be_deep(b'"' + b"[" * (MAX_DEPTH + 1) + b'"')
