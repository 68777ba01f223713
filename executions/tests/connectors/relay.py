"""Makes the test database reachable over TCP on this machine, as databases of others are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import connection


@contextmanager
def database_port() -> Iterator[int]:
    """A port that leads to the database of Django's connection."""
    where = connection.settings_dict
    path = Path(where["HOST"]) / f".s.PGSQL.{where['PORT'] or 5432}"
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(_serve(str(path)))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _serve(path: str) -> asyncio.Server:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other_writer = await asyncio.open_unix_connection(path)
        await asyncio.gather(_pump(reader, other_writer), _pump(other_reader, writer))

    return await asyncio.start_server(relay, "127.0.0.1", 0)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    # What still relays ends with its connections.
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            task.cancel()
    await asyncio.sleep(0)
