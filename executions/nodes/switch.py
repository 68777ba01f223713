"""switch: leave by the first case that matches a value, else by default."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from executions.nodes import Effect, NodeCall, NodeConfig, NodeResult, node
from executions.rules.comparisons import case_matches, case_work, to_text
from executions.rules.evaluation import MAX_WORK, MISSING
from executions.rules.functions import ExpressionError

Json = Any

DEFAULT = "default"
_PATH = re.compile(r"[A-Za-z_$][\w$-]*(\.[\w$-]+)*")


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
            if config.default_case:
                names |= {config.default_case, f"case-{config.default_case}"}
    return frozenset(names)


def _derive(config: SwitchConfig | None, output: Json) -> str | None:
    if isinstance(output, dict):
        name = getattr(config, "output_variable", None)
        for key in ("matchedCase", "selectedRoute", name, "evaluatedExpression"):
            if key and output.get(key) is not None:
                return _derive(config, output[key])
        return getattr(config, "default_case", None) or DEFAULT
    if not isinstance(output, str | int | float | bool):
        return DEFAULT
    text = to_text(output)
    return text if config is None else _case_of(config, text)


def _case_of(config: SwitchConfig, text: str) -> str:
    """The case that a value names or matches, else the default."""
    for case in config.cases:
        if text in (to_text(case.value), case.label):
            return to_text(case.value)
    left = MAX_WORK
    for case in config.cases:
        left -= case_work(text, to_text(case.value))
        if left < 0:
            raise ExpressionError("The value is too long to be compared with so many cases.")
        if case_matches(text, to_text(case.value)):
            return to_text(case.value)
    return config.default_case or DEFAULT


def _matching(call: NodeCall[SwitchConfig], text: str) -> str | None:
    """The value of the first case that matches."""
    for case in call.config.cases:
        wanted = call.render.text(case.value)
        call.render.pay(case_work(text, wanted))
        if case_matches(text, wanted):
            return to_text(case.value)
    return None


def _named(call: NodeCall[SwitchConfig], text: str) -> str | None:
    """The value of a path given without braces; None when it names nothing."""
    if _PATH.fullmatch(text) is None or call.scope.get(text.split(".")[0], None) is None:
        return None
    value = call.render.expression(text)
    return None if value is MISSING else to_text(value)


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
    chosen = _matching(call, text)
    if chosen is None and isinstance(config.expression, str):
        # An expression without braces is text; one that matches nothing may name a value.
        named = _named(call, config.expression.strip())
        if named is not None and (found := _matching(call, named)) is not None:
            text, chosen = named, found
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
