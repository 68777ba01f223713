"""manage.py up: the database, the web server and the workers, under one supervisor."""

from __future__ import annotations

import socket
import sys
import time
from argparse import ArgumentParser
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection, connections

from flowmaestro import datadir
from flowmaestro.embedded import EmbeddedDatabaseError, EmbeddedPostgres
from flowmaestro.heartbeat import HeartbeatWatch
from flowmaestro.supervisor import Child, Supervisor

# Of several hosts that start at once, one migrates and makes the first user; the others wait.
SETUP_LOCK = 0x666D_7570
# What the pool needs beyond its grace period, and the database after it.
POOL_MARGIN = 3.2
DATABASE_MARGIN = 1.6


class Command(BaseCommand):
    """Starts everything and keeps it running until SIGTERM or Ctrl-C."""

    help = "Migrate, serve and run workers under one supervisor, until stopped."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which parts; all of them by default."""
        parser.add_argument("--web", action="store_true", help="start only the web server")
        parser.add_argument("--worker", action="store_true", help="start only the workers")

    def handle(self, *args: Any, **options: Any) -> None:
        """Take the locks, start, last until told to stop, then end all of it in order."""
        parts = {part for part in ("web", "worker") if options[part]} or {"web", "worker"}
        needed = sorted(parts | ({"database"} if settings.EMBEDDED_DATABASE else set()))
        try:
            locks = datadir.PartLocks(settings.DATA_DIR, needed)
        except datadir.InUse as error:
            raise CommandError(str(error)) from None
        supervisor = Supervisor()
        supervisor.take_signals()
        grace = settings.FLOWMAESTRO.GRACE_SECONDS
        try:
            self._start(supervisor, parts)
            supervisor.run()
        finally:
            if supervisor.stopping:
                self.say("Stopping ...")
            supervisor.stop(grace + POOL_MARGIN + DATABASE_MARGIN, children=grace + POOL_MARGIN)
            locks.release()
        self.say("Stopped.")

    def _start(self, supervisor: Supervisor, parts: set[str]) -> None:
        if "web" in parts:
            _require_free_port()
        if settings.EMBEDDED_DATABASE:
            supervisor.database = Database()
            try:
                supervisor.database.start()
            except EmbeddedDatabaseError as error:
                raise CommandError(str(error)) from None
        _check_database()
        credentials = self._prepare_database()
        # Nothing of this process may hold a connection while children come and go.
        connections.close_all()
        if "web" in parts:
            supervisor.children.append(_web())
            supervisor.watch(Banner(self, credentials))
        if "worker" in parts:
            cluster = _cluster()
            supervisor.children.append(cluster)
            supervisor.watch(HeartbeatWatch(cluster))

    def _prepare_database(self) -> dict[str, str] | None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [SETUP_LOCK])
            try:
                call_command("migrate", interactive=False, verbosity=0, skip_checks=True)
                return datadir.first_run(settings.DATA_DIR, settings.PUBLIC_URL)
            finally:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [SETUP_LOCK])

    def say(self, text: str) -> None:
        """Print a line; a terminal or pipe that is gone is no reason to stop or to go on."""
        with suppress(OSError):
            self.stdout.write(text)
            self.stdout.flush()


class Database(EmbeddedPostgres):
    """The embedded database as a part of the supervisor."""

    name = "The database"

    def __init__(self) -> None:
        super().__init__(settings.DATA_DIR)


class Banner:
    """Says once, as soon as the web server accepts connections, where it is and how to get in."""

    def __init__(self, command: Command, credentials: dict[str, str] | None) -> None:
        self._command = command
        self._credentials = credentials
        self._done = False

    def __call__(self) -> None:
        """Try the port, until it answers once."""
        if self._done:
            return
        try:
            socket.create_connection((_local_host(), settings.PORT), timeout=0.5).close()
        except OSError:
            return
        self._done = True
        self._command.say(_banner(self._credentials))


def _banner(credentials: dict[str, str] | None) -> str:
    lines = [f"FlowMaestro runs at {settings.PUBLIC_URL}"]
    if credentials is None:
        lines.append(
            "  The login is the one of the host that created this database; "
            "`manage.py changepassword` sets a new password."
        )
    else:
        lines += [
            f"  login    {credentials['admin_username']} / {credentials['admin_password']}",
            f"  API key  {credentials['api_key']}",
            f"  (also in {datadir.credentials_file(settings.DATA_DIR)})",
        ]
    return "\n".join([*lines, "Ctrl-C stops it."])


def _web() -> Child:
    bind = ["--bind", settings.HOST, "--port", str(settings.PORT)]
    command = [sys.executable, "-m", "daphne", "--verbosity", "0", "--no-server-name", *bind]
    return Child(
        name="The web server", command=[*command, "flowmaestro.asgi:application"], env=_own_host()
    )


def _cluster() -> Child:
    manage = str(settings.BASE_DIR / "manage.py")
    command = [sys.executable, manage, "cluster"]
    return Child(name="The worker pool", command=command, env=_own_host())


def _own_host() -> dict[str, str]:
    """Lets workflows call this installation itself, as the shipped examples do."""
    allowed = dict.fromkeys(
        [
            *settings.FLOWMAESTRO.OUTBOUND_ALLOW_PRIVATE,
            f"127.0.0.1:{settings.PORT}",
            f"localhost:{settings.PORT}",
        ]
    )
    return {"FLOWMAESTRO_OUTBOUND_ALLOW_PRIVATE": ",".join(allowed)}


def _local_host() -> str:
    """The address at which this host reaches its own web server."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.HOST, settings.HOST)


def _require_free_port() -> None:
    """Refuse to start beside another server, which daphne would report again and again."""
    family = socket.AF_INET6 if ":" in settings.HOST else socket.AF_INET
    deadline = time.monotonic() + 2.0
    while True:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.HOST, settings.PORT))
            except OSError as error:
                # A web server whose supervisor was killed a moment ago is still on its way out.
                if time.monotonic() < deadline:
                    time.sleep(0.1)
                    continue
                raise CommandError(
                    f"Port {settings.PORT} on {settings.HOST} cannot be used "
                    f"({error.strerror}). Set PORT to another one."
                ) from None
            return


def _check_database() -> None:
    errors = checks.run_checks(tags=[checks.Tags.database], databases=["default"])
    if errors:
        raise CommandError("\n".join(f"{error.msg} {error.hint or ''}".strip() for error in errors))
