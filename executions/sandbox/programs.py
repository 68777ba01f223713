"""Run a user's program, within its limits, and get its value; safe to call from many tasks."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakKeyDictionary

import orjson

from executions.errors import Invalid, Unavailable
from executions.sandbox import helper, wire
from executions.sandbox.helper import Confined

Json = Any
Language = Literal["javascript", "python", "jsonata", "schema"]

MAX_SECONDS = 300.0
MAX_MEMORY = 512
MAX_VALUE = 1_000_000
MAX_STREAM = 102_400
# Programs at work at the same time, per event loop; more of them wait their turn. Short ones have
# turns of their own, so that none waits for programs that may take minutes.
AT_WORK = 10
SHORT_SECONDS = 5.0
# How long a process may take to get ready, and how long past its limit the kernel may let it live.
_READY_SECONDS = 60.0
_GRACE_SECONDS = 5.0
_TRIES = 3
_CUT = "\n[cut at 100 KB]"

_Turns = tuple[asyncio.Semaphore, asyncio.Semaphore]
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns] = WeakKeyDictionary()


class ProgramError(Invalid):
    """A program failed; the message is the program's own error, with its line."""

    code = "program_failed"
    non_retryable = True


class ProgramTimeout(ProgramError):
    """A program took longer than it may."""

    code = "program_timeout"


class ProgramMemory(ProgramError):
    """A program needs more memory than it may have."""

    code = "program_memory"


class ProgramTooLarge(ProgramError):
    """A program's value is too large to be kept."""

    code = "too_large"


class SandboxLost(Unavailable):
    """The process of a program went away for a reason outside the program."""

    code = "sandbox_lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program, the names it sees, and its limits: wall time in seconds, memory in MB."""

    language: Language
    code: str
    names: Mapping[str, Json] = field(default_factory=dict)
    # Objects that hold these over all names; None where the program has no such object.
    inputs: Mapping[str, Json] | None = None
    variables: Mapping[str, Json] | None = None
    seconds: float = 30.0
    megabytes: int = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a program came to: its value, what it wrote, and the seconds it took."""

    value: Json
    stdout: str
    stderr: str
    seconds: float


async def run(program: Program) -> Outcome:
    """Run a program in a process of its own. Raises ProgramError or SandboxLost."""
    header, names = _request(program)
    async with _turn(program):
        for _ in range(_TRIES):
            began = time.monotonic()
            answer = await _once(program, header, names)
            if answer is not None:
                return _outcome(program, answer, time.monotonic() - began)
    raise SandboxLost("The code sandbox does not start; see that its packages are installed.")


def run_blocking(program: Program) -> Outcome:
    """`run` for code that is not asynchronous; in a thread of its own where a loop runs here."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(run(program))
    found: list[Outcome | BaseException] = []

    def work() -> None:
        try:
            found.append(asyncio.run(run(program)))
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=work, name="sandbox")
    thread.start()
    thread.join()
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


def _turn(program: Program) -> asyncio.Semaphore:
    loop = asyncio.get_running_loop()
    turns = _turns.get(loop)
    if turns is None:
        turns = _turns[loop] = (asyncio.Semaphore(AT_WORK), asyncio.Semaphore(AT_WORK))
    return turns[program.seconds <= SHORT_SECONDS]


def _request(program: Program) -> tuple[bytes, bytes]:
    header = {"code": program.code, "timeout": program.seconds, "memory": program.megabytes}
    names = {"names": program.names, "inputs": program.inputs, "variables": program.variables}
    try:
        data = orjson.dumps(names, default=dict)
    except TypeError:
        # What only escapes or long digits can say, such as a lone surrogate; ten times slower.
        data = json.dumps(names, default=dict).encode()
    if len(data) > wire.MAX_REQUEST:
        raise ProgramTooLarge(f"The program would get {len(data):,} bytes of data; name fewer.")
    return json.dumps(header).encode(), data


async def _once(program: Program, header: bytes, names: bytes) -> dict[str, Json] | None:
    """The answer of one process; None where it went before it took the program."""
    try:
        confined = helper.take(program.language)
    except OSError:
        return None
    started = False
    try:
        async with asyncio.timeout(_READY_SECONDS) as limit:
            loop = asyncio.get_running_loop()
            request = wire.frame(wire.HEADER, header) + wire.frame(wire.NAMES, names)
            await loop.sock_sendall(confined.sock, request)
            while True:
                kind, payload = await wire.receive_async(confined.sock)
                if kind == wire.ANSWER:
                    return _decoded(payload)
                if kind == wire.ENDED:
                    return _ended(program, json.loads(payload), started)
                started = True
                limit.reschedule(loop.time() + program.seconds + _GRACE_SECONDS)
    except TimeoutError:
        return {"kind": "timeout"} if started else None
    except OSError:
        return _torn(confined) if started else None
    finally:
        helper.kill(confined)
        helper.refill(program.language)


def _decoded(payload: bytes) -> dict[str, Json]:
    try:
        answer = json.loads(payload)
        if "value" in answer:
            if len(answer["value"]) > MAX_VALUE:
                return {"kind": "too_large", "size": len(answer["value"])}
            answer["value"] = json.loads(answer["value"])
    except (ValueError, RecursionError, TypeError):
        return {"kind": "error", "error": "The result is nested too deeply."}
    return dict(answer)


def _ended(program: Program, ending: dict[str, Json], started: bool) -> dict[str, Json] | None:
    if "broken" in ending:
        raise SandboxLost(f"The code sandbox cannot run {program.language}: {ending['broken']}")
    if not started:
        return None
    status = -int(ending["status"])
    if status == signal.SIGALRM:
        return {"kind": "timeout"}
    if status == signal.SIGKILL:
        raise SandboxLost("The program's process was killed from outside.")
    # What V8 and the allocators do without memory: they abort, by whatever signal.
    return {"kind": "memory", "error": "It needs more memory than it has, or broke its engine."}


def _torn(confined: Confined) -> dict[str, Json]:
    raise SandboxLost("The code sandbox ended while a program ran.")


def _outcome(program: Program, answer: dict[str, Json], seconds: float) -> Outcome:
    kind = answer.get("kind")
    if kind == "timeout":
        raise ProgramTimeout(
            f"It ran longer than its limit of {program.seconds * 1000:,.0f} ms; do less, or "
            "raise the limit."
        )
    if kind == "memory":
        raise ProgramMemory(
            f"{answer['error']} The limit is {program.megabytes} MB; use less, or raise it."
        )
    if kind == "too_large":
        raise ProgramTooLarge(
            f"The result has {answer['size']:,} characters, over the limit of {MAX_VALUE:,}; "
            "return less of it."
        )
    if kind is not None:
        raise ProgramError(str(answer.get("error") or "The program failed."))
    return Outcome(
        value=answer.get("value"),
        stdout=_cut(answer["stdout"]),
        stderr=_cut(answer["stderr"]),
        seconds=seconds,
    )


def _cut(text: str) -> str:
    """A stream of at most 100 KB, with a note where it was longer."""
    data = text.encode("utf-8", "replace")
    if len(data) <= MAX_STREAM:
        return data.decode()
    return data[:MAX_STREAM].decode("utf-8", "ignore") + _CUT
