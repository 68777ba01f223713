"""http: call an address over HTTP; a 4xx or 5xx answer is a result, not a failure."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any, Literal
from urllib.parse import urlencode

from pydantic import Field

from executions import outbound
from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, node
from executions.nodes.output import parsed
from executions.rules.comparisons import to_number, to_text

Json = Any

_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
MAX_SECONDS = 300.0
_KEY_HEADER = "X-API-Key"


class HttpConfig(NodeConfig):
    """The request. Headers and query are objects, or lists of key and value."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] = Field(
        "GET", title="Method"
    )
    url: str = Field(..., title="Address", min_length=1)
    headers: tuple[tuple[str, Json], ...] = Field((), title="Headers")
    query_params: tuple[tuple[str, Json], ...] = Field((), title="Query")
    auth_type: Literal["none", "basic", "bearer", "apiKey"] = Field("none", title="Login")
    auth_credentials: Json = Field(None, title="Credentials")
    body_type: Literal["json", "form", "raw"] = Field("json", title="Body kind")
    body: Json = Field(None, title="Body")
    timeout: Json = Field(30, title="Timeout", description="Seconds, for all attempts together")
    retry_count: int = Field(0, title="Retries", ge=0, le=5)


def _pairs(value: Json) -> list[tuple[str, Json]]:
    if isinstance(value, dict):
        return [(str(key), item) for key, item in value.items()]
    if isinstance(value, list):
        return [
            (str(item.get("key", item.get("name"))), item.get("value", ""))
            for item in value
            if isinstance(item, dict) and item.get("key", item.get("name")) not in (None, "")
        ]
    return []


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    config["method"] = str(config.get("method") or "GET").upper()
    config["headers"] = _pairs(config.get("headers"))
    config["queryParams"] = _pairs(
        config.get("queryParams") or config.get("params") or config.get("query")
    )
    auth = config.get("authentication", config.get("auth"))
    if isinstance(auth, dict):
        config.setdefault("authType", auth.get("type"))
        config.setdefault("authCredentials", {k: v for k, v in auth.items() if k != "type"})
    kind = str(config.get("authType") or "none")
    config["authType"] = {"apikey": "apiKey", "api_key": "apiKey", "api-key": "apiKey"}.get(
        kind.lower(), kind.lower()
    )
    if config.get("bodyType") in (None, "", "none"):
        config["bodyType"] = "json"
    for key in ("timeout", "retryCount"):
        if config.get(key) is None:
            config.pop(key, None)
    return config


@node(
    "http",
    synonyms=("httpRequest", "http-request", "api"),
    title="HTTP request",
    config=HttpConfig,
    effect=Effect.WRITES_OUTSIDE,
    icon="globe",
    own_timeout=True,
    dialect=_dialect,
)
async def http(call: NodeCall[HttpConfig]) -> NodeResult:
    """Call an address over HTTP and go on with what it answers."""
    config, render = call.config, call.render
    url = render.text(config.url).strip()
    if "{{" in url:
        raise BadConfig(f"The address {url[:200]!r} still has an unknown name in it.", field="url")
    headers = [(key, render.text(value)) for key, value in config.headers]
    params = [(key, render.text(value)) for key, value in config.query_params]
    _add_login(call, headers)
    content = _body(call, headers) if config.method in _WITH_BODY else None
    response = await _request_with_retries(
        config, url, headers=headers, params=params, content=content
    )
    return NodeResult(output=call.wrap(_result(response)))


def seconds_of(config: HttpConfig) -> float:
    """The budget of a request in seconds, all attempts together."""
    number = to_number(config.timeout)
    return min(MAX_SECONDS, number) if number > 0 else 30.0


async def _request_with_retries(
    config: HttpConfig, url: str, **options: Any
) -> outbound.OutboundResponse:
    """One budget of time for all attempts; only network errors are tried again."""
    deadline = time.monotonic() + seconds_of(config)
    attempt = 0
    while True:
        left = deadline - time.monotonic()
        try:
            return await outbound.request(config.method, url, timeout=max(0.05, left), **options)
        except outbound.OutboundFailed:
            delay = min(10.0, 2.0**attempt)
            attempt += 1
            if attempt > config.retry_count or time.monotonic() + delay >= deadline:
                raise
            await asyncio.sleep(delay)


def _add_login(call: NodeCall[HttpConfig], headers: list[tuple[str, str]]) -> None:
    kind, source = call.config.auth_type, call.config.auth_credentials
    if kind == "none":
        return
    given = call.render.value(source)
    fields = given if isinstance(given, dict) else {}
    plain = to_text(given) if given is not None and not fields else ""
    if kind == "basic":
        user, password = fields.get("username", ""), fields.get("password", "")
        pair = plain or f"{to_text(user)}:{to_text(password)}"
        value = "Basic " + base64.b64encode(pair.encode()).decode()
        headers.append(("Authorization", value))
        return
    secret = plain or to_text(
        next((fields[k] for k in ("token", "key", "apiKey", "value") if k in fields), "")
    )
    if not secret:
        raise BadConfig(f"The login {kind} has no credentials.", field="authCredentials")
    if kind == "bearer":
        headers.append(("Authorization", f"Bearer {secret}"))
    else:
        headers.append((to_text(fields.get("header", _KEY_HEADER)), secret))


def _body(call: NodeCall[HttpConfig], headers: list[tuple[str, str]]) -> bytes | None:
    config, render = call.config, call.render
    if config.body is None or config.body == "":
        return None
    has_type = any(key.lower() == "content-type" for key, _ in headers)
    if config.body_type == "json":
        value = (
            render.structured(config.body)
            if isinstance(config.body, str)
            else render.value(config.body)
        )
        value = _json_of(value, is_text=isinstance(config.body, str))
        if not has_type:
            headers.append(("Content-Type", "application/json"))
        return json.dumps(value, ensure_ascii=False).encode()
    if config.body_type == "form":
        value = parsed(render.value(config.body))
        pairs = _pairs(value)
        if not has_type:
            headers.append(("Content-Type", "application/x-www-form-urlencoded"))
        if not pairs:
            return to_text(value).encode()
        return urlencode([(key, to_text(item)) for key, item in pairs]).encode()
    return render.text(config.body).encode()


def _json_of(value: Json, *, is_text: bool) -> Json:
    if not (is_text and isinstance(value, str)):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise BadConfig(f"The body is not JSON: {error}.", field="body") from error


def _result(response: outbound.OutboundResponse) -> dict[str, Json]:
    text = response.text
    kind = response.header("content-type").lower()
    data = parsed(text) if "json" in kind or text.lstrip()[:1] in ("{", "[") else text
    headers: dict[str, str] = {}
    for key, value in response.headers:
        name = key.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return {
        "status": response.status,
        "statusText": response.reason,
        "headers": headers,
        "data": data,
        "responseTime": round(response.seconds * 1000),
    }
