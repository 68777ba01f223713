"""variable: set names that the whole run sees."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, node
from executions.rules.scope import changed

Json = Any


class VariableConfig(NodeConfig):
    """One name and its value, or several in `variables`."""

    variable_name: str | None = Field(None, title="Name")
    value: Json = Field(None, title="Value")
    variables: dict[str, Json] = Field(default_factory=dict, title="Variables")
    operation: Literal["set", "append", "increment"] = Field("set", title="Operation")

    @model_validator(mode="after")
    def _names_something(self) -> VariableConfig:
        if not self.variable_name and not self.variables:
            raise ValueError("It sets no variable; fill in `variableName`.")
        return self


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    config["variableName"] = (
        config.get("variableName") or config.get("name") or config.get("variable")
    )
    listed = config.get("variables", config.get("assignments"))
    if isinstance(listed, list):
        config["variables"] = {
            str(item.get("name", item.get("key"))): item.get("value")
            for item in listed
            if isinstance(item, dict)
        }
    if config.get("operation") is None:
        config.pop("operation", None)
    return config


@node(
    "variable",
    synonyms=("setVariable", "set-variable"),
    config=VariableConfig,
    effect=Effect.PURE,
    icon="variable",
    dialect=_dialect,
    effects=lambda config, output: {"variables": output} if isinstance(output, dict) else {},
)
async def variable(call: NodeCall[VariableConfig]) -> NodeResult:
    """Set variables of the run."""
    config = call.config
    wanted = dict(config.variables)
    if config.variable_name:
        wanted[config.variable_name] = config.value
    given = {name: call.render.value(value) for name, value in wanted.items()}
    if config.operation == "set":
        return NodeResult(output=given, variables=given)
    if config.operation == "increment":
        given = {name: 1 if value is None else value for name, value in given.items()}
    values = {
        name: changed(config.operation, call.scope.get(name), value)
        for name, value in given.items()
    }
    if None in values.values():
        raise BadConfig("increment needs numbers.", field="value")
    return NodeResult(
        output=values,
        variables=values,
        changes=[("variables", name, config.operation, value) for name, value in given.items()],
    )
