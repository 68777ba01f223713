"""Reads the environment: each value once, checked, with an error that names the variable."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})


def bad(name: str, value: str, expected: str) -> ImproperlyConfigured:
    """The error for a variable whose value is not what it takes."""
    return ImproperlyConfigured(f"{name} is {value!r}; it takes {expected}.")


def text(name: str, default: str = "", *, choices: Sequence[str] = ()) -> str:
    """The variable's value without surrounding blanks; an empty one counts as unset."""
    value = os.environ.get(name, "").strip() or default
    if choices and value not in choices:
        raise bad(name, value, "one of " + ", ".join(choices))
    return value


def integer(name: str, default: int, *, minimum: int = 0, maximum: int | None = None) -> int:
    """A whole number within bounds."""
    raw = text(name)
    if not raw:
        return default
    bounds = f"from {minimum} to {maximum}" if maximum is not None else f"of at least {minimum}"
    try:
        value = int(raw)
    except ValueError:
        raise bad(name, raw, f"a whole number {bounds}") from None
    if value < minimum or (maximum is not None and value > maximum):
        raise bad(name, raw, f"a whole number {bounds}")
    return value


def number(name: str, default: float, *, minimum: float = 0.0) -> float:
    """A finite decimal number of at least `minimum`."""
    raw = text(name)
    if not raw:
        return default
    try:
        value = float(raw)
    except ValueError:
        raise bad(name, raw, f"a number of at least {minimum:g}") from None
    if not minimum <= value < float("inf"):
        raise bad(name, raw, f"a number of at least {minimum:g}")
    return value


def boolean(name: str, default: bool) -> bool:
    """True or false, in the usual spellings."""
    raw = text(name).lower()
    if not raw:
        return default
    if raw in TRUE:
        return True
    if raw in FALSE:
        return False
    raise bad(name, raw, "true or false")


def listing(name: str, default: Sequence[str] = ()) -> tuple[str, ...]:
    """Comma-separated words; empty ones are dropped."""
    raw = text(name)
    if not raw:
        return tuple(default)
    return tuple(part.strip() for part in raw.split(",") if part.strip())


def secret(name: str) -> str:
    """A secret from `name`, or from the file that `name`_FILE names; empty when neither is set."""
    value, file = text(name), text(f"{name}_FILE")
    if value and file:
        raise ImproperlyConfigured(f"{name} and {name}_FILE are both set; use one of them.")
    if not file:
        return value
    try:
        value = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(
            f"{name}_FILE names a file that cannot be read: {error}"
        ) from None
    if not value:
        raise ImproperlyConfigured(f"{name}_FILE names the file {file}, which is empty.")
    return value


def database(name: str) -> dict[str, object] | None:
    """Django's database settings from a postgresql:// URL; None when the variable is unset.

    Query parameters become libpq options, so `?host=/run/postgresql` and `?sslmode=require` work.
    The value is never repeated in an error, since it may hold a password.
    """
    raw = secret(name)
    if not raw:
        return None
    try:
        url = urlsplit(raw)
        port = url.port
        options = dict(parse_qsl(url.query, strict_parsing=bool(url.query)))
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is not a database URL: {error}.") from None
    dbname = unquote(url.path.lstrip("/")) or options.pop("dbname", "")
    if url.scheme not in ("postgres", "postgresql") or not dbname:
        raise ImproperlyConfigured(f"{name} takes postgresql://user:password@host:port/database.")
    host = unquote(url.hostname or "") or options.pop("host", "")
    return {
        "NAME": dbname,
        "USER": unquote(url.username or "") or options.pop("user", ""),
        "PASSWORD": unquote(url.password or "") or options.pop("password", ""),
        "HOST": host,
        "PORT": str(port or options.pop("port", "")),
        "OPTIONS": options,
    }
