"""Keeps processes running: restarts what dies, stops all of it in time, knows nothing of runs."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import psutil

from executions.engine.processes import child_setup

logger = logging.getLogger(__name__)

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
# A part that lived this long was fine; its next restart is immediate again.
STEADY_SECONDS = 30.0
TICK_SECONDS = 0.5


class Part(Protocol):
    """Something that runs beside others: a child process or the embedded database."""

    name: str

    def start(self) -> None:
        """Start it. Raises when that fails."""

    def poll(self) -> int | None:
        """The exit status once it has ended, None while it runs."""

    def stop(self, seconds: float) -> None:
        """End it within that time."""


@dataclass(kw_only=True)
class Child:
    """A child process in a session of its own: a Ctrl-C at the terminal reaches only its parent."""

    name: str
    command: Sequence[str]
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it dies with this process."""
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **self.env},
            preexec_fn=child_setup(signal.SIGKILL),
            start_new_session=True,
        )

    def poll(self) -> int | None:
        """Its exit status once it has ended."""
        return self.process.poll() if self.process else 0

    def tell(self) -> None:
        """Ask it to stop."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def stop(self, seconds: float) -> None:
        """Ask it to stop, and kill it with its own children when it takes longer."""
        if self.process is None:
            return
        self.tell()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            logger.warning("%s did not stop in time and is killed.", self.name)
            self.kill()

    def kill(self) -> None:
        """End it and all its descendants at once."""
        for process in [*self.descendants(), self.process]:
            with suppress(psutil.Error, ProcessLookupError):
                if process is not None:
                    process.kill()
        if self.process is not None:
            self.process.wait()

    def descendants(self) -> list[psutil.Process]:
        """Its living children, and theirs."""
        if self.process is None:
            return []
        try:
            return list(psutil.Process(self.process.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return []


class Backoff:
    """When a part that keeps dying is started again: sooner at first, later and later."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started_at = clock()
        self._pause = 0.0
        self._not_before: float | None = None

    def is_due(self) -> bool:
        """Whether a dead part may be started now; asking for the first time sets the pause."""
        now = self._clock()
        if self._not_before is None:
            steady = now - self._started_at >= STEADY_SECONDS
            doubled = min(LONGEST_PAUSE, max(FIRST_PAUSE, self._pause * 2))
            self._pause = FIRST_PAUSE if steady else doubled
            self._not_before = now + self._pause
        return now >= self._not_before

    def note_start(self) -> None:
        """The part was started, or an attempt was made."""
        self._started_at = self._clock()
        self._not_before = None


class Supervisor:
    """Runs parts until a signal ends it. `database` starts first and stops last."""

    def __init__(self) -> None:
        self.stopping = False
        self.database: Part | None = None
        self.children: list[Child] = []
        self._watched: list[Callable[[], None]] = []
        self._backoff: dict[str, Backoff] = {}
        self._starting = True
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)

    def watch(self, check: Callable[[], None]) -> None:
        """Call `check` about twice a second while running."""
        self._watched.append(check)

    def take_signals(self) -> None:
        """From now on, signals to end are obeyed in order, and the death of a child wakes `run`."""
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, self._on_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def _on_signal(self, signum: int, frame: Any) -> None:
        if self._starting and not self.stopping:
            self.stopping = True
            raise SystemExit(0)
        self.stopping = True

    def run(self) -> None:
        """Start the children, and restart what dies, until told to stop."""
        self._starting = False
        for child in self.children:
            self._start(child)
        while not self.stopping:
            for part in self._parts():
                if part.poll() is not None and not self.stopping:
                    self._revive(part)
            for check in self._watched:
                check()
            self._rest()

    def stop(self, seconds: float, *, children: float) -> None:
        """End all parts: the children together within `children` seconds, then the database."""
        self._starting = False
        self.stopping = True
        deadline = time.monotonic() + seconds
        for child in self.children:
            child.tell()
        children_deadline = time.monotonic() + children
        for child in self.children:
            child.stop(max(0.0, children_deadline - time.monotonic()))
        if self.database is not None:
            self.database.stop(max(1.0, deadline - time.monotonic()))

    def _parts(self) -> list[Part]:
        return [*([self.database] if self.database else []), *self.children]

    def _revive(self, part: Part) -> None:
        backoff = self._backoff.setdefault(part.name, Backoff())
        if backoff.is_due():
            logger.warning("%s ended (status %s) and is started again.", part.name, part.poll())
            self._start(part)

    def _start(self, part: Part) -> None:
        self._backoff.setdefault(part.name, Backoff()).note_start()
        try:
            part.start()
        except Exception:
            logger.exception("%s could not be started.", part.name)

    def _rest(self) -> None:
        """Wait for a signal, a child's death included, or the next tick."""
        if select.select([self._reader], [], [], TICK_SECONDS)[0]:
            os.read(self._reader, 4096)
