"""postgresql: statements with bound parameters over a stored connection, each in a transaction."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import AsyncConnection, AsyncRawCursor

from executions import outbound
from executions.connections import Credentials
from executions.connectors import Answer, CallFailed, CallRefused, Connector, Operation, register
from executions.connectors.sql_operations import OPERATIONS, Call, call_of
from executions.connectors.sql_values import LOADERS, as_text, from_database
from executions.rules.sql_text import rendered
from executions.rules.templates import Renderer

Json = Any

PROVIDER = "postgresql"
PORT = 5432
TIMEOUT = 30.0
LONGEST = 300.0
CONNECT_SECONDS = 10
ROWS = 1_000
MOST_ROWS = 10_000
# A node's output may have a million characters; a row more should say so before that.
RESULT_CHARACTERS = 900_000
_TLS = ("disable", "prefer", "require", "verify-full")
# Classes of SQLSTATE that pass: lost connections, no resources, conflicts, a server that stops.
_PASSING = ("08", "40", "53", "55P03", "57", "58")
_REFUSALS = (
    "authentication failed", "does not exist", "pg_hba.conf", "not supported", "no password",
)  # fmt: skip
_SQL = ("query", "sql", "statement", "where")


class PostgresConnector(Connector):
    """One short connection per call, so that nothing of a call is left for the next one."""

    @property
    def provider(self) -> str:
        """Its name."""
        return PROVIDER

    @property
    def title(self) -> str:
        """Its name for people."""
        return "PostgreSQL"

    @property
    def synonyms(self) -> tuple[str, ...]:
        """Other names."""
        return ("postgres", "pg")

    def operations(self) -> Mapping[str, Operation]:
        """The catalogue."""
        return OPERATIONS

    def render(
        self, operation: str, parameters: Mapping[str, Json], render: Renderer
    ) -> dict[str, Json]:
        """Renders all but SQL, whose {{…}} become parameters."""
        return {
            key: rendered(value, render)
            if key in _SQL and isinstance(value, str)
            else render.value(value)
            for key, value in parameters.items()
        }

    async def run(
        self, operation: str, parameters: Mapping[str, Json], connection: Credentials | None
    ) -> Answer:
        """Runs the statement and commits; any failure leaves nothing behind."""
        if connection is None:
            raise CallRefused(
                "A database node needs a connection; add one with `manage.py add_connection NAME "
                "--provider postgresql --field host=… --field database=… --field user=… --secret "
                "password=-` and name it in `connection`.",
                field="connection",
            )
        call = call_of(operation, parameters)
        seconds = _seconds(parameters, connection)
        try:
            async with asyncio.timeout(seconds + 2 * CONNECT_SECONDS):
                return await self._run(call, parameters, connection, seconds)
        except TimeoutError as error:
            raise CallFailed(f"The database did not answer within {seconds:g} s.") from error
        except psycopg.Error as error:
            raise _failure(error) from error

    async def _run(
        self, call: Call, parameters: Mapping[str, Json], found: Credentials, seconds: float
    ) -> Answer:
        async with await _connect(found) as conn:
            is_read_only = _is_true(found.get("readOnly", "read_only")) or _is_true(
                parameters.get("readOnly")
            )
            await conn.execute(_settings(seconds, is_read_only=is_read_only))
            texts = [as_text(value) for value in call.statement.values]
            async with AsyncRawCursor(conn) as cursor:
                if call.statement.gives_rows:
                    rows, more = await _read(cursor, call, texts)
                    count = len(rows)
                else:
                    # Prepared, since only then the server takes one statement and no more.
                    await cursor.execute(call.statement.text.encode(), texts, prepare=True)
                    rows, more = [], False
                    count = max(cursor.rowcount, 0)
            # A failure here leaves open whether it took effect, like any lost answer.
            await conn.commit()
        return Answer(data=call.data(rows, count), details={"truncated": True} if more else {})


async def _read(
    cursor: AsyncRawCursor[Any], call: Call, texts: list[str | None]
) -> tuple[list[dict[str, Json]], bool]:
    """The rows, row by row, so that no result is larger in memory than it may be."""
    rows: list[dict[str, Json]] = []
    names: list[str] = []
    size = 0
    most = ROWS if call.limit is None else min(call.limit, MOST_ROWS)
    async for row in cursor.stream(call.statement.text.encode(), texts):
        names = names or [column.name for column in cursor.description or ()]
        if len(rows) >= most:
            if call.limit is not None and call.limit <= MOST_ROWS:
                return rows, True
            raise CallRefused(
                f"The statement gives more than {most:,} rows; add a LIMIT, or set `limit` (at "
                f"most {MOST_ROWS:,})."
            )
        value = {name: from_database(item) for name, item in zip(names, row, strict=True)}
        size += len(json.dumps(value, ensure_ascii=False)) + 2
        if size > RESULT_CHARACTERS:
            raise CallRefused(
                f"The rows have more than {RESULT_CHARACTERS:,} characters; select fewer columns "
                "or rows."
            )
        rows.append(value)
    return rows, False


async def _connect(found: Credentials) -> AsyncConnection[Any]:
    """A connection to an address that was checked. Nothing comes from this host's own files."""
    host = found.get("host", "hostname", "server").strip()
    port = _port(found.get("port", default=str(PORT)))
    if not host or host.startswith(("/", "@")) or "," in host:
        raise CallRefused(
            f"Connection {found.name!r} needs a field `host` with the name or address of one "
            "server.",
            field="connection",
        )
    outbound.refuse_odd_host(host)
    addresses = await outbound.resolve(host, port)
    mode = found.get("sslmode", "sslMode", "ssl_mode").lower()
    if not mode:
        is_near = not any(outbound.is_public(address) for address in addresses)
        mode = "prefer" if is_near else "require"
    if mode not in _TLS:
        raise CallRefused(f"sslmode is one of {', '.join(_TLS)}, not {mode!r}.", field="connection")
    failure: psycopg.Error | None = None
    for address in addresses:
        try:
            return await AsyncConnection.connect(
                host=host.strip("[]"), hostaddr=_plain(address), port=port,
                dbname=found.get("database", "dbname", "db", default="postgres"),
                user=found.get("user", "username", default="postgres"),
                password=found.get("password") or None,
                sslmode=mode, sslrootcert="system" if mode == "verify-full" else None,
                gssencmode="disable", passfile=os.devnull, service=None, options="",
                connect_timeout=CONNECT_SECONDS, application_name="flowmaestro node",
                client_encoding="UTF8", prepare_threshold=None, context=LOADERS,
            )  # fmt: skip
        except psycopg.OperationalError as error:
            failure = error
    assert failure is not None
    raise failure


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    return str(address).partition("%")[0]


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise CallRefused(f"{text[:20]!r} is no port.", field="connection")
    return int(text)


def _settings(seconds: float, *, is_read_only: bool) -> bytes:
    """For this transaction only, so that a pooler in between may give the server to others."""
    wanted = {
        "statement_timeout": f"'{int(seconds * 1000)}'",
        "idle_in_transaction_session_timeout": f"'{int((seconds + CONNECT_SECONDS) * 1000)}'",
        # Texts are quoted by doubling their quotes, which holds only with this.
        "standard_conforming_strings": "on",
        "datestyle": "'ISO'",
        "intervalstyle": "'iso_8601'",
        "timezone": "'UTC'",
        "transaction_read_only": "on" if is_read_only else "off",
    }
    return "; ".join(f"SET LOCAL {name} = {value}" for name, value in wanted.items()).encode()


def _seconds(parameters: Mapping[str, Json], found: Credentials) -> float:
    given = parameters.get("timeoutSeconds") or found.get("timeoutSeconds", "timeout")
    try:
        seconds = float(given) if given else TIMEOUT
    except (TypeError, ValueError):
        seconds = TIMEOUT
    return min(max(seconds, 0.1), LONGEST)


def _is_true(value: Json) -> bool:
    return value is True or str(value).lower() in ("true", "1", "yes", "on")


def _failure(error: psycopg.Error) -> CallRefused | CallFailed:
    """An error of the database in its own words."""
    state = error.sqlstate or ""
    said = error.diag.message_primary or str(error).strip() or type(error).__name__
    detail = error.diag.message_detail
    message = f"PostgreSQL: {said}" + (f" ({detail})" if detail else "")
    if state:
        message += f" [{state}]"
        return CallFailed(message) if state.startswith(_PASSING) else CallRefused(message)
    if isinstance(error, psycopg.OperationalError) and not any(
        text in message for text in _REFUSALS
    ):
        return CallFailed(message)
    return CallRefused(message)


register(PostgresConnector())
