"""http-openapi: every API that an OpenAPI document describes, under the name it was given."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from executions import outbound
from executions.connections import Credentials
from executions.connectors import (
    Answer,
    CallFailed,
    CallRefused,
    Connector,
    Operation,
    register_source,
)
from executions.connectors.openapi.operations import ApiOperation, operations_of, schema_of
from executions.connectors.openapi.requests import Builder, login_for
from executions.engine.bodies import current_step
from executions.models import ApiDescription
from executions.outbound import OutboundResponse, logins
from executions.outbound.answers import data_of, headers_of, retry_after

Json = Any

TIMEOUT = 60.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_WAIT = 3600.0
_KEPT = 32
_MESSAGES = ("message", "error_description", "detail", "title", "description", "error", "errors")


class OpenApiConnector(Connector):
    """The operations of one document."""

    def __init__(self, provider: str, title: str, document: Mapping[str, Json], base: str) -> None:
        self._provider = provider
        self._title = title
        self._document = document
        self._base = base
        self._operations = operations_of(document)
        self._builder = Builder(document)
        self._labels = {each.label.lower(): name for name, each in self._operations.items()}

    @property
    def provider(self) -> str:
        """The name that it was registered under."""
        return self._provider

    @property
    def title(self) -> str:
        """What the document calls itself."""
        return self._title

    def operations(self) -> Mapping[str, Operation]:
        """The catalogue."""
        return {
            name: Operation(
                name=name,
                title=each.title,
                description=each.description,
                parameters=schema_of(self._document, each),
            )
            for name, each in self._operations.items()
        }

    def operation_of(self, name: str) -> str | None:
        """By operationId, in any case, or by method and path."""
        if name in self._operations:
            return name
        folded = {each.lower(): each for each in self._operations}
        key = " ".join(name.lower().split())
        return folded.get(key) or self._labels.get(key)

    async def run(
        self, operation: str, parameters: Mapping[str, Json], connection: Credentials | None
    ) -> Answer:
        """Calls the API; a status from 400 on is a failure with the API's own message."""
        called = self._operations[operation]
        request = self._builder.build(called, {**_own_key(called, parameters), **parameters})
        login = login_for(self._document, called, connection, self._provider)
        url = self._address(called, connection) + request.path
        if connection is not None:
            logins.check_place(connection, url)
        cookies = [*request.cookies, *login.cookies]
        headers = [*request.headers, *login.headers, ("Accept", "application/json, */*;q=0.5")]
        if cookies:
            headers.append(("Cookie", "; ".join(f"{name}={value}" for name, value in cookies)))
        response = await outbound.request(
            called.method, url, headers=headers, params=[*request.params, *login.params],
            content=request.content, timeout=TIMEOUT, secret_headers=login.secret_headers,
        )  # fmt: skip
        if response.status >= 400:
            raise _failure(self._provider, called, response)
        details = {"status": response.status, "headers": headers_of(response)}
        return Answer(data=_data(response), details=details)

    def _address(self, called: ApiOperation, connection: Credentials | None) -> str:
        own = logins.base_of(connection) if connection is not None else ""
        address = (own or self._base or called.server).rstrip("/")
        if not address.startswith(("http://", "https://")):
            raise CallRefused(
                f"The description of {self._provider!r} names no whole address ({address!r}); "
                "give one: `manage.py register_api … --base-url`, or a field baseUrl in the "
                "connection."
            )
        return address


def _own_key(called: ApiOperation, given: Mapping[str, Json]) -> dict[str, Json]:
    """The step's own key, where the API takes one to tell a repeated call from a new one."""
    for each in called.parameters:
        is_key = each.place == "header" and each.name.lower() == "idempotency-key"
        if is_key and not any(name.lower() == "idempotency-key" for name in given):
            return {each.name: current_step().key}
    return {}


def _data(response: OutboundResponse) -> Json:
    """The body: as JSON, as text, or in base64 where it is neither."""
    try:
        response.body.decode()
    except UnicodeDecodeError:
        if "charset" not in response.header("content-type"):
            kind = response.header("content-type")
            return {"contentType": kind, "base64": base64.b64encode(response.body).decode()}
    data = data_of(response)
    return None if data == "" else data


def _failure(
    provider: str, called: ApiOperation, response: OutboundResponse
) -> CallRefused | CallFailed:
    said = _said(data_of(response))
    message = f"{provider} {called.name} answered {response.status} {response.reason}".rstrip()
    message += f": {said}" if said else "."
    if response.status not in _PASSING:
        return CallRefused(message)
    asked = retry_after(response)
    return CallFailed(message, retry_after=None if asked is None else min(asked, _LONGEST_WAIT))


def _said(data: Json, depth: int = 0) -> str:
    """The message in an error's body."""
    if isinstance(data, str):
        return data.strip()[:500]
    if depth > 4:
        return ""
    if isinstance(data, list):
        return "; ".join(filter(None, (_said(item, depth + 1) for item in data[:5])))[:500]
    if isinstance(data, Mapping):
        found = (_said(data[name], depth + 1) for name in _MESSAGES if name in data)
        return next(filter(None, found), "")
    return ""


_known: dict[str, tuple[datetime, OpenApiConnector]] = {}


@register_source
def described(provider: str) -> Connector | None:
    """The connector of a registered document; its parsed form is kept while it is unchanged."""
    row = ApiDescription.objects.filter(provider=provider).defer("document").first()
    if row is None:
        _known.pop(provider, None)
        return None
    kept = _known.get(provider)
    if kept is not None and kept[0] == row.updated_at:
        return kept[1]
    connector = OpenApiConnector(row.provider, row.title, row.document, row.base_url)
    while len(_known) >= _KEPT:
        _known.pop(next(iter(_known)))
    _known[provider] = (row.updated_at, connector)
    return connector
