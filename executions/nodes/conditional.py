"""conditional: compare two values, or evaluate an expression, and leave by true or false."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, node
from executions.rules.comparisons import compare, is_truthy
from executions.rules.functions import ExpressionError

Json = Any


class ConditionalConfig(NodeConfig):
    """Either an expression, or two values and an operator."""

    expression: str | None = Field(
        None, title="Expression", description="For example: deal.amount > 50000"
    )
    left_value: Json = Field("", title="Left value")
    operator: str = Field("==", title="Operator")
    right_value: Json = Field("", title="Right value")

    @model_validator(mode="after")
    def _has_a_condition(self) -> ConditionalConfig:
        if self.expression is None and "left_value" not in self.model_fields_set:
            raise ValueError("It has no condition; set `leftValue`, or `expression`.")
        return self


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    text = config.get("expression")
    if text in (None, ""):
        text = config.get("condition")
    if config.get("leftValue") not in (None, "") and config.get("conditionType") != "expression":
        config.pop("expression", None)
    elif isinstance(text, bool):
        config["expression"] = "true" if text else "false"
    elif isinstance(text, str) and text.strip():
        config["expression"] = text
    else:
        config.pop("expression", None)
    if config.get("operator") is None:
        config.pop("operator", None)
    return config


def _ways(config: ConditionalConfig, handle: str) -> frozenset[str]:
    for way in ("true", "false"):
        names = frozenset({way, f"output-{way}", f"case-{way}", f"branch-{way}"})
        if handle.lower() in names:
            return names
    return frozenset({handle})


def _derive(config: ConditionalConfig | None, output: Json) -> str | None:
    """The branch that an output names, in any of the shapes people write."""
    if isinstance(output, dict):
        name = getattr(config, "output_variable", None)
        for key in ("branch", "conditionMet", "result", "condition", "value", name):
            if key is not None and key in output:
                return _derive(config, output[key])
        # Of another shape: its only truth value, or that there is something at all.
        truths = [value for value in output.values() if isinstance(value, bool)]
        return _derive(config, truths[0] if len(truths) == 1 else True)
    if isinstance(output, str):
        return "false" if output.strip().lower() in ("false", "", "no", "0") else "true"
    return "true" if is_truthy(output) else "false"


@node(
    "conditional",
    synonyms=("condition", "if"),
    title="Condition",
    config=ConditionalConfig,
    effect=Effect.PURE,
    icon="split",
    handles=("true", "false"),
    dialect=_dialect,
    all_ways=_ways,
    derive=_derive,
)
async def conditional(call: NodeCall[ConditionalConfig]) -> NodeResult:
    """Continue on one of two ways, depending on data."""
    config = call.config
    if config.expression is not None:
        try:
            met = call.render.condition(config.expression)
        except ExpressionError as error:
            raise BadConfig(
                f"The condition cannot be evaluated: {error}", field="expression"
            ) from error
        output: dict[str, Json] = {"expression": config.expression}
    else:
        left = call.render.text(config.left_value, missing="")
        right = call.render.text(config.right_value, missing="")
        met = compare(left, config.operator, right)
        output = {"leftValue": left, "rightValue": right, "operator": config.operator}
    branch = "true" if met else "false"
    output = {"conditionMet": met, "branch": branch, **output}
    if config.output_variable:
        output[config.output_variable] = met
    return NodeResult(output=output, handle=branch)
