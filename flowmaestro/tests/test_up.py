"""`manage.py up` as people and hosts use it: start, stop, kill anything, start again.

One data directory serves the module, so that the database's files are made once.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from executions.tests.waiting import ends, eventually, is_alive
from flowmaestro.management.commands import up as up_command

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0
POOL = {"fm-cluster": 1, "fm-sentinel": 1, "fm-worker": 2, "fm-monitor": 1, "fm-pusher": 1}


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Up:
    """One `manage.py up`, its output, and every process that it was seen to have."""

    def __init__(self, data_dir: Path, port: int, *arguments: str, **extra: str) -> None:
        self.port = port
        self.output = data_dir.parent / f"output-{port}-{time.monotonic_ns()}"
        env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("FLOWMAESTRO_") and name != "PORT"
        }
        env |= {"FLOWMAESTRO_DATA_DIR": str(data_dir), "PORT": str(port)}
        # A short lease: after a kill of everything, health must come from workers of the new start.
        env |= {"FLOWMAESTRO_GRACE_SECONDS": "2", "FLOWMAESTRO_LEASE_SECONDS": "3"}
        env |= extra
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up", *arguments],
                cwd=ROOT,
                env=env,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.seen: dict[int, psutil.Process] = {}

    def family(self) -> list[psutil.Process]:
        """All its living processes."""
        try:
            found = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            found = []
        self.seen.update({process.pid: process for process in found})
        return [process for process in found if is_alive(process)]

    def named(self, name: str) -> list[psutil.Process]:
        """Its living processes of one kind."""
        return [process for process in self.family() if kind_of(process) == name]

    def health(self) -> tuple[int, dict[str, Any]]:
        """What /healthz answers; status 0 when nothing does."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            return 0, {}
        finally:
            connection.close()

    def is_complete(self) -> bool:
        """Whether each kind of process is there and all of it works."""
        kinds = [kind_of(process) for process in self.family()]
        wanted = {**POOL, "daphne": 1, "postmaster": 1}
        if any(kinds.count(kind) != count for kind, count in wanted.items()):
            return False
        status, answer = self.health()
        return status == 200 and answer["workers"] >= 2

    def completes(self) -> bool:
        """Whether it gets to be complete; a process that ended never will."""
        # Seen once is enough: workers of a killed pool may sign off a moment later.
        was_complete = eventually(
            lambda: self.process.poll() is not None or self.is_complete(), PATIENCE
        )
        return was_complete and self.process.poll() is None

    def is_gone(self, seconds: float = PATIENCE) -> bool:
        """Whether nothing that was seen is left."""
        return eventually(lambda: not any(map(is_alive, self.seen.values())), seconds)

    def text(self) -> str:
        """What it printed so far."""
        return self.output.read_text(errors="replace")


def kind_of(process: psutil.Process) -> str:
    """Our name for what a process is."""
    try:
        command = process.cmdline()
        if "daphne" in command:
            return "daphne"
        if command and command[0].endswith("/postgres") and "-D" in command:
            return "postmaster"
        return str(process.name())
    except psutil.Error:
        return "gone"


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """A data directory, short enough for a socket's path."""
    directory = Path(tempfile.mkdtemp(prefix="fm-up-"))
    yield directory / "data"
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def start(data_dir: Path) -> Iterator[Callable[..., Up]]:
    """Starts `up` on a free port, and ends what a failed test leaves behind."""
    started: list[Up] = []

    def start_up(*arguments: str, port: int | None = None, **extra: str) -> Up:
        started.append(Up(data_dir, port or free_port(), *arguments, **extra))
        return started[-1]

    yield start_up
    for up in started:
        up.family()
        if up.process.poll() is None:
            up.process.kill()
        up.process.wait()
        for process in up.seen.values():
            if is_alive(process):
                process.kill()


def test_it_starts_says_how_to_get_in_refuses_a_second_and_stops(start, data_dir):
    up = start()
    assert up.completes(), up.text()
    assert eventually(lambda: "Ctrl-C stops it." in up.text())

    file = data_dir / "credentials.json"
    credentials = json.loads(file.read_text())
    assert file.stat().st_mode & 0o777 == 0o600
    assert credentials["url"] == f"http://127.0.0.1:{up.port}"
    for value in credentials.values():
        assert value in up.text()

    second = start()
    assert second.process.wait(5) != 0
    assert f"runs already on the data directory {data_dir}" in second.text()
    assert str(up.process.pid) in second.text()

    stopped_at = time.monotonic()
    up.process.terminate()
    assert up.process.wait(10) == 0
    assert time.monotonic() - stopped_at < 10
    assert up.is_gone(1)
    assert not (data_dir / "postgres" / "postmaster.pid").exists()


def test_whatever_is_killed_comes_back(start):
    up = start()
    assert up.completes(), up.text()
    for kind in [*POOL, "daphne", "postmaster"]:
        victim = up.named(kind)[0]
        victim.kill()
        assert ends(victim)
        assert up.completes(), f"after {kind} was killed:\n{up.text()}"
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(10) == 0
    assert up.is_gone(1)
    # The supervisor never took a pool that works for one that hangs.
    assert "beat" not in up.text()


@pytest.mark.parametrize("victims", ["the supervisor", "everything"])
def test_after_a_kill_the_next_start_goes_on_with_the_same_data(start, data_dir, victims):
    up = start()
    assert up.completes(), up.text()
    before = json.loads((data_dir / "credentials.json").read_text())
    family = up.family()
    up.process.kill()
    if victims == "everything":
        for process in family:
            process.kill()
    up.process.wait()

    again = start(port=up.port)
    assert again.completes(), again.text()
    assert up.is_gone(10)
    assert json.loads((data_dir / "credentials.json").read_text()) == before
    again.process.terminate()
    assert again.process.wait(10) == 0


def test_a_taken_port_is_said_and_nothing_is_left(start):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        up = start(port=taken.getsockname()[1])
        assert up.process.wait(PATIENCE) != 0
    assert "Set PORT to another one." in up.text()
    assert "Traceback" not in up.text()


def test_a_stop_during_the_start_is_obeyed(start, data_dir):
    up = start()
    assert eventually(lambda: bool(up.named("postmaster")))
    up.process.terminate()
    assert up.process.wait(10) == 0
    assert "Traceback" not in up.text()
    assert up.is_gone(1)


def test_parts_on_an_outside_database_run_apart_and_only_once_each(database_url, start):
    outside = {"FLOWMAESTRO_DATABASE_URL": database_url}
    web = start("--web", **outside)
    worker = start("--worker", **outside)
    assert eventually(lambda: web.health()[0] == 200, PATIENCE), web.text() + worker.text()
    assert {kind_of(process) for process in web.family()} == {"daphne"}
    assert {kind_of(process) for process in worker.family()} == set(POOL)

    second = start("--worker", **outside)
    assert second.process.wait(PATIENCE) != 0
    assert f"its worker, process {worker.process.pid}" in second.text()

    worker.process.terminate()
    assert worker.process.wait(10) == 0
    assert eventually(lambda: web.health()[0] == 503, PATIENCE)
    web.process.terminate()
    assert web.process.wait(10) == 0


def test_an_outside_database_that_is_away_is_said(start):
    up = start(FLOWMAESTRO_DATABASE_URL=f"postgresql://postgres@127.0.0.1:{free_port()}/none")
    assert up.process.wait(PATIENCE) != 0
    assert "The database does not answer" in up.text()
    assert "Traceback" not in up.text()


def test_workflows_may_call_the_installation_they_run_on(settings):
    settings.PORT = 8123
    settings.FLOWMAESTRO = dataclasses.replace(
        settings.FLOWMAESTRO, OUTBOUND_ALLOW_PRIVATE=("10.0.0.7",)
    )
    child = up_command._cluster()
    allowed = child.env["FLOWMAESTRO_OUTBOUND_ALLOW_PRIVATE"]
    assert allowed == "10.0.0.7,127.0.0.1:8123,localhost:8123"
