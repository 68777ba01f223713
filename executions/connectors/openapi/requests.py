"""Makes the request of an operation from the parameters of a node."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from executions.connections import Credentials
from executions.connectors import CallRefused
from executions.connectors.openapi.document import follow
from executions.connectors.openapi.operations import ApiOperation, Parameter
from executions.connectors.openapi.schemas import Schemas, coerced
from executions.outbound import bodies, logins
from executions.outbound.logins import Login
from executions.rules.comparisons import to_text

Json = Any

_HOLE = re.compile(r"\{([^{}]+)\}")


@dataclass(slots=True, kw_only=True)
class Request:
    """What is sent."""

    path: str = ""
    params: list[tuple[str, str]] = field(default_factory=list)
    headers: list[tuple[str, str]] = field(default_factory=list)
    cookies: list[tuple[str, str]] = field(default_factory=list)
    content: bytes | None = None


class Builder:
    """Builds the requests of one document."""

    def __init__(self, document: Mapping[str, Json]) -> None:
        self._document = document
        self._schemas = Schemas(document)

    def build(self, operation: ApiOperation, given: Mapping[str, Json]) -> Request:
        """The request, every value checked. Raises CallRefused naming what does not fit."""
        values, body = self._sort(operation, given)
        request = Request(path=operation.path)
        for each in operation.parameters:
            if each.name not in values:
                if each.is_required:
                    raise CallRefused(
                        f"{operation.name}: the {each.place} parameter {each.name!r} is missing; "
                        "fill it in.",
                        field=each.name,
                    )
                continue
            schema = follow(self._document, each.schema)
            value = coerced(schema, values[each.name])
            self._schemas.check(each.schema, value, what=f"{operation.name}: {each.name}")
            _place(request, each, value)
        holes = _HOLE.findall(request.path)
        if holes:
            raise CallRefused(f"{operation.name}: the path has no value for {holes[0]!r}.")
        self._add_body(request, operation, body)
        return request

    def _sort(
        self, operation: ApiOperation, given: Mapping[str, Json]
    ) -> tuple[dict[str, Json], Json]:
        """The given values as parameters and body; what is no parameter is part of the body."""
        names = {each.name: each.name for each in operation.parameters}
        names |= {
            each.name.lower(): each.name for each in operation.parameters if each.place == "header"
        }
        values: dict[str, Json] = {}
        rest: dict[str, Json] = {}
        for key, value in given.items():
            name = names.get(key) or names.get(key.lower())
            if name is not None:
                # null leaves an optional parameter out.
                if value is not None:
                    values[name] = value
            else:
                rest[key] = value
        body = rest.pop("body", None) if operation.body is not None else None
        if not rest:
            return values, body
        if operation.body is None or not isinstance(body, dict | None):
            unknown = ", ".join(repr(key) for key in rest)
            known = ", ".join(sorted({each.name for each in operation.parameters})) or "none"
            raise CallRefused(f"{operation.name} takes no {unknown}; its parameters are {known}.")
        return values, {**rest, **(body or {})}

    def _add_body(self, request: Request, operation: ApiOperation, body: Json) -> None:
        described = operation.body
        if described is None:
            return
        if body is None:
            if described.is_required:
                raise CallRefused(f"{operation.name}: `body` is missing.", field="body")
            return
        kind = next((each for each in described.kinds if _is_known(each)), None)
        if kind is None:
            listed = ", ".join(described.kinds)
            raise CallRefused(f"{operation.name} takes {listed}, which cannot be made here.")
        if "json" in kind and isinstance(body, str):
            body = _from_text(body)
        schema = described.kinds[kind]
        if kind != "multipart/form-data" and not _is_text(kind):
            self._schemas.check(schema, body, what=f"{operation.name}: body")
        request.content, kind = _content(kind, body)
        request.headers.append(("Content-Type", kind))


def _is_known(kind: str) -> bool:
    known = ("application/x-www-form-urlencoded", "multipart/form-data", "application/octet-stream")
    return "json" in kind or kind in known or _is_text(kind) or kind == "*/*"


def _is_text(kind: str) -> bool:
    return kind.startswith("text/") or kind.endswith(("/xml", "+xml"))


def _from_text(body: str) -> Json:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body


def _content(kind: str, body: Json) -> tuple[bytes, str]:
    if "json" in kind or kind == "*/*":
        return bodies.as_json(body), "application/json" if kind == "*/*" else kind
    if kind == "application/x-www-form-urlencoded":
        return bodies.as_form(bodies.pairs_of(body)), kind
    if kind == "multipart/form-data":
        return bodies.as_multipart(bodies.pairs_of(body))
    if kind == "application/octet-stream":
        return bodies.as_bytes(body), kind
    return to_text(body).encode(), kind


def _place(request: Request, each: Parameter, value: Json) -> None:
    if each.place == "query":
        request.params += _query(each, value)
        return
    text = json.dumps(value) if each.is_json else _simple(value, explode=each.explode)
    if each.place == "path":
        # The server would take these as steps in the path and not as a value.
        if text in ("", ".", ".."):
            raise CallRefused(f"The path parameter {each.name!r} cannot be {text!r}.")
        request.path = request.path.replace(f"{{{each.name}}}", quote(text, safe=""))
    elif each.place == "header":
        request.headers.append((each.name, text))
    else:
        request.cookies.append((each.name, quote(text, safe="")))


def _simple(value: Json, *, explode: bool) -> str:
    if isinstance(value, list):
        return ",".join(to_text(item) for item in value)
    if isinstance(value, Mapping):
        joint = "=" if explode else ","
        return ",".join(f"{key}{joint}{to_text(item)}" for key, item in value.items())
    return to_text(value)


def _query(each: Parameter, value: Json) -> list[tuple[str, str]]:
    if each.is_json:
        return [(each.name, json.dumps(value))]
    if isinstance(value, Mapping):
        if each.style == "deepObject":
            return [(f"{each.name}[{key}]", to_text(item)) for key, item in value.items()]
        if each.explode:
            return [(str(key), to_text(item)) for key, item in value.items()]
        return [(each.name, _simple(value, explode=False))]
    if isinstance(value, list):
        texts = [to_text(item) for item in value]
        if each.explode and each.style not in ("spaceDelimited", "pipeDelimited"):
            return [(each.name, text) for text in texts]
        joint = {"spaceDelimited": " ", "pipeDelimited": "|"}.get(each.style, ",")
        return [(each.name, joint.join(texts))]
    return [(each.name, to_text(value))]


def login_for(
    document: Mapping[str, Json], operation: ApiOperation, found: Credentials | None, provider: str
) -> Login:
    """The login that the document asks for, from the connection. Raises CallRefused."""
    if operation.security is None or not any(operation.security):
        # Nothing is asked for; a connection that was named or found is used all the same.
        has_login = found is not None and found.secrets and operation.security is None
        return logins.of_connection(found) if found is not None and has_login else Login()
    components = document.get("components")
    schemes = components.get("securitySchemes") if isinstance(components, Mapping) else None
    known = schemes if isinstance(schemes, Mapping) else {}
    for names in operation.security:
        parts = [_login(follow(document, known.get(name)), name, found) for name in names]
        if names and all(part is not None for part in parts):
            return _joined([part for part in parts if part is not None])
    if () in operation.security:
        return Login()
    wanted = " or ".join(" and ".join(names) for names in operation.security)
    if found is None:
        raise CallRefused(
            f"{operation.name} needs a login ({wanted}); add one with `manage.py add_connection "
            f"NAME --provider {provider} --secret …=-`.",
            field="connection",
        )
    raise CallRefused(
        f"Connection {found.name!r} has no login of the kind that {operation.name} needs "
        f"({wanted}); store username and password, token, or apiKey.",
        field="connection",
    )


def _login(scheme: Json, name: str, found: Credentials | None) -> Login | None:
    """The login of one scheme, or None when the connection has nothing for it."""
    if not isinstance(scheme, Mapping) or found is None:
        return None
    kind = str(scheme.get("type", "")).lower()
    token = found.get(name, "token", "accessToken", "access_token")
    if kind == "apikey":
        value = found.get(name, "apiKey", "api_key", "key", "token")
        place, title = str(scheme.get("in", "header")), str(scheme.get("name", logins.KEY_HEADER))
        return logins.key(value, place=place, name=title) if value else None
    if kind == "http" and str(scheme.get("scheme", "")).lower() == "basic":
        user, password = found.get("username", "user"), found.get("password")
        return logins.basic_of(user, password) if user or password else None
    if kind in ("http", "oauth2", "openidconnect"):
        token = token or found.get("apiKey", "api_key", "key")
        return logins.bearer(token) if token else None
    return None


def _joined(parts: list[Login]) -> Login:
    return Login(
        headers=[pair for part in parts for pair in part.headers],
        params=[pair for part in parts for pair in part.params],
        cookies=[pair for part in parts for pair in part.cookies],
    )
