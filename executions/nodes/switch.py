"""switch: leave by the first case that matches a value, else by default."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from executions.nodes import Effect, NodeCall, NodeConfig, NodeResult, node
from executions.rules.comparisons import case_matches, to_text

Json = Any

DEFAULT = "default"


class Case(BaseModel):
    """One way out."""

    model_config = ConfigDict(extra="allow", frozen=True)

    value: Json
    label: str | None = None


class SwitchConfig(NodeConfig):
    """A value and the cases it may match; `*` and `?` in a case are wildcards."""

    expression: Json = Field(..., title="Value")
    cases: tuple[Case, ...] = Field(..., title="Cases", min_length=1)
    default_case: str | None = Field(None, title="Default case")


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    if config.get("expression") is None:
        for key in ("switchVariable", "value", "variable"):
            name = config.get(key)
            if name is not None:
                is_path = isinstance(name, str) and "{{" not in name and key != "value"
                config["expression"] = f"{{{{{name}}}}}" if is_path else name
                break
    cases = config.get("cases")
    if isinstance(cases, dict):
        cases = [{"value": value, "label": label} for value, label in cases.items()]
    if isinstance(cases, list):
        config["cases"] = [item if isinstance(item, dict) else {"value": item} for item in cases]
    if config.get("defaultCase") is None and isinstance(config.get("default"), str):
        config["defaultCase"] = config["default"]
    return config


def _ways(config: SwitchConfig | None, handle: str) -> frozenset[str]:
    """Every name of the way `handle`: the value, case-<value>, case-<index>, the label."""
    names = {handle, f"case-{handle}"}
    if config is not None:
        for index, case in enumerate(config.cases):
            value = to_text(case.value)
            own = {value, f"case-{value}", f"case-{index}", case.label or value}
            if handle in own:
                # The first case of this name alone: names of another are another way.
                return frozenset(own)
        if handle in (DEFAULT, config.default_case):
            names |= {DEFAULT, "case-default", "output-default"}
    return frozenset(names)


def _derive(config: SwitchConfig | None, output: Json) -> str | None:
    if isinstance(output, dict):
        if output.get("matchedCase") is not None:
            return to_text(output["matchedCase"])
        if "selectedRoute" in output:
            return to_text(output["selectedRoute"])
        name = getattr(config, "output_variable", None)
        if name and name in output:
            return _derive(config, output[name])
        return getattr(config, "default_case", None) or DEFAULT
    return to_text(output) if isinstance(output, str | int | float | bool) else DEFAULT


@node(
    "switch",
    config=SwitchConfig,
    effect=Effect.PURE,
    icon="signpost",
    handles=(DEFAULT,),
    routes=True,
    dialect=_dialect,
    all_ways=_ways,
    derive=_derive,
)
async def switch(call: NodeCall[SwitchConfig]) -> NodeResult:
    """Continue on one of several ways, depending on a value."""
    config = call.config
    text = call.render.text(config.expression)
    for case in config.cases:
        if case_matches(text, call.render.text(case.value)):
            chosen = to_text(case.value)
            break
    else:
        chosen = None
    output: dict[str, Json] = {
        "matchedCase": chosen,
        "matchedValue": text if chosen is not None else None,
        "evaluatedExpression": text,
    }
    handle = chosen if chosen is not None else config.default_case or DEFAULT
    output["selectedRoute"] = handle
    if config.output_variable:
        output[config.output_variable] = handle
    return NodeResult(output=output, handle=handle)
