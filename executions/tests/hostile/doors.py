"""Every place where an author or a sender can put text, and what comes out there."""

from __future__ import annotations

from typing import Any

from executions.tests.flows import flow, run

Json = Any

CANARY = "a7f3-the-canary-of-the-host"
# What a shell, a host object's name, or the environment would leave in a result.
TRACES = (
    CANARY,
    "uid=",
    "root:x:",
    "<class '",
    "<function ",
    "<built-in",
    "<module ",
    " object at 0x",
)

# A node's failure carries one of these types: all of them say what is wrong, and with what.
CLEAR = frozenset(
    "ExpressionError BadConfig bad_node_config too_large too_deep ProgramError ProgramTimeout "
    "ProgramMemory ProgramTooLarge Invalid StepTimeout".split()
)
USER = {"name": "Ann", "tags": ["a", "b"], "nested": {"k": "v"}}
PLAIN = {"strategy": "continue"}


def author_doors(text: str) -> dict[str, tuple[Any, ...]]:
    """Nodes whose author wrote `text` where an expression or a template may stand."""
    inner = text.strip().removeprefix("{{").removesuffix("}}").strip() or "x"
    users = {"inputData": "users", "expression": inner[:50]}
    return {
        "output": ("output", {"outputName": "o", "value": text, "format": "string"}),
        "output_json": ("output", {"outputName": "o", "value": {"a": [text]}, "format": "json"}),
        "document": ("templateOutput", {"outputName": "d", "template": text}),
        "html": ("templateOutput", {"template": text, "outputFormat": "html"}),
        "variable": ("variable", {"name": "own", "value": text}),
        "memory": ("shared-memory", {"operation": "store", "key": "k", "value": text}),
        "template": ("transform", {"operation": "template", "template": text}),
        "data": ("transform", {"operation": "passthrough", "inputData": text}),
        "reference": ("transform", {"operation": "passthrough", "inputData": "${" + inner + "}"}),
        "extract": ("transform", {"operation": "extract", "inputData": "user",
                                  "expression": inner}),
        "sort": ("transform", {"operation": "sort", **users}),
        "merge": ("transform", {"operation": "merge", "sources": [inner, text]}),
        "condition": ("conditional", {"expression": text}),
        "bare_condition": ("conditional", {"expression": inner}),
        "comparison": ("conditional", {"leftValue": text, "operator": "==", "rightValue": inner}),
        "switch": ("switch", {"expression": text, "cases": [{"value": inner}, {"value": text}]}),
        "loop": ("loop", {"loopType": "forEach", "arrayPath": inner}),
        "count": ("loop", {"loopType": "count", "count": text}),
        "fallback": ("http", {"url": "no address", "retry": 1},
                     {"onError": {"strategy": "fallback", "fallbackValue": text}}),
    }  # fmt: skip


def sandbox_doors(text: str) -> dict[str, tuple[Any, ...]]:
    """Nodes that hand the text to a sandboxed process."""
    inner = text.strip().removeprefix("{{").removesuffix("}}").strip() or "x"
    arrow = inner if "=>" in inner else f"x => {inner}"
    return {
        "jsonata": ("transform", {"operation": "custom", "expression": inner}),
        "filter": ("transform", {"operation": "filter", "inputData": "users", "expression": inner}),
        "arrow": ("transform", {"operation": "map", "inputData": "users", "expression": arrow}),
    }


def enter(doors: dict[str, Any], *edges: str, **inputs: Json) -> dict[str, dict[str, Json]]:
    """What the nodes came to, each by itself; all go through the orchestrator."""
    listed = {
        name: (kind, config, *(more or ({"onError": PLAIN},)))
        for name, (kind, config, *more) in doors.items()
    }
    result = run(flow(listed, *edges), inputs={"user": USER, "users": [USER, USER], **inputs})
    assert result["nodes"], result["error"]
    return dict(result["nodes"])


def texts_in(value: Json) -> list[str]:
    """All text of a JSON value; fails for anything that is no JSON."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        assert all(isinstance(key, str) for key in value)
        return [text for item in value.items() for part in item for text in texts_in(part)]
    if isinstance(value, list):
        return [text for item in value for text in texts_in(item)]
    assert value is None or isinstance(value, bool | int | float), type(value)
    return []
