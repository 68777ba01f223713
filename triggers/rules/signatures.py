"""How senders sign what they deliver: GitHub, Stripe, Slack, Standard Webhooks, and plain HMAC.

Sources: docs.github.com, "Validating webhook deliveries"; docs.stripe.com/webhooks#verify-manually;
docs.slack.dev, "Verifying requests from Slack"; the Standard Webhooks specification 1.0.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets as randomness
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

Json = Any
Headers = Mapping[str, str]

WINDOW_SECONDS: Final = 300
# A sender that changes its secret signs with both; more than a few are somebody trying.
MAX_SIGNATURES: Final = 8
MAX_DELIVERY_ID: Final = 256
_DIGEST_BYTES: Final = 32
_GENERIC_HEADERS: Final = ("x-hub-signature-256", "x-signature", "x-webhook-signature")
_DECIMAL: Final = re.compile(r"[0-9]{1,15}")
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")
STANDARD_PREFIX: Final = "whsec_"


class Style(StrEnum):
    """Whose way of signing it is."""

    GENERIC = "generic"
    GITHUB = "github"
    STRIPE = "stripe"
    SLACK = "slack"
    STANDARD = "standard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """A style, with what its sender calls things; header names in lower case."""

    style: Style = Style.GENERIC
    signature_header: str | None = None
    timestamp_header: str | None = None
    delivery_id_header: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a check. `reason` is for the trigger's owner, never for the sender.

    `delivery` is what a repetition of it has in common with it and no other delivery has; None
    where there is no such thing. `is_named`: its sender says what that is, and may send it again
    days later under a new signature.
    """

    is_genuine: bool
    reason: str = ""
    delivery: str | None = None
    is_named: bool = False


@dataclass(frozen=True, slots=True)
class _Claimed:
    """What a request says of itself: the bytes it says it signed, and the signatures on them."""

    signatures: tuple[str, ...]
    signed: bytes
    timestamp: str | None
    is_timed: bool
    decode: Callable[[str], bytes]


def verify(
    signing: Signing, keys: Iterable[str], headers: Headers, body: bytes, *, now: float
) -> Verdict:
    """Whether the request comes from whoever has one of the secrets, within the window.

    Whatever is wrong with it, the same work is done: the signature is computed for every key and
    compared with all that was sent, so that the time taken tells nothing.
    """
    claimed = _READERS[signing.style](signing, headers, body)
    candidates = [_exact(claimed.decode, text) for text in claimed.signatures[:MAX_SIGNATURES]]
    matches = False
    for key in keys:
        expected = hmac.digest(key_bytes(signing.style, key), claimed.signed, "sha256")
        for candidate in candidates or [b""]:
            matches |= hmac.compare_digest(expected, candidate)
    if not claimed.signatures:
        return Verdict(is_genuine=False, reason="It carries no signature.")
    if claimed.is_timed and not is_fresh(claimed.timestamp, now):
        late = "Its timestamp is missing, or further than five minutes from now."
        return Verdict(is_genuine=False, reason=late)
    if not matches:
        return Verdict(is_genuine=False, reason="Its signature does not fit secret and body.")
    named = delivery_id(signing, headers, body)
    if named is not None:
        return Verdict(is_genuine=True, delivery=named, is_named=True)
    # What is signed holds its time, so that only a repetition is signed alike.
    again = f"signed:{hashlib.sha256(claimed.signed).hexdigest()}" if claimed.is_timed else None
    return Verdict(is_genuine=True, delivery=again)


def is_fresh(timestamp: str | None, now: float) -> bool:
    """Whether a Unix time in seconds lies within the window around now."""
    if timestamp is None or not _DECIMAL.fullmatch(timestamp):
        return False
    return abs(int(timestamp) - now) <= WINDOW_SECONDS


def new_secret(style: Style) -> str:
    """A secret of 256 random bits, in the form that senders of this style take."""
    if style == Style.STANDARD:
        return STANDARD_PREFIX + base64.b64encode(randomness.token_bytes(32)).decode()
    return randomness.token_hex(32)


def key_bytes(style: Style, secret: str) -> bytes:
    """The key that a secret stands for. Raises ValueError for one that is not of the style."""
    if style != Style.STANDARD:
        return secret.encode()
    return base64.b64decode(secret.removeprefix(STANDARD_PREFIX), validate=True)


# ---- what each style sends ----------------------------------------------------------------------


def _generic(signing: Signing, headers: Headers, body: bytes) -> _Claimed:
    names = (signing.signature_header,) if signing.signature_header else _GENERIC_HEADERS
    sent = next((headers[name] for name in names if name in headers), "").strip()
    algorithm, separator, rest = sent.partition("=")
    # `sha256=<hex>`; in Base64 a text may end with the sign, but never begin so.
    signature = rest if separator and algorithm.lower() in ("sha256", "v0", "v1") else sent
    found = (signature,) if signature else ()
    if signing.timestamp_header is None:
        return _Claimed(found, body, None, False, _hex_or_base64)
    timestamp = headers.get(signing.timestamp_header, "").strip()
    return _Claimed(found, b".".join((_ascii(timestamp), body)), timestamp, True, _hex_or_base64)


def _github(signing: Signing, headers: Headers, body: bytes) -> _Claimed:
    found = _after(headers.get("x-hub-signature-256", ""), "sha256=")
    return _Claimed(found, body, None, False, _from_hex)


def _stripe(signing: Signing, headers: Headers, body: bytes) -> _Claimed:
    pairs = [part.strip().partition("=") for part in headers.get("stripe-signature", "").split(",")]
    timestamp = next((value for key, _, value in pairs if key == "t"), "")
    found = tuple(value for key, _, value in pairs if key == "v1" and value)
    return _Claimed(found, b".".join((_ascii(timestamp), body)), timestamp, True, _from_hex)


def _slack(signing: Signing, headers: Headers, body: bytes) -> _Claimed:
    timestamp = headers.get("x-slack-request-timestamp", "").strip()
    found = _after(headers.get("x-slack-signature", ""), "v0=")
    return _Claimed(found, b":".join((b"v0", _ascii(timestamp), body)), timestamp, True, _from_hex)


def _standard(signing: Signing, headers: Headers, body: bytes) -> _Claimed:
    timestamp = headers.get("webhook-timestamp", "").strip()
    signed = b".".join((_ascii(headers.get("webhook-id", "")), _ascii(timestamp), body))
    sent = headers.get("webhook-signature", "").split()
    found = tuple(text[3:] for text in sent if text.startswith("v1,") and len(text) > 3)
    return _Claimed(found, signed, timestamp, True, _from_base64)


_READERS: Final[dict[Style, Callable[[Signing, Headers, bytes], _Claimed]]] = {
    Style.GENERIC: _generic,
    Style.GITHUB: _github,
    Style.STRIPE: _stripe,
    Style.SLACK: _slack,
    Style.STANDARD: _standard,
}


# ---- which delivery it is -----------------------------------------------------------------------


def delivery_id(signing: Signing, headers: Headers, body: bytes) -> str | None:
    """The id that the sender gave the delivery; None where it gave none that can be kept."""
    if signing.delivery_id_header is not None:
        found: Json = headers.get(signing.delivery_id_header)
    elif signing.style == Style.GITHUB:
        found = headers.get("x-github-delivery")
    elif signing.style == Style.STANDARD:
        found = headers.get("webhook-id")
    elif signing.style == Style.STRIPE:
        found = _field(body, "id")
    elif signing.style == Style.SLACK:
        found = _field(body, "event_id")
    else:
        found = None
    if not isinstance(found, str) or not (found := found.strip()):
        return None
    # As it is where that can be stored and looked for; else by its digest.
    if len(found) <= MAX_DELIVERY_ID and found.isprintable():
        return f"id:{found}"
    return f"id-sha256:{hashlib.sha256(found.encode('utf-8', 'replace')).hexdigest()}"


def _field(body: bytes, name: str) -> Json:
    if not body.lstrip().startswith(b"{"):
        return None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found.get(name) if isinstance(found, dict) else None


# ---- spellings ----------------------------------------------------------------------------------


def _after(text: str, prefix: str) -> tuple[str, ...]:
    text = text.strip()
    return (text[len(prefix) :],) if text.startswith(prefix) else ()


def _ascii(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _exact(decode: Callable[[str], bytes], text: str) -> bytes:
    """The digest that a text spells; one that fits nothing where it spells none."""
    try:
        digest = decode(text)
    except (ValueError, binascii.Error):
        return b""
    return digest if len(digest) == _DIGEST_BYTES else b""


def _from_hex(text: str) -> bytes:
    # `bytes.fromhex` would skip white space.
    return bytes.fromhex(text) if _HEX.fullmatch(text) else b""


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _hex_or_base64(text: str) -> bytes:
    return _from_hex(text) or _from_base64(text)
