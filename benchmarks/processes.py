"""Worker processes of a contender: started, waited for, stopped; never anybody else's."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TypeVar

STOP_SECONDS = 12.0

T = TypeVar("T")


class Background:
    """A process that runs beside the measurement, its output in a log file."""

    def __init__(
        self, command: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self._log: IO[bytes] = log.open("ab")
        self.process = subprocess.Popen(
            [str(part) for part in command],
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        self.log = log

    def check(self) -> None:
        """Raise when the process has ended by itself."""
        code = self.process.poll()
        if code is not None:
            raise RuntimeError(f"{self.process.args!r} ended with {code}; see {self.log}.")

    def wait_for(self, ready: Path) -> None:
        """Return once the process has created that file."""

        def is_ready() -> bool:
            self.check()
            return ready.exists()

        wait_until(is_ready, what=str(ready))

    def stop(self, *, kill: bool = False) -> None:
        """End the process: SIGTERM, and SIGKILL when it has not ended in time."""
        if not kill:
            self.process.terminate()
        try:
            self.process.wait(timeout=0 if kill else STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()


def wait_until(
    ready: Callable[[], T], *, what: str, seconds: float = 60.0, every: float = 0.05
) -> T:
    """The first true answer of `ready`; TimeoutError naming `what` when none comes in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := ready():
            return answer
        time.sleep(every)
    raise TimeoutError(f"{what}: not within {seconds:g} s.")


def python_module(module: str, *arguments: str) -> list[str]:
    """The command that runs a module with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def free_port() -> int:
    """A port of this machine that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
