"""The life of a program's process: give up everything, take one program, answer, end."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from executions.engine.processes import die_with_parent
from executions.sandbox import wire

Evaluate = Callable[[dict[str, Any], bytes], bytes]

MEGABYTE = 1024 * 1024
# A process that nobody gives a program ends; the worker asks for another one.
IDLE_SECONDS = 600.0
# What an engine itself takes on top of a program's memory.
ENGINE_MEMORY = 96 * MEGABYTE
# The engine stops a program at its limit where it can; the kernel stops the process this much on.
GRACE_SECONDS = 0.25
_NO_NEW_PRIVILEGES = 38
_CHILD_SUBREAPER = 36
_FIRST_FREE = 3


def adopt_orphans() -> None:
    """Make this process the parent of what its children leave behind, so that it is reaped."""
    _prctl(_CHILD_SUBREAPER, 1)


def run(evaluator: Any, sock: socket.socket) -> NoReturn:
    """Be the process of one program; called right after the fork, never returns."""
    try:
        try:
            evaluate, status = _ready(evaluator, sock)
        except Exception as error:
            broken = {"broken": f"{type(error).__name__}: {error}"}
            wire.send(sock, wire.ENDED, json.dumps(broken).encode())
        else:
            _serve(evaluate, sock, status)
    finally:
        # No exit handlers, no destructors: engines would wait for their threads.
        os._exit(0)


def _ready(evaluator: Any, sock: socket.socket) -> tuple[Evaluate, int]:
    _settle(sock)
    evaluate = evaluator.prepare()
    status = os.open("/proc/self/status", os.O_RDONLY) if sys.platform == "linux" else -1
    return evaluate, status


def _serve(evaluate: Evaluate, sock: socket.socket, status: int) -> None:
    sock.settimeout(IDLE_SECONDS)
    _, header = wire.receive(sock)
    _, names = wire.receive(sock)
    sock.settimeout(None)
    asked = json.loads(header)
    wire.send(sock, wire.STARTED)
    _limit(float(asked["timeout"]), int(asked["memory"]), status)
    try:
        answer = evaluate(asked, names)
    except MemoryError:
        found = {"kind": "memory", "error": "It needs more memory than it has."}
        answer = json.dumps(found).encode()
    if len(answer) > wire.MAX_ANSWER:
        answer = json.dumps({"kind": "too_large", "size": len(answer)}).encode()
    wire.send(sock, wire.ANSWER, answer)


def _settle(sock: socket.socket) -> None:
    """Leave everything of the nursery but the socket, and all rights that can be left."""
    nursery = os.getppid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    die_with_parent(nursery)
    _prctl(_NO_NEW_PRIVILEGES, 1)
    kept = sock.fileno()
    os.closerange(_FIRST_FREE, kept)
    os.closerange(kept + 1, 4096)
    # A busy program gives way to the worker, and is the first to go when memory runs out.
    os.nice(5)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(kind, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def _limit(seconds: float, megabytes: int, status: int) -> None:
    """From here on the kernel ends the process at its time and bounds its memory; no new files."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE_SECONDS)
    if status >= 0:
        most = _writable_memory(status) + megabytes * MEGABYTE + ENGINE_MEMORY
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _writable_memory(status: int) -> int:
    """Bytes of private writable memory that this process has mapped; what RLIMIT_DATA counts."""
    for line in os.pread(status, 4096, 0).decode().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
