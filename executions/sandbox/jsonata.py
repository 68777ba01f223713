"""Evaluates a JSONata expression; used in a program's process only."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import jsonata as engine

DEPTH_LIMIT = 300


def preload() -> None:
    """Compile once, so that the tables of the parser are built."""
    engine.Jsonata("a.b[c > 1]").evaluate({"a": {"b": []}})


def prepare() -> Callable[[dict[str, Any], bytes], bytes]:
    """The function evaluates one expression over `subject`, with `bindings`."""
    return _evaluate


def _evaluate(asked: dict[str, Any], names: bytes) -> bytes:
    found = json.loads(names)["names"]
    answer: dict[str, Any] = {"stdout": "", "stderr": ""}
    try:
        compiled = engine.Jsonata(asked["code"])
        frame = compiled.create_frame()
        frame.set_runtime_bounds(int(asked["timeout"] * 1000), DEPTH_LIMIT)
        for name, value in found["bindings"].items():
            frame.bind(name, value)
        answer["value"] = json.dumps(_plain(compiled.evaluate(found["subject"], frame)))
    except MemoryError:
        answer.update(kind="memory", error="It needs more memory than it has.")
    except (
        engine.JException, RecursionError, ValueError, TypeError, ArithmeticError, LookupError,
        AttributeError,
    ) as error:  # fmt: skip
        answer.update(kind="error", error=str(error)[:2_000])
    return json.dumps(answer).encode()


def _plain(value: Any) -> Any:
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
