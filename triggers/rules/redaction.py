"""Which headers of a request hold secrets, and are kept without their values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

HIDDEN: Final = "••••"
_WORDS: Final = re.compile(r"auth|cookie|credential|key|passw|secret|session|sign|token|jwt|hmac")
# What the words would take for a secret and is none.
_HARMLESS: Final = frozenset({"idempotency-key", "x-idempotency-key", "sec-websocket-key"})


def is_secret(header: str, more: Iterable[str] = ()) -> bool:
    """Whether a header, in lower case, may hold a secret; `more` are some that do."""
    if header in more:
        return True
    return header not in _HARMLESS and _WORDS.search(header) is not None


def hide_headers(headers: Mapping[str, str], more: Iterable[str] = ()) -> dict[str, str]:
    """The headers, those that may hold a secret without their values."""
    return {name: HIDDEN if is_secret(name, more) else value for name, value in headers.items()}
