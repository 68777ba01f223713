"""A worker's side of the nursery: start it, get processes from it, have them killed."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path

from executions.sandbox.nursery import COMMAND, EVALUATORS, KILL

# Processes per language that wait for a program, so that none waits for its process.
SPARES = 2
_START = {language: code for code, language in EVALUATORS.items()}
_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv.pop()); "
    "from executions.sandbox.nursery import main; main()"
)


@dataclass(frozen=True, slots=True)
class Confined:
    """A process that waits for a program, or runs one."""

    number: int
    sock: socket.socket


@dataclass(slots=True)
class _Helper:
    process: subprocess.Popen[bytes]
    control: socket.socket
    spares: defaultdict[str, deque[Confined]] = field(default_factory=lambda: defaultdict(deque))


_lock = threading.Lock()
_helper: _Helper | None = None
_numbers = 0


def take(language: str) -> Confined:
    """A process for one program of this language; it may still be getting ready."""
    with _lock:
        helper = _running()
        if helper.spares[language]:
            return helper.spares[language].popleft()
        return _order(helper, language)


def refill(language: str) -> None:
    """Have spare processes forked, for the next programs of this language."""
    with _lock, contextlib.suppress(OSError):
        helper = _running()
        while len(helper.spares[language]) < SPARES:
            helper.spares[language].append(_order(helper, language))


def kill(confined: Confined) -> None:
    """End a process and whatever it started; nothing happens where it has ended."""
    with _lock, contextlib.suppress(OSError):
        if _helper is not None:
            _helper.control.sendall(COMMAND.pack(KILL, confined.number))
    confined.sock.close()


def stop() -> None:
    """End the nursery and all processes; the next program starts it anew."""
    global _helper
    with _lock:
        helper, _helper = _helper, None
    if helper is not None:
        _close(helper)
        with contextlib.suppress(subprocess.TimeoutExpired):
            helper.process.wait(5)


def process_id() -> int | None:
    """The nursery's process id, where it runs."""
    with _lock:
        return None if _helper is None else _helper.process.pid


def _running() -> _Helper:
    global _helper
    if _helper is not None and _helper.process.poll() is not None:
        _close(_helper)
        _helper = None
    if _helper is None:
        _helper = _start()
    return _helper


def _start() -> _Helper:
    ours, theirs = socket.socketpair()
    # Nothing of this process's environment is passed on, least of all its secrets.
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8"}
    for name in ("LD_LIBRARY_PATH", "MONTY_BIN"):
        if name in os.environ:
            environment[name] = os.environ[name]
    monty = shutil.which("monty", path=str(Path(sys.executable).parent))
    if monty is not None:
        environment.setdefault("MONTY_BIN", monty)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", _PROGRAM, str(theirs.fileno()), str(_ROOT)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=True,
            pass_fds=(theirs.fileno(),),
            cwd="/",
            env=environment,
            # A Ctrl-C at the terminal is for the worker, which ends the nursery when it ends.
            start_new_session=True,
        )
    return _Helper(process, ours)


def _order(helper: _Helper, language: str) -> Confined:
    global _numbers
    _numbers += 1
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        try:
            socket.send_fds(
                helper.control, [COMMAND.pack(_START[language], _numbers)], [theirs.fileno()]
            )
        except OSError:
            ours.close()
            raise
    return Confined(_numbers, ours)


def _close(helper: _Helper) -> None:
    helper.control.close()
    for spares in helper.spares.values():
        for spare in spares:
            spare.sock.close()


def _forget() -> None:
    """After a fork: the nursery is the parent's, and so are the ends of its sockets."""
    global _helper, _lock
    _lock = threading.Lock()
    helper, _helper = _helper, None
    if helper is not None:
        _close(helper)
        # It is no child of this process: there is nothing to wait for.
        helper.process.returncode = 0


os.register_at_fork(after_in_child=_forget)
atexit.register(stop)
