"""Connectors: what integration, action and database nodes call, by the name of a provider.

An app registers its connectors when it starts, or a source that finds them by name; nothing here
knows any of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

from executions.connections import Credentials
from executions.errors import Invalid, Unavailable
from executions.rules.templates import Renderer

Json = Any

BUILTIN = ("executions.connectors.openapi", "executions.connectors.postgresql")
_SHOWN = 10


class ConnectorMissing(Unavailable):
    """No connector of this name is here."""

    code = "connector_missing"
    non_retryable = True


class OperationMissing(Invalid):
    """The connector has no such operation."""

    code = "operation_missing"
    non_retryable = True


class CallRefused(Invalid):
    """The other side, or the connector, refuses the call; the same call would be refused again."""

    code = "call_refused"
    non_retryable = True


class CallFailed(Unavailable):
    """The other side could not answer now; `retry_after` is what it asked for, in seconds."""

    code = "call_failed"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        if retry_after is not None:
            self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that a connector does; `parameters` is a JSON Schema of an object."""

    name: str
    title: str
    description: str = ""
    parameters: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an operation came to: the data, and what goes with it, such as status and headers."""

    data: Json
    details: Mapping[str, Json] = field(default_factory=dict)


class Connector(Protocol):
    """The operations of one provider."""

    @property
    def provider(self) -> str:
        """The name by which nodes and connections know it."""
        ...

    @property
    def title(self) -> str:
        """Its name for people."""
        ...

    @property
    def synonyms(self) -> tuple[str, ...]:
        """Other names of the provider."""
        return ()

    def operations(self) -> Mapping[str, Operation]:
        """All operations by their names."""
        ...

    def operation_of(self, name: str) -> str | None:
        """The exact name of an operation that a node calls so, or None."""
        known = self.operations()
        folded = {each.lower(): each for each in known}
        return name if name in known else folded.get(name.lower())

    def render(
        self, operation: str, parameters: Mapping[str, Json], render: Renderer
    ) -> dict[str, Json]:
        """The parameters with their templates rendered."""
        return {key: render.value(value) for key, value in parameters.items()}

    async def run(
        self, operation: str, parameters: Mapping[str, Json], connection: Credentials | None
    ) -> Answer:
        """Carries out an operation. Raises CallRefused, CallFailed, or an error of outbound.py."""
        ...


Source = Callable[[str], Connector | None]

_connectors: dict[str, Connector] = {}
_sources: list[Source] = []
_loaded = False


def register(connector: Connector) -> Connector:
    """Adds a connector under its name and synonyms."""
    for name in (connector.provider, *connector.synonyms):
        present = _connectors.get(name.lower())
        if present is not None and present is not connector:
            raise RuntimeError(f"The connector {name!r} is registered twice.")
        _connectors[name.lower()] = connector
    return connector


def register_source(source: Source) -> Source:
    """Adds what is asked for a provider that no connector is registered for."""
    if source not in _sources:
        _sources.append(source)
    return source


def load() -> None:
    """Imports the built-in connectors; others register when their app starts."""
    global _loaded
    if not _loaded:
        _loaded = True
        for module in BUILTIN:
            import_module(module)


def find(provider: str) -> Connector | None:
    """The connector of a provider. May ask the database."""
    load()
    name = provider.strip().lower()
    found = _connectors.get(name)
    return found or next((each for source in _sources if (each := source(name))), None)


def is_registered(provider: str) -> bool:
    """Whether the provider's connector is part of the code, and not of the database."""
    load()
    return provider.strip().lower() in _connectors


def get(provider: str) -> Connector:
    """The connector of a provider. Raises ConnectorMissing, which says how to add it."""
    found = find(provider)
    if found is None:
        raise ConnectorMissing(missing(provider))
    return found


def operation(connector: Connector, name: str) -> str:
    """The exact name of an operation. Raises OperationMissing, which names those there are."""
    found = connector.operation_of(name)
    if found is None:
        raise OperationMissing(no_operation(connector, name))
    return found


def missing(provider: str) -> str:
    """The sentence about a provider without a connector."""
    if not provider:
        return "It names no provider; fill in `provider`."
    return (
        f"There is no connector {provider!r}. Describe its API with `manage.py register_api "
        f"{provider} FILE` (an OpenAPI document), or install an app that registers it."
    )


def no_operation(connector: Connector, name: str) -> str:
    """The sentence about an operation that a connector has not."""
    known = list(connector.operations())
    near = difflib.get_close_matches(name, known, n=_SHOWN, cutoff=0.4) or known[:_SHOWN]
    more = f", and {len(known) - len(near)} more" if len(known) > len(near) else ""
    said = f"has no operation {name!r}" if name else "is called without an operation"
    return f"The connector {connector.provider!r} {said}; it has {', '.join(near)}{more}."
