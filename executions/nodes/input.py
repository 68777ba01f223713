"""input: hand one of the run's inputs, or all of them, to the nodes that follow."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field

from executions.nodes import Effect, NodeCall, NodeConfig, NodeResult, node

Json = Any


class InputConfig(NodeConfig):
    """Which input to hand on; without a name, all of them."""

    input_name: str | None = Field(None, title="Name")
    input_variable: str | None = Field(None, title="Variable")
    input_type: str = Field("text", title="Type")
    required: bool = Field(False, title="Required")
    default_value: Json = Field(None, title="Default")
    description: str | None = Field(None, title="Description")


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    if not config.get("inputName"):
        config["inputName"] = config.get("inputVariable") or config.get("variableName")
    if config.get("defaultValue") is None and config.get("value") not in (None, ""):
        config["defaultValue"] = config["value"]
    if config.get("required") is None:
        config.pop("required", None)
    if not isinstance(config.get("inputType"), str):
        config.pop("inputType", None)
    return config


@node(
    "input",
    config=InputConfig,
    effect=Effect.PURE,
    icon="log-in",
    is_entry=True,
    dialect=_dialect,
)
async def input_node(call: NodeCall[InputConfig]) -> NodeResult:
    """Take a value that was given to the run."""
    config, inputs = call.config, call.scope.inputs
    name = config.input_name
    if not name:
        return NodeResult(output=dict(inputs))
    if name in inputs:
        value = inputs[name]
    elif config.input_variable and config.input_variable in inputs:
        value = inputs[config.input_variable]
    else:
        value = _typed(call.render.value(config.default_value), config.input_type)
        if value is None and config.required:
            call.render.warnings.append(f"The input {name!r} was not given; it is null.")
    output = {name: value}
    if config.input_variable:
        output[config.input_variable] = value
    return NodeResult(output=output)


def _typed(value: Json, input_type: str) -> Json:
    if input_type == "json" and isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value
