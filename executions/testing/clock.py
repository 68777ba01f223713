"""Virtual time: the test database's `flowmaestro_now()` reads a table that the test changes."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import connection

from executions.engine.clock import Clock

# Whole seconds, so that sums of lengths are exact and `advance(days=3)` meets the end of a
# three-day sleep to the microsecond.
_FREEZE = """
DROP TABLE IF EXISTS flowmaestro_test_clock;
CREATE UNLOGGED TABLE flowmaestro_test_clock AS
  SELECT date_trunc('second', statement_timestamp()) AS at;
CREATE OR REPLACE FUNCTION flowmaestro_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
AS 'SELECT at FROM flowmaestro_test_clock';
"""
# The function as the migration makes it.
_THAW = """
CREATE OR REPLACE FUNCTION flowmaestro_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
AS 'SELECT statement_timestamp()';
DROP TABLE flowmaestro_test_clock;
"""
_STAMPED_COLUMNS = r"""
SELECT d.adrelid::regclass::text, quote_ident(a.attname)
FROM pg_attrdef d
JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
JOIN pg_class c ON c.oid = d.adrelid
WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
  AND pg_get_expr(d.adbin, d.adrelid) = 'statement_timestamp()'
"""


class FrozenClock(Clock):
    """A worker's clock that stands still between moves."""

    def __init__(self, moment: datetime) -> None:
        self._now = moment.timestamp()

    def now(self) -> float:
        """Epoch seconds by the database's virtual clock."""
        return self._now

    def set(self, epoch_seconds: float) -> None:
        """Nothing new: the database's clock stands still too."""

    def move(self, moment: datetime) -> None:
        """The database's clock has been moved."""
        self._now = moment.timestamp()


class VirtualTime:
    """The database's time in a test. It starts at the present second and stands still."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)
        self._columns: list[tuple[str, str]] = []

    def start(self) -> None:
        """Takes the database's clock over, for its functions and for what stamps new rows."""
        with connection.cursor() as cursor:
            cursor.execute(_STAMPED_COLUMNS)
            self._columns = cursor.fetchall()
            cursor.execute(_FREEZE + self._defaults("flowmaestro_now()"))
            cursor.execute("SELECT at FROM flowmaestro_test_clock")
            self.now = cursor.fetchone()[0]

    def stop(self) -> None:
        """Gives the database its own clock back."""
        with connection.cursor() as cursor:
            cursor.execute(_THAW + self._defaults("statement_timestamp()"))

    def move(self, moment: datetime) -> None:
        """Moves the clock; it never goes back."""
        with connection.cursor() as cursor:
            cursor.execute("UPDATE flowmaestro_test_clock SET at = %s", [moment])
        self.now = moment

    def _defaults(self, expression: str) -> str:
        return "".join(
            f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT {expression};"
            for table, column in self._columns
        )
