"""shared-memory: values by key that every node of the run can read as {{shared.key}}."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from executions.errors import TooLarge
from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, NotAvailable, node
from executions.rules.comparisons import to_text
from executions.rules.scope import changed

Json = Any

MAX_ENTRIES = 1_000
MAX_VALUE = 100_000
MAX_TOTAL = 10_000_000


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


def _effects(config: SharedMemoryConfig | None, output: Json) -> dict[str, dict[str, Json]]:
    """The entry that a pinned output says was stored."""
    if not isinstance(output, dict) or not output.get("stored"):
        return {}
    name = getattr(config, "output_variable", None)
    value = output.get("value", output.get(name))
    return {"shared": {str(output["key"]): value}} if output.get("key") else {}


@node(
    "shared-memory",
    synonyms=("sharedMemory", "memory"),
    title="Shared memory",
    config=SharedMemoryConfig,
    effect=Effect.PURE,
    icon="database",
    dialect=_dialect,
    effects=_effects,
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
    changes = []
    if config.operation == "append":
        changes.append(("shared", key, "append", value))
        value = changed("append", present, value)
    if key not in call.scope.shared and len(call.scope.shared) >= MAX_ENTRIES:
        raise TooLarge(f"Shared memory holds at most {MAX_ENTRIES:,} keys.")
    if len(to_text(value)) > MAX_VALUE:
        raise TooLarge(f"The value for {key!r} is over {MAX_VALUE:,} characters.")
    # Fewer keys cannot come to so much.
    if len(call.scope.shared) >= MAX_TOTAL // MAX_VALUE:
        others = (item for name, item in call.scope.shared.items() if name != key)
        if sum(len(to_text(item)) for item in others) + len(to_text(value)) > MAX_TOTAL:
            raise TooLarge(
                f"Shared memory holds at most {MAX_TOTAL:,} characters; store less in it."
            )
    return NodeResult(
        output={
            "key": key,
            "stored": True,
            "searchable": False,
            **_named(call.config.output_variable, value),
        },
        shared={key: value},
        changes=changes,
    )


def _named(name: str | None, value: Json) -> dict[str, Json]:
    return {name: value} if name else {}
