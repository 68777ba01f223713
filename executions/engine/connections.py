"""The engine's own connections: not Django's, and kept open as long as the process lives."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import psycopg
from django.db import connections

# The hot statements are planned once, for tables of any size: an index, never a scan. The server
# lets go of the locks of a host that was cut off in the middle of a transaction.
_SETTINGS = (
    "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off; "
    "SET statement_timeout = '60s'; SET idle_in_transaction_session_timeout = '10s'"
)


def parameters() -> dict[str, Any]:
    """How to reach the database of Django's default connection."""
    values = dict(connections["default"].get_connection_params())
    for name in ("cursor_factory", "context", "server_side_binding", "prepare_threshold"):
        values.pop(name, None)
    return values


async def connect(
    name: str, *, durable: bool = True, patience_ms: int | None = None
) -> psycopg.AsyncConnection[Any]:
    """An autocommit connection of the hot path; not `durable` where a loss repeats a claim."""
    conn = await psycopg.AsyncConnection.connect(
        **{**parameters(), "application_name": f"flowmaestro {name}"},
        autocommit=True,
        prepare_threshold=0,
    )
    settings = [_SETTINGS]
    if patience_ms is not None:
        # A lock that somebody keeps delays what needs it, and nothing else on this connection.
        settings.append(f"SET lock_timeout = {patience_ms:d}")
    if not durable:
        settings.append("SET synchronous_commit = off")
    try:
        await conn.execute("; ".join(settings), prepare=False)
    except BaseException:
        # Also when whoever asked for it stops meanwhile.
        await conn.close()
        raise
    return conn


class Link:
    """One of the engine's connections, opened when needed and again after it broke."""

    def __init__(self, name: str, *, durable: bool = True) -> None:
        self._name = name
        self._durable = durable
        self._conn: psycopg.AsyncConnection[Any] | None = None
        self._opening = asyncio.Lock()

    async def get(self) -> psycopg.AsyncConnection[Any]:
        """The open connection. Raises psycopg.Error or OSError when the database is away."""
        async with self._opening:
            if self._conn is None or self._conn.closed:
                self._conn = await connect(self._name, durable=self._durable)
            return self._conn

    async def drop(self) -> None:
        """Closes the connection; the next use opens another."""
        conn, self._conn = self._conn, None
        if conn is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                await conn.close()
