"""transform: reshape data, with JSONata or by one of the fixed operations."""

from __future__ import annotations

import json
import math
import re
import xml.parsers.expat
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from jsonata import JException, Jsonata
from pydantic import Field, model_validator

from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, NotAvailable, node
from executions.nodes.aggregates import aggregate
from executions.nodes.xml_json import parse_xml
from executions.rules.comparisons import to_text
from executions.rules.expressions import MISSING

Json = Any

TIME_LIMIT_MS = 5_000
DEPTH_LIMIT = 300
_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
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
    if config.operation in _NEEDS_EXPRESSION:
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
    except ValueError:
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


async def _evaluate(call: NodeCall[TransformConfig], data: Json) -> Json:
    config, expression = call.config, to_text(call.config.expression)
    if "=>" in expression:
        raise NotAvailable(
            "Arrow functions need the JavaScript sandbox, which comes with the code node; "
            "write the expression in JSONata, for example `items.(price * 2)`."
        )
    names = call.scope.flatten()
    if config.operation == "custom":
        subject = {**names, "$data": data}
        bindings = {"data": data}
    else:
        subject, bindings = {**names, "items": _array(call, data)}, {}
        if config.operation == "filter":
            expression = f"items[{expression}]"
    return await sync_to_async(evaluate_jsonata, thread_sensitive=False)(
        expression, subject, bindings
    )


def evaluate_jsonata(expression: str, subject: Json, bindings: dict[str, Json]) -> Json:
    """The value of a JSONata expression, within limits of time and depth."""
    try:
        compiled = Jsonata(expression)
        frame = compiled.create_frame()
        frame.set_runtime_bounds(TIME_LIMIT_MS, DEPTH_LIMIT)
        for name, value in bindings.items():
            frame.bind(name, value)
        return _plain(compiled.evaluate(subject, frame))
    except (JException, RecursionError, ValueError, TypeError, ArithmeticError) as error:
        raise BadConfig(
            f"The JSONata expression {expression[:200]!r} failed: {error}", field="expression"
        ) from error


def _plain(value: Json) -> Json:
    """Lists, dicts and scalars only; a function or an unbounded number is null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    return value if isinstance(value, str | int | bool) else None


def _sort(call: NodeCall[TransformConfig], data: Json) -> Json:
    items, expression = _array(call, data), to_text(call.config.expression or "").strip()
    if "=>" in expression:
        raise NotAvailable(
            "A comparator function needs the JavaScript sandbox, which comes with the code node; "
            "sort by a field's path instead."
        )
    if not expression:
        return items
    descending = expression.startswith("-")
    keyed = [(_walk(item, expression.lstrip("-")), item) for item in items]
    present = [pair for pair in keyed if pair[0] is not None]
    absent = [item for key, item in keyed if key is None]
    present.sort(key=lambda pair: _rank(pair[0]), reverse=descending)
    return [item for _, item in present] + absent


def _rank(value: Json) -> tuple[int, float, str]:
    if isinstance(value, int | float):
        return 0, float(value), ""
    return 1, 0.0, to_text(value)


def _merge(call: NodeCall[TransformConfig], data: Json) -> Json:
    expression = to_text(call.config.expression or "")
    references = [match.strip() for match in _REFERENCE.findall(expression)]
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
    except ValueError as error:
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
