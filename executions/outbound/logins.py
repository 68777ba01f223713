"""How credentials become part of an HTTP request, and what of that must be hidden."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from executions import masking
from executions.connections import Credentials
from executions.errors import Invalid
from executions.rules.comparisons import to_text

Json = Any

KEY_HEADER = "X-API-Key"
KINDS = {
    "apikey": "apiKey", "api_key": "apiKey", "api-key": "apiKey", "oauth2": "bearer",
    "oauth": "bearer", "token": "bearer", "bearertoken": "bearer", "basicauth": "basic",
}  # fmt: skip
_TOKENS = ("token", "accessToken", "access_token", "bearerToken")
_KEYS = ("apiKey", "api_key", "key", "value", "token")


class BadLogin(Invalid):
    """There is no way to log in with what is given."""

    code = "bad_login"
    non_retryable = True


@dataclass(slots=True, kw_only=True)
class Login:
    """What a login adds to a request; `secret_headers` may not follow to another site."""

    headers: list[tuple[str, str]] = field(default_factory=list)
    params: list[tuple[str, str]] = field(default_factory=list)
    cookies: list[tuple[str, str]] = field(default_factory=list)

    @property
    def secret_headers(self) -> frozenset[str]:
        """The names of the headers, in lower case."""
        return frozenset(name.lower() for name, _ in self.headers)


def kind_of(name: object) -> str:
    """The kind of login by any of its names; `none` without one."""
    text = str(name or "none").strip()
    return KINDS.get(text.lower(), text.lower())


def basic(pair: str) -> Login:
    """HTTP's basic login with `user:password`."""
    return Login(headers=[("Authorization", f"Basic {_encoded(pair)}")])


def _encoded(pair: str) -> str:
    return base64.b64encode(pair.encode()).decode()


def bearer(token: str) -> Login:
    """A token, as OAuth 2 sends it."""
    return Login(headers=[("Authorization", f"Bearer {token}")])


def key(value: str, *, place: str = "header", name: str = KEY_HEADER) -> Login:
    """An API key in a header, the query or a cookie."""
    if place == "query":
        return Login(params=[(name, value)])
    if place == "cookie":
        return Login(cookies=[(name, value)])
    return Login(headers=[(name, value)])


def basic_of(user: str, password: str) -> Login:
    """HTTP's basic login with stored credentials."""
    pair = f"{user}:{password}"
    # Who has the encoded pair has the password.
    masking.hide(_encoded(pair))
    return basic(pair)


def of_values(kind: str, given: Json) -> Login:
    """The login that a node's own config spells out. Raises BadLogin."""
    if kind == "none":
        return Login()
    fields: Mapping[str, Json] = given if isinstance(given, Mapping) else {}
    plain = to_text(given) if given is not None and not fields else ""
    if kind == "basic":
        if plain:
            return basic(plain)
        user = to_text(fields.get("username", fields.get("user", "")))
        return basic(f"{user}:{to_text(fields.get('password', ''))}")
    secret = plain or to_text(next((fields[k] for k in (*_TOKENS, *_KEYS) if k in fields), ""))
    if not secret:
        raise BadLogin(f"The login {kind} has no credentials.", field="authCredentials")
    if kind == "bearer":
        return bearer(secret)
    place = to_text(fields.get("in", fields.get("addTo", "header"))).lower()
    name = fields.get("header", fields.get("headerName", fields.get("name", KEY_HEADER)))
    return key(secret, place="query" if place.startswith("query") else place, name=to_text(name))


def of_connection(found: Credentials) -> Login:
    """The login of a stored connection: of its field `authType`, else by the secrets it has."""
    kind = kind_of(found.get("authType", "auth_type", "type"))
    token, api_key = found.get(*_TOKENS), found.get(*_KEYS[:-1])
    user, password = found.get("username", "user"), found.get("password")
    if kind == "none":
        kind = "basic" if user or password else "bearer" if token else "apiKey" if api_key else kind
    if kind == "basic" and (user or password):
        return basic_of(user, password)
    if kind == "bearer" and (token or api_key):
        return bearer(token or api_key)
    if kind == "apiKey" and (api_key or token):
        place = found.get("in", "addTo", default="header").lower()
        name = found.get("header", "headerName", "paramName", default=KEY_HEADER)
        return key(api_key or token, place=place, name=name)
    raise BadLogin(
        f"Connection {found.name!r} has no login of the kind {kind!r}; store username and "
        "password, token, or apiKey.",
        field="connection",
    )


def base_of(found: Credentials) -> str:
    """The address that the connection is for, or nothing."""
    return found.get("baseUrl", "base_url", "url").rstrip("/")


def check_place(found: Credentials, url: str) -> None:
    """Sees that a connection with an address goes nowhere else. Raises BadLogin."""
    base = base_of(found)
    if not base:
        return
    here, there = urlsplit(url), urlsplit(base)
    path = there.path.rstrip("/")
    is_below = not path or here.path == path or here.path.startswith(path + "/")
    steps_out = any(
        part in ("..", "%2e%2e", ".%2e", "%2e.") for part in here.path.lower().split("/")
    )
    if _origin(here) != _origin(there) or not is_below or (path and steps_out):
        raise BadLogin(
            f"Connection {found.name!r} is for {base} only, and not for the address of this "
            "request.",
            field="url",
        )


def _origin(parts: Any) -> tuple[str, str, int | None]:
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme.lower(), (parts.hostname or "").lower(), port
