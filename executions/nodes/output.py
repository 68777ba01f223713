"""output: name a result of the run."""

from __future__ import annotations

import json
import math
from typing import Any

from pydantic import Field

from executions.nodes import Effect, NodeCall, NodeConfig, NodeResult, node
from executions.rules.comparisons import is_truthy, to_number, to_text

Json = Any


class OutputConfig(NodeConfig):
    """The result's name, its value, and what kind of value it becomes."""

    output_name: str = Field("output", title="Name")
    value: Json = Field("", title="Value")
    format: str = Field("string", title="Format", description="json, string, number or boolean")


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    if not config.get("outputName"):
        config["outputName"] = config.get("outputVariable") or "output"
    if config.get("format") in (None, ""):
        structured = isinstance(config.get("value"), dict | list)
        config["format"] = "json" if structured else "string"
    if config.get("value") is None and config.get("outputVariable"):
        config["value"] = f"{{{{{config['outputVariable']}}}}}"
    return config


@node(
    "output",
    config=OutputConfig,
    effect=Effect.PURE,
    icon="log-out",
    is_output=True,
    dialect=_dialect,
)
async def output_node(call: NodeCall[OutputConfig]) -> NodeResult:
    """Make a value a result of the run."""
    config = call.config
    if isinstance(config.value, str):
        value = call.render.structured(config.value)
    else:
        value = call.render.value(config.value)
    return NodeResult(output={config.output_name: _formatted(call, value, config.format)})


def _formatted(call: NodeCall[OutputConfig], value: Json, kind: str) -> Json:
    if kind == "json":
        return parsed(value)
    if kind == "number":
        number = to_number(value)
        if not math.isfinite(number):
            call.render.warnings.append(f"{to_text(value)[:80]!r} is not a number; it is null.")
            return None
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    if kind == "boolean":
        return is_truthy(value) and not (
            isinstance(value, str) and value.strip().lower() == "false"
        )
    return to_text(value)


def parsed(value: Json) -> Json:
    """Text that is JSON as its value; everything else unchanged."""
    if isinstance(value, str):
        try:
            return json.loads(value, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return value
    return value


def _refuse(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")
