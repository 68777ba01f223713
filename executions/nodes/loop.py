"""loop: repeat a body for each item, a number of times, or while a condition holds.

The rounds themselves are run by the orchestrator; here are the config and what each round sees.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field, model_validator

from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, node
from executions.rules.comparisons import to_number, to_text
from executions.rules.evaluation import MISSING

Json = Any

MAX_ROUNDS = 10_000
_KINDS = {"foreach": "forEach", "while": "while", "repeat": "count", "count": "count"}


class LoopConfig(NodeConfig):
    """What is repeated: over an array, a count, or while a condition is true."""

    loop_type: Literal["forEach", "while", "count"] = Field("forEach", title="Kind")
    array_path: Json = Field(None, title="Array")
    count: Json = Field(None, title="Count")
    condition: str | None = Field(None, title="Condition")
    item_variable: str = Field("item", title="Item variable")
    index_variable: str = Field("index", title="Index variable")
    start_index: int = Field(0, title="First index", ge=0)
    max_iterations: int = Field(1000, title="Most rounds", ge=1, le=MAX_ROUNDS)
    max_concurrency: int = Field(1, title="Rounds at once", ge=1, le=100)

    @model_validator(mode="after")
    def _has_a_subject(self) -> LoopConfig:
        field_, value = {
            "forEach": ("arrayPath", self.array_path),
            "count": ("count", self.count),
            "while": ("condition", self.condition),
        }[self.loop_type]
        if value in (None, ""):
            raise ValueError(f"A {self.loop_type} loop needs `{field_}`.")
        return self


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    named = _KINDS.get(str(config.get("__type", "")).lower())
    kind = config.get("loopType") or named
    names = ("arrayPath", "collection", "items", "array")
    array = next((config[key] for key in names if config.get(key) not in (None, "")), None)
    config["arrayPath"] = array
    if not kind:
        has_count = config.get("count") is not None
        kind = "forEach" if array is not None else "count" if has_count else "while"
        if kind == "while" and not config.get("condition"):
            kind = "forEach"
    config["loopType"] = _KINDS.get(str(kind).lower(), kind)
    aliases = (("itemVariable", "item"), ("indexVariable", "index"), ("startIndex", 0))
    for key, default in aliases:
        config[key] = config.get(key) or default
    for key in ("maxIterations", "maxConcurrency"):
        value = config.get(key)
        if value in (None, ""):
            config.pop(key, None)
        elif isinstance(value, str):
            config[key] = int(to_number(value)) if to_number(value) == to_number(value) else value
    return config


@node(
    "loop",
    synonyms=("forEach", "while", "repeat"),
    config=LoopConfig,
    effect=Effect.PURE,
    icon="repeat",
    handles=("body", "done"),
    is_loop=True,
    dialect=_dialect,
)
async def loop(call: NodeCall[LoopConfig]) -> NodeResult:
    """Repeat the nodes of the body; this part finds what the rounds are about."""
    config = call.config
    if config.loop_type == "forEach":
        items = _items(call)
        _check_limit(len(items), config)
        return NodeResult(output={"items": items, "total": len(items)})
    if config.loop_type == "count":
        total = _count(call)
        _check_limit(total, config)
        return NodeResult(output={"total": total})
    return NodeResult(output={"total": None})


def _check_limit(total: int, config: LoopConfig) -> None:
    if total > config.max_iterations:
        raise BadConfig(
            f"The loop would run {total:,} rounds, over its limit of {config.max_iterations:,} "
            "(maxIterations).",
            field="maxIterations",
        )


def _items(call: NodeCall[LoopConfig]) -> list[Json]:
    source = call.config.array_path
    value = call.render.expression(source) if isinstance(source, str) else call.render.value(source)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            pass
    if isinstance(value, dict) and isinstance(value.get("items"), list):
        value = value["items"]
    if not isinstance(value, list):
        found = "nothing" if value is MISSING else f"a {type(value).__name__}"
        raise BadConfig(
            f"The loop goes over {to_text(source)[:200]!r}, which is {found} rather than an array.",
            field="arrayPath",
        )
    return value


def _count(call: NodeCall[LoopConfig]) -> int:
    source = call.config.count
    value = call.render.expression(source) if isinstance(source, str) else source
    number = to_number(None if value is MISSING else value)
    if value is MISSING or value is None or number != number or number < 0:
        raise BadConfig(
            f"The loop's count {to_text(source)[:200]!r} is not a number from 0 on.", field="count"
        )
    return int(min(number, 1e9))


def round_names(
    config: LoopConfig,
    *,
    index: int,
    total: int | None,
    items: list[Json] | None,
    results: list[Json],
) -> dict[str, Json]:
    """What the body of one round sees beside the context."""
    item = items[index] if items is not None else index + config.start_index
    state = {
        "index": index,
        "iteration": index + 1,
        "item": item,
        "total": total,
        "length": total,
        "results": results,
        "isFirst": index == 0,
        "isLast": total is not None and index == total - 1,
    }
    return {
        "loop": state,
        config.item_variable: item,
        config.index_variable: index + config.start_index,
    }
