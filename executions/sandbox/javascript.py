"""Runs a JavaScript program in a fresh V8 isolate; used in a program's process only."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from py_mini_racer import (
    JSEvalException,
    JSFunction,
    JSOOMException,
    JSParseException,
    JSPromise,
    MiniRacer,
    init_mini_racer,
)

PRELUDE = Path(__file__).with_name("prelude.js").read_text()
_NAME = "program.js"
_LOOK_SECONDS = 0.05
_PLACE = re.compile(rf"{re.escape(_NAME)}:(\d+)")
_PARSE_PLACE = re.compile(r"^[^\n]*?:(\d+): (.*)")


def preload() -> None:
    """Load V8 and warm it; no thread is left, so that the process can fork."""
    init_mini_racer(flags=("--single-threaded",))
    racer = MiniRacer()
    racer.eval(PRELUDE)
    racer.close()


def prepare() -> Callable[[dict[str, Any], bytes], bytes]:
    """An isolate that is ready; the function runs one program in it."""
    racer = MiniRacer()
    tools: Any = racer.eval(PRELUDE)
    install: JSFunction = tools[0]
    finish: JSFunction = tools[1]

    ended = _watch_memory(racer)

    def evaluate(asked: dict[str, Any], names: bytes) -> bytes:
        racer.set_hard_memory_limit(int(asked["memory"]) * 1024 * 1024)
        try:
            return run(asked, names)
        finally:
            ended.set()

    def run(asked: dict[str, Any], names: bytes) -> bytes:
        lines = asked["code"].count("\n") + 1
        try:
            install(names.decode())
            # The program begins on the first line, so that its lines keep their numbers.
            promise = racer.eval(
                f"(async function () {{{asked['code']}\n"
                ";return typeof result === 'undefined' ? undefined : result;})()"
                f"\n//# sourceURL={_NAME}"
            )
            text = finish(promise)
            if isinstance(text, JSPromise):
                text = text.get()
            if not isinstance(text, str):
                raise JSEvalException("The program left no answer.")
            return _answer(json.loads(text), lines)
        except (JSOOMException, MemoryError):
            return _failed("memory", "It needs more memory than it has.")
        except JSParseException as error:
            return _failed("error", _parse_error(str(error), lines))
        except Exception as error:
            return _failed("error", str(error).partition("\n")[0][:2_000])

    return evaluate


def _watch_memory(racer: MiniRacer) -> threading.Event:
    """Raises MemoryError in the main thread where V8 stops a program and then says nothing.

    Stopped inside an asynchronous function, it calls nobody back. Returns what ends the watch.
    """
    ended = threading.Event()

    def stop(*_: object) -> None:
        if not ended.is_set():
            raise MemoryError

    def watch() -> None:
        while not ended.wait(_LOOK_SECONDS):
            if racer.was_hard_memory_limit_reached() and not ended.wait(4 * _LOOK_SECONDS):
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
                return

    signal.signal(signal.SIGUSR1, stop)
    threading.Thread(target=watch, daemon=True).start()
    return ended


def _answer(found: dict[str, Any], lines: int) -> bytes:
    error = found.pop("error", None)
    if error is not None:
        message = ": ".join(part for part in (error["name"], error["message"]) if part)
        places = [int(line) for line in _PLACE.findall(error["stack"])]
        if places and places[0] <= lines:
            message += f" (line {places[0]})"
        found["error"], found["kind"] = message, "error"
    return json.dumps(found).encode()


def _failed(kind: str, message: str) -> bytes:
    return json.dumps({"kind": kind, "error": message, "stdout": "", "stderr": ""}).encode()


def _parse_error(message: str, lines: int) -> str:
    found = _PARSE_PLACE.match(message)
    if found is None:
        return message.partition("\n")[0]
    line, text = int(found[1]), found[2]
    return f"{text} (line {line})" if line <= lines else f"{text} (at the end)"
