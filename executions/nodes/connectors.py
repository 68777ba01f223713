"""integration, action, database: call an operation of a connector through a stored connection.

A call that fails fails its node, so that retries, `onError` and `error` edges have something to do;
`errorAsData` gives the failure as data instead.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from executions import connections, connectors
from executions.connections import Credentials
from executions.connectors import Answer, Connector
from executions.errors import FlowMaestroError
from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, node
from executions.rules.comparisons import to_text

Json = Any

# What beside a node's parameters has a meaning for the node itself.
_OWN = frozenset(
    {
        "__type", "provider", "operation", "action", "connection", "connectionId", "parameters",
        "outputVariable", "errorAsData", "onError", "retry", "timeout", "label",
    }
)  # fmt: skip
_SQL = ("query", "sql", "statement")


class ConnectorConfig(NodeConfig):
    """What is called. Parameters may also stand beside these, without `parameters` around them."""

    provider: str = Field("", title="Provider", description="postgresql, or an API's name")
    operation: str = Field("", title="Operation")
    connection: str | None = Field(
        None, title="Connection", description="By id or name; without one, the only one there is"
    )
    parameters: dict[str, Json] = Field(default_factory=dict, title="Parameters")
    error_as_data: bool = Field(False, title="Go on after a failure, with the error as data")


class DatabaseConfig(ConnectorConfig):
    """A statement and the database it goes to."""

    provider: str = Field("postgresql", title="Provider")


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    given = config.get("parameters")
    flat = {key: value for key, value in config.items() if key not in _OWN}
    is_own = isinstance(given, dict) and not any(flat.get(name) for name in _SQL)
    if is_own and given is not None:
        flat |= given
    elif given is not None:
        # Beside SQL these are the values of its parameters.
        flat["parameters"] = given
    return {
        **{key: config[key] for key in ("outputVariable", "errorAsData") if key in config},
        "provider": _text(config.get("provider")),
        "operation": _text(config.get("operation") or config.get("action")),
        "connection": _text(config.get("connectionId") or config.get("connection")) or None,
        "parameters": flat,
    }


def _text(value: Json) -> str:
    return value.strip() if isinstance(value, str) else ""


def _database(config: dict[str, Json]) -> dict[str, Json]:
    read = _dialect(config)
    parameters = read["parameters"]
    read["provider"] = read["provider"] or "postgresql"
    has_sql = any(parameters.get(name) for name in _SQL)
    read["operation"] = read["operation"] or ("query" if has_sql else "")
    return read


@node(
    "integration", title="Integration", config=ConnectorConfig, effect=Effect.WRITES_OUTSIDE,
    icon="plug", dialect=_dialect,
)  # fmt: skip
async def integration(call: NodeCall[ConnectorConfig]) -> NodeResult:
    """Call an operation of a connector."""
    return await _call(call, "integrationError")


@node(
    "action", title="Action", config=ConnectorConfig, effect=Effect.WRITES_OUTSIDE,
    icon="plug", dialect=_dialect,
)  # fmt: skip
async def action(call: NodeCall[ConnectorConfig]) -> NodeResult:
    """Call an operation of a connector."""
    return await _call(call, "actionError")


@node(
    "database", title="Database", config=DatabaseConfig, effect=Effect.WRITES_OUTSIDE,
    icon="database", dialect=_database,
)  # fmt: skip
async def database(call: NodeCall[DatabaseConfig]) -> NodeResult:
    """Query a database."""
    return await _call(call, "databaseError")


async def _call(call: NodeCall[Any], error_name: str) -> NodeResult:
    name = call.config.output_variable or "data"
    try:
        answer = await _answer(call)
    except FlowMaestroError as error:
        if not call.config.error_as_data:
            raise
        return NodeResult(output={name: None, error_name: error.message})
    return NodeResult(output={**answer.details, name: answer.data})


async def _answer(call: NodeCall[Any]) -> Answer:
    config, render = call.config, call.render
    provider = render.text(config.provider).strip()
    if connectors.is_registered(provider):
        connector = connectors.get(provider)
    else:
        connector = await connections.in_thread(connectors.get, provider)
    operation = connectors.operation(connector, render.text(config.operation).strip())
    parameters = connector.render(operation, config.parameters, render)
    reference = render.text(config.connection or "").strip()
    found = await connections.in_thread(_open, connector, reference, call.workspace)
    return await connector.run(operation, parameters, found)


def _open(connector: Connector, reference: str, workspace: str | None) -> Credentials | None:
    """The connection that the node names, else the only one for the provider, else none."""
    names = (connector.provider, *connector.synonyms)
    if reference:
        found = connections.resolve(reference, workspace=workspace)
        if found.provider.lower() not in names:
            raise BadConfig(
                f"Connection {found.name!r} is for {found.provider!r}, not for "
                f"{connector.provider!r}.",
                field="connection",
            )
        return found
    several = (connections.resolve_only(name, workspace=workspace) for name in names)
    return next((each for each in several if each is not None), None)


def problem_of(node_config: ConnectorConfig) -> tuple[str, str] | None:
    """What is missing for a node to run: (code, sentence). May ask the database."""
    provider, operation = node_config.provider, node_config.operation
    if "{{" in provider:
        return None
    connector = connectors.find(provider) if provider else None
    if connector is None:
        return "CONNECTOR_MISSING", connectors.missing(provider)
    if "{{" not in operation and connector.operation_of(to_text(operation)) is None:
        return "OPERATION_MISSING", connectors.no_operation(connector, operation)
    return None
