"""Any text at all, as template, condition or expression: a JSON value or the one error.

Half of the cases come from a grammar close to the real one, the others are noise.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from executions.rules.comparisons import case_matches, compare
from executions.rules.expressions import MISSING, evaluate
from executions.rules.functions import METHODS, ExpressionError
from executions.rules.scope import Scope
from executions.rules.templates import Renderer
from executions.tests.hostile.corpus import PAYLOADS
from executions.tests.hostile.doors import texts_in
from executions.tests.sizes import sized

CASES = settings(
    max_examples=sized(500, 100_000 // 6),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
DATA = {
    "n": 3, "f": 2.5, "zero": 0, "yes": True, "no": False, "none": None, "text": "a,b{{n}}c",
    "list": [1, "2", None, [3], {"k": "{{n}}"}], "o": {"k": "v", "a-b": 1, "length": 7},
    "inf": "Infinity", "hex": "0x" + "f" * 300, "big": 10**400, "date": "0001-01-01T00:00:00+14:00",
    "evil": "{{env.PATH}}", "content-type": "x",
}  # fmt: skip

names = st.sampled_from(
    [*DATA, "missing", "env", "inputs", "__class__", "constructor", "$now", "ſ"]
)
literals = st.sampled_from(
    ["0", "1", "-1", "1e999", "0x1f", "9" * 30, ".5", "1.", "''", "'a'", "'é'", '"{{n}}"',
     "'\\u0041'", "'\\ud83d'", "true", "false", "null", "undefined", "[]", "'Infinity'",
     "'length'", "'__proto__'"]
)  # fmt: skip
operators = st.sampled_from("|| ?? && == != === !== > >= < <= + - * / % = | => ; ,".split())


def deeper(inner):
    return st.one_of(
        st.builds("{} {} {}".format, inner, operators, inner),
        st.builds("{}{}{}".format, inner, operators, inner),
        st.builds("({})".format, inner),
        st.builds("!{}".format, inner),
        st.builds("-{}".format, inner),
        st.builds("{} ? {} : {}".format, inner, inner, inner),
        st.builds("{}.{}".format, inner, names),
        st.builds("{}?.{}".format, inner, names),
        st.builds("{}[{}]".format, inner, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("{}.{}({})".format, inner, st.sampled_from(sorted(METHODS)), inner),
        st.builds("{}.{}({}, {})".format, inner, st.sampled_from(sorted(METHODS)), inner, inner),
        st.builds("{}({})".format, st.sampled_from([*sorted(METHODS), "now", "eval"]), inner),
    )


expressions = st.recursive(names | literals, deeper, max_leaves=12)
noise = st.one_of(
    st.text(max_size=60),
    st.binary(max_size=60).map(lambda data: data.decode("latin-1")),
    st.binary(max_size=60).map(lambda data: data.decode("utf-8", "surrogateescape")),
    st.lists(st.sampled_from(["{", "}", "{{", "}}", "${", "'", '"', "\\", "n", " ", "[", "]", ".",
                              "%}", "\n", "|", "(", ")", "-", "\0", "é", "?", "*"])).map("".join),
    st.sampled_from([payload.text for payload in PAYLOADS]),
)  # fmt: skip
wholes = (expressions | noise).map("{{{{{}}}}}".format)
templates = st.lists(wholes | noise, max_size=4).map("".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | noise,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(noise, inner, max_size=3),
    max_leaves=6,
)


def renderer(**more):
    return Renderer(Scope({**DATA, **more}), now=lambda: NOON)


def outcome(action, *arguments):
    """What it gives, checked to be JSON data; None for the one error."""
    try:
        value = action(*arguments)
    except ExpressionError as error:
        assert str(error)
        return None
    if value is not MISSING:
        texts_in(value)
    return value


@CASES
@given(expressions | noise)
def test_an_expression_gives_data_or_the_one_error(text):
    outcome(evaluate, text, DATA)
    outcome(renderer().expression, text)
    assert outcome(renderer().condition, text) in (True, False, None)


@CASES
@given(templates)
def test_a_template_gives_data_or_the_one_error(template):
    outcome(renderer().typed, template)
    outcome(renderer().structured, template)
    text = outcome(renderer().text, template)
    assert text is None or isinstance(text, str)
    assert outcome(renderer().condition, template) in (True, False, None)


@CASES
@given(templates)
def test_what_was_rendered_can_be_rendered_again(template):
    once = outcome(renderer().text, template)
    if once is not None:
        again = outcome(renderer().text, once)
        assert again is None or isinstance(again, str)


@CASES
@given(noise.filter(lambda text: "{{" not in text))
def test_plain_text_comes_out_as_it_is(text):
    assert renderer().typed(text) == text
    assert renderer().text(text) == text
    assert renderer().value({"a": [text]}) == {"a": [text]}


@CASES
@given(values)
def test_a_lone_reference_keeps_its_value_and_text_around_it_never_evaluates_it(value):
    render = renderer(value=value, o={"value": value})
    for template in ("{{value}}", " {{value}}"[1:], "{{ o.value }}", "{{o['value']}}"):
        found = render.typed(template)
        assert found is value or found == value
    if isinstance(value, str):
        assert render.text("<{{value}}>{{value}}") == f"<{value}>{value}"
        assert render.structured('{"a": "{{value}}", "b": ["x{{value}}"]}') == {
            "a": value, "b": ["x" + value],
        }  # fmt: skip
    assert not render.warnings


@CASES
@given(values, values, st.sampled_from(["==", "!=", ">", "<=", "contains", "startsWith", "odd"]))
def test_comparisons_take_anything(left, right, operator):
    assert compare(left, operator, right) in (True, False)
    render = renderer(left=left, right=right)
    text, case = render.text("{{left}}"), render.text("{{right}}")
    assert compare(text, operator, case) in (True, False)
    assert case_matches(text, case) in (True, False)
    assert case_matches(text, "*" + case.replace("?", "").replace("*", "") + "*") == (
        case.replace("?", "").replace("*", "").replace("İ", "i").lower()
        in text.replace("İ", "i").lower()
    )
    json.dumps(outcome(evaluate, "left == right ? left : [left, right]", render.names))
