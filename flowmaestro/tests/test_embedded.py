"""The embedded PostgreSQL and the checks of whatever database is used."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import OperationalError, connection

from executions.tests.waiting import eventually
from flowmaestro import checks, embedded

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A short temporary directory."""
    directory = Path(tempfile.mkdtemp(prefix="fm-pg-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def do(server: embedded.EmbeddedPostgres, statement: str) -> None:
    """Run one statement on the server."""
    with psycopg.connect(server.conninfo(), autocommit=True) as link:
        link.execute(statement)


def ask(server: embedded.EmbeddedPostgres, query: str) -> str:
    """One value from the server."""
    with psycopg.connect(server.conninfo(), autocommit=True) as link:
        row = link.execute(query).fetchone()
        return str(row[0]) if row else ""


def test_it_starts_from_nothing_and_keeps_its_rows(data_dir):
    with embedded.running(data_dir) as server:
        do(server, "CREATE TABLE t AS SELECT 42 AS n")
        assert ask(server, "SHOW fsync") == "on"
        assert ask(server, "SHOW synchronous_commit") == "on"
        assert ask(server, "SHOW listen_addresses") == ""
        assert (data_dir / "postgres").stat().st_mode & 0o077 == 0
    assert not (data_dir / "postgres" / "postmaster.pid").exists()
    with embedded.running(data_dir) as server:
        assert ask(server, "SELECT n FROM t") == "42"


def test_a_killed_server_and_a_server_left_behind_do_not_block_the_next_start(data_dir):
    killed = embedded.EmbeddedPostgres(data_dir)
    killed.start()
    assert killed.process is not None
    killed.process.kill()
    killed.process.wait()

    left_behind = embedded.EmbeddedPostgres(data_dir)
    left_behind.start()
    with embedded.running(data_dir) as server:
        assert left_behind.poll() is not None
        assert ask(server, "SELECT 1") == "1"


def test_a_pid_file_that_names_a_stranger_does_not_block_the_start(data_dir):
    with embedded.running(data_dir):
        pass
    for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
        (data_dir / "postgres" / name).write_text(f"{os.getppid()}\n{data_dir}\n")
    with embedded.running(data_dir) as server:
        assert ask(server, "SELECT 1") == "1"


def test_files_half_made_by_a_killed_first_start_are_made_anew(data_dir):
    half = data_dir / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18")
    with embedded.running(data_dir) as server:
        assert ask(server, "SELECT 1") == "1"
    assert not half.exists()


def test_a_path_too_long_for_a_socket_gets_a_short_one(data_dir):
    long = data_dir / ("long" * 30)
    sockets = embedded.socket_dir(long)
    assert sockets != embedded.server_dir(long)
    try:
        with embedded.running(long) as server:
            assert ask(server, "SELECT 1") == "1"
            assert sockets.stat().st_mode & 0o777 == 0o700
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


def test_the_minimum_version_works_and_is_kept(data_dir, monkeypatch):
    monkeypatch.setenv("FLOWMAESTRO_POSTGRES_VERSION", "16")
    with embedded.running(data_dir) as server:
        assert ask(server, "SHOW server_version").startswith("16.")
    monkeypatch.delenv("FLOWMAESTRO_POSTGRES_VERSION")
    with embedded.running(data_dir) as server:
        assert ask(server, "SHOW server_version").startswith("16.")
        do(server, "CREATE EXTENSION vector")
        assert ask(server, "SELECT '[1,2]'::vector").startswith("[1,2")


def test_a_broken_data_directory_is_explained(data_dir):
    with embedded.running(data_dir):
        pass
    (data_dir / "postgres" / "global" / "pg_control").unlink()
    with pytest.raises(embedded.EmbeddedDatabaseError, match="pg_control"):
        embedded.EmbeddedPostgres(data_dir).start()


def test_the_server_ends_when_its_owner_is_killed(data_dir):
    source = (
        "import pathlib, time\n"
        "from flowmaestro.embedded import EmbeddedPostgres\n"
        f"server = EmbeddedPostgres(pathlib.Path({str(data_dir)!r}))\n"
        "server.start()\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-c", source]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"ready\n"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(data_dir / "postgres" / ".s.PGSQL.5432"))
            owner.kill()
    pid_file = data_dir / "postgres" / "postmaster.pid"
    assert eventually(lambda: not pid_file.exists())


# --- Checks ---------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_test_database_passes_the_checks():
    assert checks.check_database(databases=["default"]) == []


@pytest.mark.parametrize("version", [150017, 90624])
def test_an_old_postgresql_is_refused(version):
    (error,) = checks._version_errors(version)
    assert "16 or newer is needed" in error.msg
    assert checks._version_errors(160000) == []


@pytest.mark.parametrize(
    ("version", "accepted"), [(None, False), ("0.7.4", False), ("0.8.0", True), ("1.0", True)]
)
def test_pgvector_must_be_there_and_new_enough(version, accepted):
    errors = checks._vector_errors(version)
    assert (errors == []) is accepted
    assert all("0.8 or newer" in error.msg for error in errors)


def test_a_database_that_does_not_answer_is_one_clear_error(monkeypatch):
    def refuse(*args):
        raise OperationalError('connection to server on socket "x" failed\nIs it running?')

    monkeypatch.setattr(connection, "cursor", refuse)
    with pytest.raises(SystemCheckError, match="The database does not answer: connection to"):
        call_command("check", databases=["default"])
