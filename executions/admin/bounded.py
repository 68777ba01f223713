"""A bound on how long a page may ask the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled

from executions.errors import Unavailable

SECONDS = 3.0


class TooSlow(Unavailable):
    """The question looks at more than a page may."""

    code = "too_slow"


@contextmanager
def bounded(seconds: float | None = None) -> Iterator[None]:
    """Each statement inside ends within the time. Raises TooSlow for one that does not."""
    seconds = SECONDS if seconds is None else seconds
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT current_setting('statement_timeout')")
                before = cursor.fetchone()[0]
                _limit(f"{seconds * 1000:.0f}")
            yield
            # Where a transaction is open around this one, the bound must not outlive the block.
            _limit(before)
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        raise TooSlow(
            f"This looks at too many rows to be answered within {seconds:g} s: narrow it by time "
            "or task."
        ) from error


def _limit(milliseconds: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [milliseconds])
