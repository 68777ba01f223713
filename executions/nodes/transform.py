"""transform: reshape data, with JSONata or by one of the fixed operations."""

from __future__ import annotations

import json
import re
import xml.parsers.expat
from collections.abc import Callable
from functools import cmp_to_key
from typing import Any

from pydantic import Field, model_validator

from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, node
from executions.nodes.aggregates import aggregate
from executions.nodes.expressions import evaluate_jsonata, is_arrow, over_array
from executions.nodes.xml_json import parse_xml
from executions.rules.comparisons import to_number, to_text
from executions.rules.evaluation import MISSING

Json = Any

_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
# In `merge`, where the original took `${name}`, the usual form is understood too.
_MERGED = re.compile(r"\$\{([^{}]*)\}|\{\{([^{}]*)\}\}")
_NEEDS_EXPRESSION = frozenset({"map", "filter", "reduce", "custom"})
_OPERATIONS = _NEEDS_EXPRESSION | frozenset(
    "sort merge extract parseXML parseJSON passthrough template aggregate flatten".split()
)


class TransformConfig(NodeConfig):
    """An operation, the data it works on, and its expression or template."""

    operation: str = Field("passthrough", title="Operation")
    input_data: Json = Field(None, title="Data", description="A name or path, such as orders.items")
    expression: Json = Field(None, title="Expression")
    template: Json = Field(None, title="Template")
    sources: tuple[Json, ...] = Field((), title="Sources")
    operations: tuple[Json, ...] = Field((), title="Aggregates")

    @model_validator(mode="after")
    def _is_complete(self) -> TransformConfig:
        if self.operation not in _OPERATIONS:
            known = ", ".join(sorted(_OPERATIONS))
            raise ValueError(f"There is no operation {self.operation!r}; known are {known}.")
        if self.operation in _NEEDS_EXPRESSION and not self.expression:
            raise ValueError(f"The operation {self.operation} needs `expression`.")
        if self.operation == "template" and self.template is None:
            raise ValueError("The operation template needs `template`.")
        return self


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    names = {name.lower(): name for name in _OPERATIONS} | {"jsonata": "custom"}
    operation = config.get("operation") or config.get("transformType")
    if operation is None:
        operation = (
            "template"
            if config.get("template") is not None
            else "custom"
            if config.get("expression")
            else "passthrough"
        )
    config["operation"] = names.get(str(operation).lower(), str(operation))
    for key in ("input", "inputVariable", "source", "data"):
        if config.get("inputData") in (None, "") and config.get(key) not in (None, ""):
            config["inputData"] = config[key]
    for key in ("sources", "operations"):
        if not isinstance(config.get(key), list):
            config.pop(key, None)
    if config["operation"] == "template" and config.get("template") is None:
        config["template"] = config.get("expression")
    return config


@node(
    "transform",
    config=TransformConfig,
    effect=Effect.PURE,
    icon="shuffle",
    dialect=_dialect,
)
async def transform(call: NodeCall[TransformConfig]) -> NodeResult:
    """Reshape data: map, filter, sort, merge, extract, parse, or fill a template."""
    config = call.config
    if config.operation == "template":
        template = config.template
        value = (
            call.render.structured(template)
            if isinstance(template, str)
            else call.render.value(template)
        )
        return NodeResult(output=call.wrap(value))
    data = _data(call)
    if config.operation in _NEEDS_EXPRESSION or _compares(config):
        value = await _evaluate(call, data)
    else:
        value = _PLAIN[config.operation](call, data)
    return NodeResult(output=call.wrap(value))


def _data(call: NodeCall[TransformConfig]) -> Json:
    source = call.config.input_data
    if isinstance(source, str):
        text = source.strip()
        reference = _REFERENCE.fullmatch(text)
        if reference is not None:
            text = reference.group(1).strip()
        value = call.render.expression(text) if text else MISSING
        if value is MISSING and text[:1] in ("[", "{"):
            return _json_or(text, None)
        return None if value is MISSING else value
    if source is not None:
        return call.render.value(source)
    if call.config.operation in ("merge", "custom"):
        return None
    return call.incoming[0] if len(call.incoming) == 1 else list(call.incoming) or None


def _json_or(text: str, default: Json) -> Json:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return default


def _array(call: NodeCall[TransformConfig], data: Json) -> list[Json]:
    if isinstance(data, list):
        return data
    operation = call.config.operation
    raise BadConfig(
        f"{operation.capitalize()} operation requires array input; "
        f"{to_text(call.config.input_data)!r} is not an array.",
        field="inputData",
    )


def _compares(config: TransformConfig) -> bool:
    return config.operation == "sort" and is_arrow(to_text(config.expression or ""))


async def _evaluate(call: NodeCall[TransformConfig], data: Json) -> Json:
    config, expression = call.config, to_text(call.config.expression)
    names = call.scope.flatten()
    if config.operation == "custom":
        return await evaluate_jsonata(expression, {**names, "$data": data}, {"data": data})
    items = _array(call, data)
    if is_arrow(expression):
        return await over_array(config.operation, items, expression, names)
    if config.operation == "filter":
        expression = f"items[{expression}]"
    return await evaluate_jsonata(expression, {**names, "items": items}, {})


def _sort(call: NodeCall[TransformConfig], data: Json) -> Json:
    items, expression = _array(call, data), to_text(call.config.expression or "").strip()
    if not expression:
        return items
    path = expression.lstrip("-")
    sign = -1 if expression.startswith("-") else 1
    return sorted(items, key=cmp_to_key(lambda a, b: sign * _order(_walk(a, path), _walk(b, path))))


def _order(left: Json, right: Json) -> int:
    """As `<` in JavaScript: text by its characters, all else by number; what is absent is equal."""
    if left is None or right is None:
        return 0
    if isinstance(left, str) and isinstance(right, str):
        return (left > right) - (left < right)
    a, b = to_number(left), to_number(right)
    return (a > b) - (a < b)


def _merge(call: NodeCall[TransformConfig], data: Json) -> Json:
    expression = to_text(call.config.expression or "")
    references = [(old or new).strip() for old, new in _MERGED.findall(expression)]
    values = [call.render.expression(reference) for reference in references]
    for source in call.config.sources:
        values.append(
            call.render.expression(source) if isinstance(source, str) else call.render.value(source)
        )
    values = [value for value in values if value is not MISSING and value is not None]
    if data is None and not values:
        values = list(call.incoming)
    if data is None and values:
        data = [] if isinstance(values[0], list) else {}
    for value in values:
        if isinstance(data, list):
            data = [*data, *(value if isinstance(value, list) else ())]
        elif isinstance(data, dict) and isinstance(value, dict):
            data = {**data, **value}
    return data


def _walk(value: Json, path: str) -> Json:
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value


def _extract(call: NodeCall[TransformConfig], data: Json) -> Json:
    path = to_text(call.config.expression or "").strip()
    return _walk(data, path.removeprefix("$.")) if path else data


def _parse_json(call: NodeCall[TransformConfig], data: Json) -> Json:
    if not isinstance(data, str):
        raise BadConfig("parseJSON needs text.", field="inputData")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadConfig(f"Invalid JSON: {error}", field="inputData") from error


def _parse_xml(call: NodeCall[TransformConfig], data: Json) -> Json:
    if not isinstance(data, str):
        raise BadConfig("parseXML needs text.", field="inputData")
    try:
        return parse_xml(data)
    except (xml.parsers.expat.ExpatError, ValueError) as error:
        raise BadConfig(f"Invalid XML: {error}", field="inputData") from error


def _flatten(call: NodeCall[TransformConfig], data: Json) -> Json:
    return [
        part for item in _array(call, data) for part in (item if isinstance(item, list) else [item])
    ]


_PLAIN: dict[str, Callable[[NodeCall[TransformConfig], Json], Json]] = {
    "sort": _sort,
    "merge": _merge,
    "extract": _extract,
    "parseXML": _parse_xml,
    "parseJSON": _parse_json,
    "passthrough": lambda call, data: data,
    "aggregate": lambda call, data: aggregate(data, call.config.operations, call.config),
    "flatten": _flatten,
}
