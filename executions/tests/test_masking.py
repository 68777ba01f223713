"""Secrets stay out of what an attempt gives back, in whatever spelling, and out of its log."""

from __future__ import annotations

import base64
import html
import io
import json
import logging
import traceback
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from executions import masking
from executions.errors import Conflict, Invalid
from executions.masking import MASK, SecretFilter, hide, hiding

SECRET = 'pä"ss/w+rd <&> 9'


@pytest.mark.parametrize(
    "spelling",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        json.dumps(SECRET)[1:-1],
        html.escape(SECRET),
        SECRET.encode().hex(),
        base64.b64encode(SECRET.encode()).decode(),
        SECRET.encode().decode("latin-1"),
    ],
)
def test_every_usual_spelling_is_hidden(spelling):
    with hiding() as mask:
        hide(SECRET)
        assert mask.text(f"before {spelling} after") == f"before {MASK} after"


def test_values_are_hidden_at_every_depth_in_keys_and_as_numbers():
    with hiding() as mask:
        hide("s3cret", "12345678")
        value = {"a": ["x s3cret"], "s3cret": {"n": 12345678, "ok": True, "other": 1234}}
        assert mask.value(value) == {
            "a": [f"x {MASK}"], MASK: {"n": MASK, "ok": True, "other": 1234},
        }  # fmt: skip


def test_the_longest_secret_is_replaced_first():
    with hiding() as mask:
        hide("abcd", "abcdefgh")
        assert mask.text("abcdefgh") == MASK


def test_texts_too_short_to_be_told_from_chance_are_left():
    with hiding() as mask:
        hide("abc", "")
        assert mask.text("abc and so on") == "abc and so on"


def test_an_error_keeps_its_name_and_loses_its_secret_and_its_cause():
    with hiding() as mask:
        hide("s3cret")
        try:
            try:
                raise ValueError("the token s3cret")
            except ValueError as cause:
                raise Invalid("no entry", field="login", code="no_entry") from cause
        except Invalid as error:
            clean: Any = mask.error(error)
    assert type(clean).__name__ == "Invalid"
    assert (str(clean), clean.code, clean.field) == ("no entry", "no_entry", "login")
    assert "s3cret" not in "".join(traceback.format_exception(clean))


def test_an_error_without_secrets_is_left_as_it_is():
    with hiding() as mask:
        hide("s3cret")
        error = ValueError("plain")
        assert mask.error(error) is error


def test_what_is_hidden_in_one_attempt_is_not_in_the_next():
    with hiding():
        hide("s3cret")
    with hiding() as mask:
        assert mask.text("s3cret") == "s3cret"
    assert not masking.is_hiding()


def test_nothing_can_be_hidden_outside_of_an_attempt():
    with pytest.raises(Conflict):
        hide("s3cret")


def test_log_lines_of_the_attempt_lose_secrets_in_text_arguments_and_traces():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(SecretFilter())
    logger = logging.getLogger("executions.tests.masking")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        with hiding():
            hide("s3cret")
            logger.warning("with %s in it", "s3cret")
            try:
                raise ValueError("bad s3cret")
            except ValueError:
                logger.exception("failed")
        logger.warning("after")
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
    written = stream.getvalue()
    assert "s3cret" not in written
    assert written.count(MASK) >= 2
    assert "ValueError" in written
    assert "after" in written
