"""http: call an address over HTTP; a 4xx or 5xx answer is a result, not a failure."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any, Literal
from urllib.parse import urlencode

from pydantic import Field

from executions import connections, masking, outbound
from executions.connections import Credentials
from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, node
from executions.nodes.output import parsed
from executions.outbound import bodies, logins
from executions.outbound.answers import data_of, headers_of, retry_after
from executions.outbound.logins import Login
from executions.rules.comparisons import to_number, to_text

Json = Any

_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
MAX_SECONDS = 300.0
RETRIED = (429, 502, 503, 504)
_BODY_KINDS = {
    "none": "json", "": "json", "text": "raw", "xml": "raw", "urlencoded": "form",
    "x-www-form-urlencoded": "form", "application/x-www-form-urlencoded": "form",
    "formdata": "multipart", "form-data": "multipart", "multipart/form-data": "multipart",
    "application/json": "json", "file": "binary",
}  # fmt: skip
_PROVIDERS = frozenset({"http", "https", "rest", "api"})
_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})


class HttpConfig(NodeConfig):
    """The request. Headers and query are objects, or lists of key and value."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] = Field(
        "GET", title="Method"
    )
    url: str = Field(..., title="Address", min_length=1)
    headers: tuple[tuple[str, Json], ...] = Field((), title="Headers")
    query_params: tuple[tuple[str, Json], ...] = Field((), title="Query")
    connection: str | None = Field(
        None, title="Connection", description="By id or name; instead of a login written here"
    )
    auth_type: Literal["none", "basic", "bearer", "apiKey"] = Field("none", title="Login")
    auth_credentials: Json = Field(None, title="Credentials")
    body_type: Literal["json", "form", "multipart", "raw", "binary"] = Field(
        "json", title="Body kind"
    )
    body: Json = Field(None, title="Body")
    timeout: Json = Field(30, title="Timeout", description="Seconds, for all attempts together")
    retry_count: int = Field(0, title="Retries", ge=0, le=5)
    retry_statuses: tuple[int, ...] = Field(
        RETRIED, title="Statuses tried again", description="Only when there are retries"
    )


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    config["method"] = str(config.get("method") or "GET").upper()
    config["headers"] = bodies.pairs_of(config.get("headers"))
    config["queryParams"] = bodies.pairs_of(
        config.get("queryParams") or config.get("params") or config.get("query")
    )
    auth = config.get("authentication", config.get("auth"))
    if isinstance(auth, dict):
        config.setdefault("authType", auth.get("type"))
        config.setdefault("authCredentials", {k: v for k, v in auth.items() if k != "type"})
    config["authType"] = logins.kind_of(config.get("authType"))
    config["connection"] = config.get("connectionId") or config.get("connection") or None
    kind = str(config.get("bodyType") or "").strip().lower()
    config["bodyType"] = _BODY_KINDS.get(kind, kind)
    for key in ("timeout", "retryCount", "retryStatuses"):
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
    headers = [(key, render.text(value)) for key, value in config.headers]
    params = [(key, render.text(value)) for key, value in config.query_params]
    if config.connection:
        url, login = await _of_connection(call, url)
    else:
        login = logins.of_values(config.auth_type, render.value(config.auth_credentials))
    if "{{" in url:
        raise BadConfig(f"The address {url[:200]!r} still has an unknown name in it.", field="url")
    content = _body(call, headers) if config.method in _WITH_BODY else None
    headers += login.headers
    if login.cookies:
        headers.append(("Cookie", "; ".join(f"{name}={value}" for name, value in login.cookies)))
    _hide_environment(call, headers, login)
    response = await _request_with_retries(
        config, url, headers=headers, params=[*params, *login.params], content=content,
        secret_headers=login.secret_headers,
    )  # fmt: skip
    return NodeResult(output=call.wrap(_result(response)))


async def _of_connection(call: NodeCall[HttpConfig], url: str) -> tuple[str, Login]:
    """The whole address and the login of the connection that the node names."""
    reference = call.render.text(call.config.connection).strip()
    found: Credentials = await connections.in_thread(
        connections.resolve, reference, workspace=call.workspace
    )
    base = logins.base_of(found)
    if not base and found.provider.lower() not in _PROVIDERS:
        # Else any workflow could send the secrets of any connection to any place.
        raise BadConfig(
            f"Connection {found.name!r} is for {found.provider!r}; an http node takes connections "
            "of the provider 'http', or with a field baseUrl that says where they may be used.",
            field="connection",
        )
    if base and not _ABSOLUTE.match(url):
        url = f"{base}/{url.lstrip('/')}"
    logins.check_place(found, url)
    return url, logins.of_connection(found)


def _hide_environment(
    call: NodeCall[HttpConfig], headers: list[tuple[str, str]], login: Login
) -> None:
    """Hides what a login takes from the environment; unlike the definition, nobody sees that."""
    environment = call.scope.get("env")
    if not isinstance(environment, dict) or not masking.is_hiding():
        return
    credentials = to_text(call.render.value(call.config.auth_credentials))
    sent = [value for key, value in headers if key.lower() in _SECRET_HEADERS]
    texts = [credentials, *sent, *(value for _, value in login.params)]
    for value in environment.values():
        if isinstance(value, str) and value and any(value in text for text in texts):
            masking.hide(value)
            if value in credentials:
                masking.hide(*(text.removeprefix("Basic ") for text in sent))


def seconds_of(config: HttpConfig) -> float:
    """The budget of a request in seconds, all attempts together."""
    number = to_number(config.timeout)
    return min(MAX_SECONDS, number) if number > 0 else 30.0


async def _request_with_retries(
    config: HttpConfig, url: str, **options: Any
) -> outbound.OutboundResponse:
    """One budget of time for all attempts, after network errors and the statuses named."""
    deadline = time.monotonic() + seconds_of(config)
    attempt = 0
    while True:
        left = deadline - time.monotonic()
        failure: outbound.OutboundFailed | None = None
        response: outbound.OutboundResponse | None = None
        delay = min(10.0, 2.0**attempt)
        try:
            response = await outbound.request(
                config.method, url, timeout=max(0.05, left), **options
            )
        except outbound.OutboundFailed as error:
            failure = error
        else:
            if response.status not in config.retry_statuses:
                return response
            asked = retry_after(response)
            delay = delay if asked is None else asked
        attempt += 1
        if attempt > config.retry_count or time.monotonic() + delay >= deadline:
            if failure is not None:
                raise failure
            assert response is not None
            return response
        await asyncio.sleep(delay)


def _body(call: NodeCall[HttpConfig], headers: list[tuple[str, str]]) -> bytes | None:
    config, render = call.config, call.render
    if config.body is None or config.body == "":
        return None
    kind, content = "", b""
    if config.body_type == "json":
        content, kind = bodies.as_json(_json_body(call)), "application/json"
    elif config.body_type == "form":
        value = parsed(render.value(config.body))
        pairs = bodies.pairs_of(value)
        texts = [(key, to_text(item)) for key, item in pairs]
        content = urlencode(texts).encode() if pairs else to_text(value).encode()
        kind = "application/x-www-form-urlencoded"
    elif config.body_type == "multipart":
        pairs = bodies.pairs_of(parsed(render.value(config.body)))
        content, kind = bodies.as_multipart(pairs)
        # The boundary is in it: any other one would be wrong.
        headers[:] = [pair for pair in headers if pair[0].lower() != "content-type"]
    elif config.body_type == "binary":
        content, kind = bodies.as_bytes(render.value(config.body)), "application/octet-stream"
    else:
        content = render.text(config.body).encode()
    if kind and not any(key.lower() == "content-type" for key, _ in headers):
        headers.append(("Content-Type", kind))
    return content


def _json_body(call: NodeCall[HttpConfig]) -> Json:
    body, render = call.config.body, call.render
    if not isinstance(body, str):
        return render.value(body)
    value = render.structured(body)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise BadConfig(f"The body is not JSON: {error}.", field="body") from error


def _result(response: outbound.OutboundResponse) -> dict[str, Json]:
    return {
        "status": response.status,
        "statusText": response.reason,
        "headers": headers_of(response),
        "data": data_of(response),
        "responseTime": round(response.seconds * 1000),
    }
