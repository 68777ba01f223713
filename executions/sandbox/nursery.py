"""The nursery: a small process with one thread that forks one process per program.

It loads the engines once and runs no program itself. It ends, with all its children, when the
worker that started it is gone.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import struct
import sys
from dataclasses import dataclass, field
from typing import Any, NoReturn

from executions.engine.processes import set_name
from executions.sandbox import confined, wire

# What a worker says: an operation, the number of a process; START brings the process's socket.
COMMAND = struct.Struct("!cQ")
KILL = b"K"
EVALUATORS = {
    b"J": "javascript",
    b"P": "python",
    b"Q": "jsonata",
    b"S": "schema",
    # Documents: see executions/documents.py.
    b"R": "reading",
    b"W": "printing",
    b"C": "charts",
}


@dataclass(slots=True)
class Nursery:
    """The processes that are alive, and the way to the worker."""

    control: socket.socket
    children: dict[int, tuple[int, socket.socket]] = field(default_factory=dict)
    loaded: dict[str, Any] = field(default_factory=dict)

    def serve(self) -> NoReturn:
        """Fork, kill and reap until the worker is gone."""
        selector = selectors.DefaultSelector()
        wakeup, woken = socket.socketpair()
        for end in (wakeup, woken):
            end.setblocking(False)
        signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        selector.register(self.control, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is self.control:
                    self._obey()
                else:
                    with contextlib.suppress(BlockingIOError):
                        woken.recv(4096)
            self._reap()

    def _obey(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self.control, COMMAND.size, 1)
        except OSError:
            data, fds = b"", []
        if len(data) != COMMAND.size:
            self._end()
        operation, number = COMMAND.unpack(data)
        if operation == KILL:
            for pid, (known, _) in self.children.items():
                if known == number:
                    _kill(pid)
        elif fds:
            self._start(EVALUATORS[operation], number, socket.socket(fileno=fds[0]))

    def _start(self, language: str, number: int, sock: socket.socket) -> None:
        try:
            evaluator = self._load(language)
            pid = os.fork()
        except Exception as error:
            _tell(sock, {"broken": f"{type(error).__name__}: {error}"})
            sock.close()
            return
        if pid == 0:
            confined.run(evaluator, sock)
        # Both sides set it, so that whoever comes first the group exists.
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        self.children[pid] = (number, sock)

    def _load(self, language: str) -> Any:
        if language not in self.loaded:
            evaluator = importlib.import_module(f"executions.sandbox.{language}")
            evaluator.preload()
            # What is loaded stays shared with all children: the collector may not touch it.
            gc.collect()
            gc.freeze()
            self.loaded[language] = evaluator
        return self.loaded[language]

    def _reap(self) -> None:
        while True:
            try:
                pid = _ended()
                if not pid:
                    return
                if pid in self.children:
                    # Before the id is free for others: what the process left behind goes too.
                    with contextlib.suppress(OSError):
                        os.killpg(pid, signal.SIGKILL)
                pid, status = os.waitpid(pid if pid > 0 else -1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid in self.children:
                _, sock = self.children.pop(pid)
                _tell(sock, {"status": os.waitstatus_to_exitcode(status)})
                sock.close()
            elif not pid:
                return

    def _end(self) -> NoReturn:
        for pid in self.children:
            _kill(pid)
        os._exit(0)


def _ended() -> int:
    """A child that has ended and is not reaped; 0 where there is none, -1 where none can say."""
    if not hasattr(os, "waitid"):
        return -1
    found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return 0 if found is None else found.si_pid


def _kill(pid: int) -> None:
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(OSError):
            kill(pid, signal.SIGKILL)


def _tell(sock: socket.socket, ending: dict[str, Any]) -> None:
    # A worker that does not read any more does not want to know.
    sock.setblocking(False)
    with contextlib.suppress(OSError):
        sock.send(wire.frame(wire.ENDED, json.dumps(ending).encode()))


def main() -> NoReturn:
    """Serve the worker whose socket the command line names."""
    set_name("fm-sandbox")
    confined.adopt_orphans()
    Nursery(socket.socket(fileno=int(sys.argv[1]))).serve()
