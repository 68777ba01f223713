"""Changes of metadata at a path, as clients of Trigger.dev write them."""

from __future__ import annotations

import copy

import pytest

from executions.errors import Invalid
from executions.rules import metadata

BEFORE = {"a": {"b": [1, {"c": 2}]}, "list": [1], "$.": 0}


@pytest.mark.parametrize(
    ("operation", "after"),
    [
        (("set", "$.a.b.1.c", 3), {"a": {"b": [1, {"c": 3}]}}),
        (("set", "$.a.b.2", 3), {"a": {"b": [1, {"c": 2}, 3]}}),
        (("set", "$.a.b.7", 3), {}),
        (("set", "$.a.b.x", 3), {}),
        (("set", "$.new.deep", 1), {"new": {"deep": 1}}),
        (("set", "$.list.0", None), {"list": [None]}),
        (("set", "$.", 1), {"$.": 1}),
        (("set", "$.a..b", 1), {"$.a..b": 1}),
        (("append", "$.a.b", 9), {"a": {"b": [1, {"c": 2}, 9]}}),
        (("append", "$.new.list", 9), {"new": {"list": [9]}}),
        (("remove", "$.a.b", 1), {"a": {"b": [{"c": 2}]}}),
        (("remove", "$.new.list", 1), {}),
        (("remove", "nothing", 1), {}),
        (("increment", "$.a.n", 2), {"a": {"b": [1, {"c": 2}], "n": 2}}),
        (("set", "null", None), {"null": None}),
    ],
)
def test_a_path_leads_into_objects_and_lists(operation, after):
    before = copy.deepcopy(BEFORE)
    assert metadata.apply(before, [operation]) == BEFORE | after
    assert before == BEFORE


def test_a_path_has_an_end():
    with pytest.raises(Invalid, match="32 deep"):
        metadata.check(("set", "$" + ".a" * 33, 1))
    metadata.check(("set", "$" + ".a" * 32, 1))
    metadata.check(("set", "a." * 100, 1))
