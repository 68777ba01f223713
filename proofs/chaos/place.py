"""Where chaos takes place: a directory, a PostgreSQL of its own, and FlowMaestro's supervisor.

The database is no child of the supervisor, so that whatever is killed there leaves it alone.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote

import psutil

from executions.engine.processes import child_setup
from flowmaestro.embedded import DATABASE, SUPERUSER, EmbeddedPostgres

REPOSITORY = Path(__file__).resolve().parents[2]
WORKERS = 2
EFFECTS = "FLOWMAESTRO_CHAOS_EFFECTS"
STOP_SECONDS = 15.0


class Database:
    """A PostgreSQL server. One thread keeps it, since it ends with the thread that started it."""

    def __init__(self, directory: Path) -> None:
        self._server = EmbeddedPostgres(directory)
        self._keeper = ThreadPoolExecutor(1, thread_name_prefix="database")

    @property
    def url(self) -> str:
        """How to reach it, as FLOWMAESTRO_DATABASE_URL says it."""
        host = quote(str(self._server.sockets), safe="")
        return f"postgresql://{SUPERUSER}@/{DATABASE}?host={host}&port=5432"

    def start(self) -> None:
        """Makes the server's files and starts it."""
        self._keeper.submit(self._server.start).result()

    def restart(self, *, crash: bool) -> None:
        """Ends every connection and starts again; with `crash` without any shutdown."""
        self._keeper.submit(self._restart, signal.SIGQUIT if crash else signal.SIGINT).result()

    def _restart(self, how: signal.Signals) -> None:
        process = self._server.process
        assert process is not None
        process.send_signal(how)
        process.wait()
        self._server.start()

    def stop(self) -> None:
        """Ends the server."""
        self._keeper.submit(self._server.stop, 10.0).result()
        self._keeper.shutdown()


class Place:
    """One chaos run's directory, database and supervisor."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.seed = seed
        self.directory = directory
        self.effects = directory / "effects"
        self.log = directory / "flowmaestro.log"
        self.database = Database(directory / "database")
        self.port = _free_port()
        self.keep = False
        self._up: subprocess.Popen[bytes] | None = None

    def prepare_environment(self) -> None:
        """Sets what this process's settings, and those of every process it starts, read."""
        for name in [name for name in os.environ if name.startswith("FLOWMAESTRO_")]:
            if name != "FLOWMAESTRO_POSTGRES_VERSION":
                del os.environ[name]
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "flowmaestro.settings",
            "FLOWMAESTRO_DATABASE_URL": self.database.url,
            "FLOWMAESTRO_DATA_DIR": str(self.directory / "data"),
            "FLOWMAESTRO_SECRET_KEY": secrets.token_urlsafe(48),
            "FLOWMAESTRO_TASK_MODULES": "proofs.chaos.tasks",
            "FLOWMAESTRO_WORKERS": str(WORKERS),
            "FLOWMAESTRO_GRACE_SECONDS": "1",
            "FLOWMAESTRO_LEASE_SECONDS": "6",
            # Kills from outside hit innocents as well: so often in a row they hit only by design.
            "FLOWMAESTRO_STALL_LIMIT": "5",
            "PORT": str(self.port),
            EFFECTS: str(self.effects),
        }

    def start_flowmaestro(self) -> None:
        """Starts `manage.py up`, which migrates, serves and works."""
        with self.log.open("ab") as log:
            self._up = subprocess.Popen(
                [sys.executable, "manage.py", "up"],
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=child_setup(signal.SIGTERM),
                start_new_session=True,
            )

    def poll(self) -> int | None:
        """The supervisor's exit status, None while it runs."""
        return self._up.poll() if self._up else 0

    def processes(self) -> list[tuple[str, int]]:
        """What the supervisor runs now: (kind, pid)."""
        assert self._up is not None
        found = []
        with suppress(psutil.Error):
            for process in psutil.Process(self._up.pid).children(recursive=True):
                with suppress(psutil.Error, OSError):
                    found.append((_kind(process), process.pid))
        return [(kind, pid) for kind, pid in found if kind]

    def is_healthy(self) -> bool:
        """Whether the web server answers that all is well."""
        try:
            url = f"http://127.0.0.1:{self.port}/healthz"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def stop_flowmaestro(self) -> int:
        """Stops it as an operator would; its exit status, negative when it had to be killed."""
        if self._up is None:
            return 0
        left = [pid for _, pid in self.processes()]
        if self._up.poll() is None:
            self._up.terminate()
        try:
            return self._up.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in (self._up.pid, *left):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return self._up.wait()


def _kind(process: psutil.Process) -> str:
    """What a process is: a name of the pool without `fm-`, or `web`; empty while it starts."""
    name = Path(f"/proc/{process.pid}/comm").read_text().strip()
    if name.startswith("fm-"):
        return name.removeprefix("fm-")
    return "web" if "daphne" in process.cmdline() else ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def made(seed: int) -> Iterator[Place]:
    """A place with its database at work. Its directory is kept when something is wrong there."""
    place = Place(Path(tempfile.mkdtemp(prefix="fm-chaos-")), seed)
    place.prepare_environment()
    place.database.start()
    try:
        yield place
    except BaseException:
        place.keep = True
        raise
    finally:
        place.stop_flowmaestro()
        place.database.stop()
        if place.keep:
            print(f"What is left of it: {place.directory}", file=sys.stderr)
        else:
            # A process killed a moment ago may still be closing its files.
            time.sleep(0.05)
            shutil.rmtree(place.directory, ignore_errors=True)
