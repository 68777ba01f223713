"""The one PostgreSQL that all contenders share: the product's embedded one, a database for each."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from flowmaestro import embedded


class Postgres:
    """A running server with stock durability settings."""

    def __init__(self, server: embedded.EmbeddedPostgres) -> None:
        self._server = server
        self._admin = psycopg.connect(server.conninfo(embedded.SUPERUSER), autocommit=True)

    def close(self) -> None:
        """Close this connection to the server."""
        self._admin.close()

    def dsn(self, database: str) -> str:
        """The URL of a database of this server, as every contender's library reads it."""
        host = quote(str(self._server.sockets))
        return f"postgresql://{embedded.SUPERUSER}:@/{database}?host={host}"

    def recreate(self, database: str) -> str:
        """An empty database of that name; returns its URL."""
        name = sql.Identifier(database)
        self._admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        self._admin.execute(sql.SQL("CREATE DATABASE {}").format(name))
        return self.dsn(database)

    def checkpoint(self) -> None:
        """Write out what the last contender left dirty, so that the next does not pay for it."""
        self._admin.execute("CHECKPOINT")

    def setting(self, name: str) -> str:
        """The value of a server setting."""
        row = self._admin.execute("SELECT current_setting(%s)", (name,)).fetchone()
        return str(row[0]) if row else ""


@contextmanager
def running(data_dir: Path) -> Iterator[Postgres]:
    """The server of that directory, for the length of a with block."""
    with embedded.running(data_dir) as server:
        postgres = Postgres(server)
        try:
            yield postgres
        finally:
            postgres.close()
