"""Signatures: the providers' published examples, and everything that is nearly one of them."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triggers.rules import signatures
from triggers.rules.signatures import Signing, Style, verify

NOW = 1_800_000_000
# Published by the providers: see the sources that `signatures` names.
GITHUB = (
    Signing(style=Style.GITHUB),
    "It's a Secret to Everybody",
    {
        "x-hub-signature-256": "sha256="
        "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    },
    b"Hello, World!",
    0,
)
STANDARD = (
    Signing(style=Style.STANDARD),
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    },
    b'{"test": 2432232314}',
    1614265330,
)
SLACK = (
    Signing(style=Style.SLACK),
    "8f742231b10e8888abcd99yyyzzz85a5",
    {
        "x-slack-request-timestamp": "1531420618",
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    },
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
    b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
    b"&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554"
    b"%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121."
    b"803a0bc887a14d10d2c447fce8b6703c",
    1531420618,
)
PUBLISHED = {"github": GITHUB, "standard": STANDARD, "slack": SLACK}


def hexed(key: str, data: bytes) -> str:
    return hmac.new(key.encode(), data, hashlib.sha256).hexdigest()


def signed(style: Style, key: str, body: bytes, at: int = NOW) -> tuple[Signing, dict[str, str]]:
    """A request as its sender would sign it, written down apart from what checks it."""
    if style == Style.GITHUB:
        return Signing(style=style), {"x-hub-signature-256": f"sha256={hexed(key, body)}"}
    if style == Style.STRIPE:
        mac = hexed(key, f"{at}.".encode() + body)
        return Signing(style=style), {"stripe-signature": f"t={at},v1={mac},v0=old"}
    if style == Style.SLACK:
        mac = hexed(key, f"v0:{at}:".encode() + body)
        headers = {"x-slack-request-timestamp": str(at), "x-slack-signature": f"v0={mac}"}
        return Signing(style=style), headers
    if style == Style.STANDARD:
        raw = base64.b64decode(key.removeprefix("whsec_"))
        mac = base64.b64encode(hmac.digest(raw, f"msg_1.{at}.".encode() + body, "sha256")).decode()
        headers = {"webhook-id": "msg_1", "webhook-timestamp": str(at)}
        return Signing(style=style), {**headers, "webhook-signature": f"v1a,AAAA v1,{mac}"}
    signing = Signing(timestamp_header="x-timestamp")
    mac = hexed(key, f"{at}.".encode() + body)
    return signing, {"x-timestamp": str(at), "x-signature": mac}


# Those whose signature holds the time.
TIMED = [style for style in Style if style != Style.GITHUB]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_example_is_genuine_and_not_with_another_secret(name):
    signing, secret, headers, body, now = PUBLISHED[name]
    assert verify(signing, [secret], headers, body, now=now).is_genuine
    assert verify(signing, ["whsec_b3RoZXI=", secret], headers, body, now=now).is_genuine
    assert not verify(signing, ["whsec_b3RoZXI="], headers, body, now=now).is_genuine
    assert not verify(signing, [], headers, body, now=now).is_genuine


def test_the_hmac_is_that_of_rfc_4231():
    # Test case 2 of the RFC.
    mac = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    found = verify(
        Signing(), ["Jefe"], {"x-signature": mac}, b"what do ya want for nothing?", now=NOW
    )
    assert found.is_genuine


@pytest.mark.parametrize("style", Style)
@settings(max_examples=50, deadline=None)
@given(body=st.binary(min_size=1, max_size=300), data=st.data())
def test_any_altered_byte_of_the_body_fails(style, body, data):
    key = signatures.new_secret(style)
    signing, headers = signed(style, key, body)
    assert verify(signing, [key], headers, body, now=NOW).is_genuine
    place = data.draw(st.integers(0, len(body) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda value: value != body[place]))
    altered = body[:place] + bytes([other]) + body[place + 1 :]
    assert not verify(signing, [key], headers, altered, now=NOW).is_genuine
    assert not verify(signing, [key], headers, body + b"\n", now=NOW).is_genuine
    assert not verify(signing, [key], headers, body[:-1], now=NOW).is_genuine


@pytest.mark.parametrize("style", Style)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_any_altered_character_of_a_signed_header_fails(style, data):
    key, body = signatures.new_secret(style), b'{"a": 1}'
    signing, headers = signed(style, key, body)
    name = data.draw(st.sampled_from(sorted(headers)))
    text = headers[name]
    if style == Style.STRIPE:
        # What follows the signature is another scheme's.
        text = text.removesuffix(",v0=old")
    if name == "webhook-signature":
        text = text.split()[1]
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(
        st.characters(codec="ascii").filter(lambda c: c.lower() != text[place].lower())
    )
    altered = {**headers, name: text[:place] + other + text[place + 1 :]}
    found = verify(signing, [key], altered, body, now=NOW)
    # White space around a value is no part of it; the last letters of Base64 may mean the same.
    if altered[name].strip() != text.strip() and not _means_the_same(text, altered[name]):
        assert not found.is_genuine, altered


def _means_the_same(text, altered):
    try:
        return base64.b64decode(text.partition(",")[2], validate=True) == base64.b64decode(
            altered.partition(",")[2], validate=True
        )
    except ValueError:
        return False


@pytest.mark.parametrize("style", TIMED)
@pytest.mark.parametrize("late", [-301, -1e6, 301, 1e6])
def test_stale_and_future_requests_fail(style, late):
    key = signatures.new_secret(style)
    signing, headers = signed(style, key, b"{}")
    assert not verify(signing, [key], headers, b"{}", now=NOW + late).is_genuine


@pytest.mark.parametrize("style", TIMED)
@pytest.mark.parametrize("late", [-300, -1, 0, 299.9, 300])
def test_requests_within_the_window_are_genuine(style, late):
    key = signatures.new_secret(style)
    signing, headers = signed(style, key, b"{}")
    assert verify(signing, [key], headers, b"{}", now=NOW + late).is_genuine


@pytest.mark.parametrize("style", Style)
@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.text(max_size=120), min_size=6, max_size=6),
    body=st.binary(max_size=50),
)
def test_nothing_made_up_is_genuine_and_nothing_breaks(style, values, body):
    key = signatures.new_secret(style)
    signing, headers = signed(style, key, body)
    for name, value in zip(headers, values, strict=False):
        made_up = {**headers, name: value}
        if made_up != headers:
            found = verify(signing, [key], made_up, body, now=NOW)
            assert not found.is_genuine or value.strip() == headers[name].strip()
    assert not verify(signing, [key], {}, body, now=NOW).is_genuine


@pytest.mark.parametrize(
    "timestamp", ["", "abc", "1e9", "-1800000000", "١٨٠٠٠٠٠٠٠٠", "1800000000.0", "9" * 40]
)
def test_a_timestamp_is_whole_seconds(timestamp):
    body = b"{}"
    mac = hexed("secret-1", f"{timestamp}.".encode() + body)
    headers = {"x-timestamp": timestamp, "x-signature": mac}
    signing = Signing(timestamp_header="x-timestamp")
    assert not verify(signing, ["secret-1"], headers, body, now=NOW).is_genuine


def test_a_missing_timestamp_fails_where_one_is_asked_for():
    signing = Signing(timestamp_header="x-timestamp")
    headers = {"x-signature": hexed("secret-1", b"." + b"{}")}
    assert not verify(signing, ["secret-1"], headers, b"{}", now=NOW).is_genuine


@pytest.mark.parametrize("header", ["x-hub-signature-256", "x-signature", "x-webhook-signature"])
@pytest.mark.parametrize("prefix", ["", "sha256=", "SHA256=", "v1="])
def test_the_generic_style_takes_bare_hex_and_prefixes_in_three_headers(header, prefix):
    mac = hexed("secret-1", b"raw")
    headers = {header: prefix + mac}
    assert verify(Signing(), ["secret-1"], headers, b"raw", now=NOW).is_genuine
    assert verify(
        Signing(), ["secret-1"], {header: prefix + mac.upper()}, b"raw", now=NOW
    ).is_genuine
    elsewhere = Signing(signature_header="x-mine")
    assert not verify(elsewhere, ["secret-1"], headers, b"raw", now=NOW).is_genuine


def test_the_generic_style_takes_base64_in_a_header_of_its_own():
    mac = base64.b64encode(hmac.digest(b"secret-1", b"raw", "sha256")).decode()
    signing = Signing(signature_header="x-shopify-hmac-sha256")
    headers = {"x-shopify-hmac-sha256": mac}
    assert verify(signing, ["secret-1"], headers, b"raw", now=NOW).is_genuine


def test_one_of_several_signatures_is_enough_but_not_of_very_many():
    key, body = "whsec_of_stripe", b"{}"
    right = f"v1={hexed(key, f'{NOW}.'.encode() + body)}"
    wrong = f"v1={'0' * 64}"
    signing = Signing(style=Style.STRIPE)
    for parts, genuine in (([wrong, right], True), ([wrong] * 8 + [right], False)):
        headers = {"stripe-signature": ",".join([f"t={NOW}", *parts])}
        assert verify(signing, [key], headers, body, now=NOW).is_genuine is genuine


def test_deliveries_are_named_as_their_senders_name_them():
    key = "secret-1"
    for style, body, more, name in (
        (Style.GITHUB, b"{}", {"x-github-delivery": "72d3162e"}, "id:72d3162e"),
        (Style.STRIPE, b'{"id": "evt_1"}', {}, "id:evt_1"),
        (Style.SLACK, b'{"event_id": "Ev1"}', {}, "id:Ev1"),
    ):
        signing, headers = signed(style, key, body)
        found = verify(signing, [key], {**headers, **more}, body, now=NOW)
        assert (found.delivery, found.is_named) == (name, True)
    signing, headers = signed(Style.STANDARD, "whsec_c2VjcmV0", b"{}")
    assert verify(signing, ["whsec_c2VjcmV0"], headers, b"{}", now=NOW).delivery == "id:msg_1"


def test_a_signed_time_names_a_delivery_that_has_no_id():
    signing, headers = signed(Style.GENERIC, "secret-1", b"{}")
    found = verify(signing, ["secret-1"], headers, b"{}", now=NOW)
    assert found.delivery.startswith("signed:")
    assert found.is_named is False
    signing, later = signed(Style.GENERIC, "secret-1", b"{}", at=NOW + 1)
    assert verify(signing, ["secret-1"], later, b"{}", now=NOW).delivery != found.delivery
    # Spelt otherwise it is the same delivery.
    loud = {**headers, "x-signature": f"sha256={headers['x-signature'].upper()}"}
    assert verify(signing, ["secret-1"], loud, b"{}", now=NOW).delivery == found.delivery


def test_nothing_names_a_delivery_without_id_and_time():
    headers = {"x-signature": hexed("secret-1", b"{}")}
    assert verify(Signing(), ["secret-1"], headers, b"{}", now=NOW).delivery is None
    named = Signing(delivery_id_header="x-request-id")
    more = {**headers, "x-request-id": " 7 "}
    assert verify(named, ["secret-1"], more, b"{}", now=NOW).delivery == "id:7"


@pytest.mark.parametrize("odd", ["x" * 300, "a\0b", "\ud800"])
def test_an_id_that_cannot_be_stored_is_kept_as_its_digest(odd):
    found = signatures.delivery_id(Signing(delivery_id_header="x-id"), {"x-id": odd}, b"")
    assert found.startswith("id-sha256:")


@pytest.mark.parametrize("style", Style)
def test_a_new_secret_has_256_bits_and_is_of_its_style(style):
    first, second = signatures.new_secret(style), signatures.new_secret(style)
    assert first != second
    raw = signatures.key_bytes(style, first)
    assert len(raw) == (32 if style == Style.STANDARD else 64)
