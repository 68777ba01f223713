"""Keeps the secrets that a node uses out of what it gives back, its errors and its log lines.

Whoever obtains a secret for a node names it to `hide`; until the attempt ends it is replaced, as it
is and in the usual encodings, in everything that leaves the node.
"""

from __future__ import annotations

import base64
import html
import json
import logging
import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote, quote_plus

from executions.errors import Conflict, FlowMaestroError

Json = Any

MASK = "••••"
# Shorter texts stand in every output by chance.
SHORTEST = 4


class Mask:
    """The secrets of one attempt."""

    __slots__ = ("_known", "_pattern")

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, secret: str) -> None:
        """Hides a secret from now on, in every spelling that outputs usually have."""
        if len(secret) >= SHORTEST and secret not in self._known:
            self._known.update(spelling for spelling in _spellings(secret) if spelling)
            longest_first = sorted(self._known, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def text(self, text: str) -> str:
        """The text without secrets."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)

    def value(self, value: Json) -> Json:
        """A JSON value without secrets, in its keys and numbers too."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                self.text(key) if isinstance(key, str) else key: self.value(item)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            return MASK if str(value) in self._known else value
        return value

    def error(self, error: Exception) -> Exception:
        """The error, or one of its name without the secrets that it, or a cause of it, shows."""
        if self._pattern is None or not self._pattern.search(_shown(error)):
            return error
        is_ours = isinstance(error, FlowMaestroError)
        kind = type(type(error).__name__, (FlowMaestroError if is_ours else Exception,), {})
        clean: Exception = kind(self.text(str(error)))
        for name in ("code", "field", "non_retryable", "retry_after"):
            if hasattr(error, name):
                setattr(clean, name, self.value(getattr(error, name)))
        return clean.with_traceback(error.__traceback__)


def _spellings(secret: str) -> set[str]:
    data = secret.encode(errors="surrogatepass")
    encoded = base64.b64encode(data).decode()
    return {
        secret,
        quote(data),
        quote(data, safe=""),
        quote_plus(data),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        html.escape(secret),
        repr(secret)[1:-1],
        # What reads a header's UTF-8 as Latin-1.
        data.decode("latin-1"),
        data.hex(),
        encoded,
        encoded.rstrip("="),
        base64.urlsafe_b64encode(data).decode(),
    }


def _shown(error: BaseException) -> str:
    """All that storing or logging the error would show."""
    try:
        return "".join(traceback.format_exception(error)) + str(error)
    except Exception:
        return str(error)


_current: ContextVar[Mask | None] = ContextVar("secrets_of_the_attempt", default=None)


@contextmanager
def hiding() -> Iterator[Mask]:
    """The length of an attempt: what `hide` is told inside stays hidden until its end."""
    mask = Mask()
    token = _current.set(mask)
    try:
        yield mask
    finally:
        _current.reset(token)


def is_hiding() -> bool:
    """Whether secrets are hidden here, so that a node may have some."""
    return _current.get() is not None


def hide(*secrets: str) -> None:
    """Hides these for the rest of the attempt. Raises Conflict outside of one."""
    mask = _current.get()
    if mask is None:
        raise Conflict("Secrets are for the body of a node only, where they are kept hidden.")
    for secret in secrets:
        mask.add(secret)


class SecretFilter(logging.Filter):
    """Takes the secrets of the attempt that logs a line out of that line."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Changes the record where needed; every record passes."""
        mask = _current.get()
        if mask is None:
            return True
        message = record.getMessage()
        clean = mask.text(message)
        if clean != message:
            record.msg, record.args = clean, ()
        if record.exc_info and record.exc_info[1] is not None:
            trace = "".join(traceback.format_exception(record.exc_info[1]))
            clean = mask.text(trace)
            if clean != trace:
                record.exc_info, record.exc_text = None, clean
        return True


# Addresses that are permissions themselves: of wait tokens, and of uploads.
_ADDRESS = re.compile(r"(/waitpoints/tokens/[^/\s]*/callback/|/v1/uploads/)[^\s\"'<>?#,)\]]+")


class AddressFilter(logging.Filter):
    """Takes the secret out of the addresses in a log line: requests are logged with their paths."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Changes the record where needed; every record passes."""
        message = record.getMessage()
        clean = _ADDRESS.sub(rf"\1{MASK}", message)
        if clean != message:
            record.msg, record.args = clean, ()
        if record.exc_info and record.exc_info[1] is not None:
            trace = "".join(traceback.format_exception(record.exc_info[1]))
            clean = _ADDRESS.sub(rf"\1{MASK}", trace)
            if clean != trace:
                record.exc_info, record.exc_text = None, clean
        return True
