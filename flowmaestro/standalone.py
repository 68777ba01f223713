"""The database for a single command: the one that runs, else the embedded one for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.management import call_command
from django.db import OperationalError, connection, connections

from executions.errors import Unavailable
from flowmaestro import datadir, embedded

# How long a database that somebody else is just starting may take.
PATIENCE_SECONDS = 45.0


@contextmanager
def database(say: Callable[[str], None]) -> Iterator[None]:
    """A database with its tables, for the length of a with block.

    Raises Unavailable with the reason when there is none and none can be started.
    """
    if settings.EMBEDDED_DATABASE and not _answers():
        yield from _own(say)
        return
    _wait_for_tables()
    yield


def _own(say: Callable[[str], None]) -> Iterator[None]:
    try:
        locks = datadir.PartLocks(settings.DATA_DIR, ["database"])
    except datadir.InUse:
        # Whoever holds the lock is about to bring the server up.
        _wait_for_tables()
        yield
        return
    try:
        say("Starting the embedded database ...")
        with embedded.running(settings.DATA_DIR):
            call_command("migrate", interactive=False, verbosity=0, skip_checks=True)
            try:
                yield
            finally:
                connections.close_all()
    except embedded.EmbeddedDatabaseError as error:
        raise Unavailable(str(error)) from error
    finally:
        locks.release()


def _answers() -> bool:
    try:
        connection.ensure_connection()
    except OperationalError:
        return False
    return True


def _wait_for_tables() -> None:
    """Return once the database has its tables: at once, unless it is just being set up."""
    ends = time.monotonic() + (PATIENCE_SECONDS if settings.EMBEDDED_DATABASE else 0.0)
    while (problem := _problem()) is not None:
        if time.monotonic() >= ends:
            raise Unavailable(problem)
        time.sleep(0.1)


def _problem() -> str | None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regprocedure('flowmaestro_now()') IS NOT NULL")
            row = cursor.fetchone()
    except OperationalError as error:
        connection.close()
        return f"The database does not answer: {str(error).strip()}"
    if row is None or not row[0]:
        return "The database has no tables yet; run `manage.py migrate`, or `manage.py up`."
    return None
