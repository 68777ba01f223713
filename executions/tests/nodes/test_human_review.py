"""Tests of the check of a review's answer."""

from __future__ import annotations

import pytest

from executions.errors import Invalid
from executions.nodes.human_review import HumanReviewConfig, check_answer

SCHEMA = {
    "type": "object",
    "required": ["approved"],
    "properties": {"approved": {"type": "boolean"}},
}


@pytest.mark.parametrize(
    ("rules", "response", "value"),
    [
        ({}, "hello", "hello"),
        ({}, 5, "5"),
        ({"inputType": "number"}, "4.5", 4.5),
        ({"inputType": "number"}, 7, 7),
        ({"inputType": "boolean"}, "1", True),
        ({"inputType": "boolean"}, "FALSE", False),
        ({"inputType": "json"}, '{"a": [1]}', {"a": [1]}),
        ({"inputType": "json"}, {"a": 1}, {"a": 1}),
        ({"required": False}, "", ""),
        ({"validation": {"pattern": "^[a-z]+$", "minLength": 2, "maxLength": 3}}, "abc", "abc"),
        ({"inputType": "number", "validation": {"min": 1, "max": 5}}, "5", 5),
        ({"inputType": "json", "validation": {"jsonSchema": SCHEMA}}, '{"approved": true}',
         {"approved": True}),
    ],
)  # fmt: skip
def test_an_answer_becomes_the_value_of_its_kind(rules, response, value):
    found = check_answer(rules, response)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("rules", "response", "problem"),
    [
        ({}, "", "required"),
        ({}, None, "required"),
        ({}, "  ", "required"),
        ({"inputType": "number"}, "many", "not a number"),
        ({"inputType": "number"}, "1e999", "not a number"),
        ({"inputType": "number"}, True, "not a number"),
        ({"inputType": "number"}, [1], "not a number"),
        ({"inputType": "boolean"}, "perhaps", "neither"),
        ({"inputType": "json"}, "{", "not JSON"),
        ({"inputType": "number", "validation": {"min": 1}}, 0, "below"),
        ({"inputType": "number", "validation": {"max": 1}}, 2, "above"),
        ({"validation": {"minLength": 3}}, "ab", "at least 3"),
        ({"validation": {"maxLength": 3}}, "abcd", "at most 3"),
        ({"validation": {"pattern": "^(yes|no)$"}}, "maybe", "form"),
        ({"validation": {"pattern": "("}}, "x", "not valid"),
        ({"inputType": "json", "validation": {"jsonSchema": SCHEMA}}, "{}", "approved"),
        ({"inputType": "json", "validation": {"jsonSchema": SCHEMA}}, {"approved": "y"}, "boolean"),
        ({"inputType": "json", "validation": {"jsonSchema": {"type": 3}}}, {}, "not valid"),
        (
            {"validation": {"jsonSchema": {"$ref": "http://127.0.0.1:9/s"}}},
            "x",
            "cannot be applied",
        ),
        ({}, "x" * 1_000_001, "over"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_with_the_reason(rules, response, problem):
    with pytest.raises(Invalid, match=problem) as caught:
        check_answer(rules, response)
    assert caught.value.field == "response"


def test_a_config_may_be_given_instead_of_a_form():
    config = HumanReviewConfig.model_validate({"inputType": "number", "validation": {"max": 3}})
    with pytest.raises(Invalid, match="above"):
        check_answer(config, 4)
