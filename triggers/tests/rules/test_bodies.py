"""Bodies, headers and origins of requests, as they are read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executions.errors import Invalid
from triggers.rules import bodies, configs, redaction

KINDS = st.sampled_from(
    ["", "application/json", "application/ld+json; charset=utf-16", "text/plain", "text/html;x",
     "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "image/png", ";", "/"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=10,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=200), kind=KINDS | st.text(max_size=30))
def test_every_body_is_read_or_refused_and_gives_json(body, kind):
    try:
        found = bodies.parse(body, kind)
    except Invalid as error:
        assert error.field == "body"
    else:
        json.dumps(found, allow_nan=False)


@settings(max_examples=100, deadline=None)
@given(value=JSON)
def test_json_comes_out_as_it_went_in(value):
    raw = json.dumps(value).encode()
    assert bodies.parse(raw, "application/json") == value
    assert bodies.parse(raw, "application/vnd.shop+json;v=1") == value


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=100))
def test_every_query_is_an_object(text):
    found = bodies.query(text)
    assert all(isinstance(value, str | list) for value in found.values())


def test_depth_has_a_bound_and_no_recursion():
    deep: object = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(Invalid, match="deeper than 100"):
        bodies.check_depth(deep, field="body")
    flat = {"a": [{"b": [1] * 10_000}] * 100}
    bodies.check_depth(flat, field="body")


@pytest.mark.parametrize(
    "header",
    ["authorization", "proxy-authorization", "cookie", "x-api-key", "x-hub-signature-256",
     "x-hub-signature", "stripe-signature", "x-slack-signature", "webhook-signature", "x-csrftoken",
     "x-amz-security-token", "x-gitlab-token", "x-auth", "x-shopify-hmac-sha256", "x-jwt",
     "x-telegram-bot-api-secret-token", "php-auth-pw", "x-password"],
)  # fmt: skip
def test_headers_that_may_hold_secrets_are_hidden(header):
    assert redaction.hide_headers({header: "value"}) == {header: "••••"}


@pytest.mark.parametrize(
    "header",
    ["content-type", "user-agent", "x-github-event", "x-github-delivery", "webhook-id",
     "webhook-timestamp", "x-slack-request-timestamp", "x-request-id", "idempotency-key", "origin",
     "x-shopify-topic"],
)  # fmt: skip
def test_headers_that_a_workflow_wants_to_see_are_kept(header):
    assert redaction.hide_headers({header: "value"}) == {header: "value"}
    assert redaction.hide_headers({header: "value"}, [header]) == {header: "••••"}


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://a.example.com", "https://a.example.com"),
        ("HTTPS://A.Example.com:443/", "https://a.example.com"),
        ("http://a.example.com:8080", "http://a.example.com:8080"),
        ("http://[::1]:80", "http://[::1]"),
        ("https://a.example.com/path", None),
        ("https://a.example.com?x", None),
        ("https://me@a.example.com", None),
        ("ftp://a.example.com", None),
        ("https://a.example.com:99999", None),
        ("https://[::1", None),
        (" https://a.example.com", None),
        ("//a.example.com", None),
        ("null", None),
        ("", None),
    ],
)
def test_origins_have_one_spelling(text, origin):
    assert configs.origin_of(text) == origin


def test_any_origin_may_be_said():
    found = configs.read("webhook", {"allowedOrigins": ["*"]})
    assert found.allows_origin("https://anywhere.example.com")
