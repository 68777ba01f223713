"""Runs a Python program in the Monty interpreter; used in a program's process only.

Monty interprets in a process of its own, which belongs to the program's process group.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import math
import resource
from collections.abc import Callable
from typing import Any

import pydantic_monty as monty

from executions.sandbox import confined

MAX_MEMORY = 512
OUTPUT = 102_400
_NAME = "program.py"


def preload() -> None:
    """Nothing to load beyond the module."""


def prepare() -> Callable[[dict[str, Any], bytes], bytes]:
    """An interpreter that is ready; the function runs one program in it."""
    # The interpreter's process inherits this limit, over the finer one that it keeps itself.
    most = MAX_MEMORY * confined.MEGABYTE + 2 * confined.ENGINE_MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (most, resource.RLIM_INFINITY))
    pool = monty.Monty(min_processes=1, max_processes=1)
    pool.__enter__()

    def evaluate(asked: dict[str, Any], names: bytes) -> bytes:
        found = json.loads(names)
        inputs = found["names"]
        for scope in ("inputs", "variables"):
            if found.get(scope) is not None:
                inputs[scope] = {**found["names"], **found[scope]}
        printed = _Printed()
        answer: dict[str, Any] = {}
        limits = monty.ResourceLimits(
            max_feed_duration_secs=asked["timeout"], max_memory=asked["memory"] * confined.MEGABYTE
        )
        try:
            with pool.checkout(script_name=_NAME, limits=limits, os_policy=_SLEEPS) as session:
                answer["value"] = json.dumps(_value(session, asked["code"], inputs, printed))
        except (monty.MontySyntaxError, monty.MontyRuntimeError) as error:
            answer["kind"], answer["error"] = _kind(error), _message(error)
        except monty.MontyCrashedError:
            answer["kind"], answer["error"] = "memory", "The interpreter crashed."
        except (monty.MontyError, ValueError, TypeError, RecursionError) as error:
            answer["kind"], answer["error"] = "error", f"{type(error).__name__}: {error}"[:2_000]
        return json.dumps({**answer, **printed.streams()}).encode()

    return evaluate


# The wall clock ends a long sleep.
_SLEEPS = monty.OSPolicy(sleep="system", sleep_system_max=math.inf)


def _value(session: Any, code: str, inputs: dict[str, Any], printed: _Printed) -> Any:
    """What the program returns at its top level, else what it leaves in `result`, as JSON."""
    # A lone `...` at the end tells a program that returned from one that ran to its end.
    value = session.feed_run(f"{code}\n...", inputs=inputs, print_callback=printed)
    if value is ...:
        value = session.feed_run("try:\n    _ = result\nexcept NameError:\n    _ = None\n_")
    return _plain(value)


class _Printed:
    """Collects what a program prints, up to a limit."""

    def __init__(self) -> None:
        self._parts: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._left = {"stdout": OUTPUT + 1, "stderr": OUTPUT + 1}

    def __call__(self, stream: str, text: str) -> None:
        if self._left[stream] > 0:
            self._parts[stream].append(text[: self._left[stream]])
            self._left[stream] -= len(text)

    def streams(self) -> dict[str, str]:
        """The text of each stream."""
        return {name: "".join(parts) for name, parts in self._parts.items()}


def _plain(value: Any) -> Any:
    """A value of the interpreter as JSON; what is no data becomes its text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key if isinstance(key, str) else _key(key): _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, monty.MontyClassProxy):
        return _plain(value.attributes)
    if isinstance(value, decimal.Decimal):
        return str(value)
    return str(value)


def _key(key: Any) -> str:
    plain = _plain(key)
    return plain if isinstance(plain, str) else json.dumps(plain)


def _kind(error: monty.MontyError) -> str:
    inner = error.exception()
    if isinstance(inner, MemoryError):
        return "memory"
    limit = isinstance(inner, TimeoutError) and "limit exceeded" in str(inner)
    return "timeout" if limit else "error"


def _message(error: monty.MontySyntaxError | monty.MontyRuntimeError) -> str:
    text = error.display("type-msg")[:2_000]
    frames = error.traceback()
    return f"{text} (line {frames[-1].line})" if frames else text
