"""shared-memory: values by key that every node of the run can read as {{shared.key}}."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from executions.errors import TooLarge
from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, NotAvailable, node
from executions.rules.comparisons import to_text

Json = Any

MAX_ENTRIES = 1_000
MAX_VALUE = 100_000


class SharedMemoryConfig(NodeConfig):
    """What to do with which key."""

    operation: Literal["store", "append", "get", "search"] = Field("store", title="Operation")
    key: str = Field("", title="Key")
    value: Json = Field(None, title="Value")


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    operation = config.get("operation") or "store"
    config["operation"] = {"set": "store", "retrieve": "get", "read": "get"}.get(
        operation, operation
    )
    config["key"] = config.get("key") or config.get("memoryKey") or ""
    return config


@node(
    "shared-memory",
    synonyms=("sharedMemory", "memory"),
    title="Shared memory",
    config=SharedMemoryConfig,
    effect=Effect.PURE,
    icon="database",
    dialect=_dialect,
)
async def shared_memory(call: NodeCall[SharedMemoryConfig]) -> NodeResult:
    """Keep a value under a key for the whole run, or read it."""
    config = call.config
    if config.operation == "search":
        raise NotAvailable(
            "Searching shared memory needs an embedding provider, and none is configured; "
            "read the value by its key with the operation `get`."
        )
    key = call.render.text(config.key)
    if not key:
        raise BadConfig("The node names no key; fill in `key`.", field="key")
    present = call.scope.shared.get(key)
    if config.operation == "get":
        return NodeResult(
            output={"key": key, "value": present, **_named(call.config.output_variable, present)}
        )
    value = call.render.value(config.value)
    if config.operation == "append":
        value = [*(present if isinstance(present, list) else []), value]
    if key not in call.scope.shared and len(call.scope.shared) >= MAX_ENTRIES:
        raise TooLarge(f"Shared memory holds at most {MAX_ENTRIES:,} keys.")
    if len(to_text(value)) > MAX_VALUE:
        raise TooLarge(f"The value for {key!r} is over {MAX_VALUE:,} characters.")
    return NodeResult(
        output={
            "key": key,
            "stored": True,
            "searchable": False,
            **_named(call.config.output_variable, value),
        },
        shared={key: value},
    )


def _named(name: str | None, value: Json) -> dict[str, Json]:
    return {name: value} if name else {}
