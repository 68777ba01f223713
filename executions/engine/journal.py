"""Group commit: what all the runs of a process want written goes into one transaction at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import psycopg

from executions.engine import failpoints, flush, sql
from executions.engine.failures import encodable
from executions.engine.rows import Batch

if TYPE_CHECKING:
    from executions.engine.live import LiveRun

logger = logging.getLogger(__name__)

Connection = psycopg.AsyncConnection[Any]
Item = tuple["LiveRun", Batch]

# SQLSTATE classes that blame the data: bad values, constraints, limits.
_DATA_CLASSES = ("22", "23", "54")
_LOCKED_PAUSE = 0.001
_HELD_PAUSE = 0.25
_RECONNECT_PAUSES = (0.05, 0.2, 0.5, 1.0)


class Journal:
    """The one writer of a process. Runs mark themselves; the loop writes whatever has collected."""

    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], *, on_woken: Callable[[], None]
    ) -> None:
        self._connect = connect
        self._on_woken = on_woken
        self._conn: Connection | None = None
        self._dirty: dict[LiveRun, None] = {}
        self._wanted = asyncio.Event()
        self._stopping = False

    def mark(self, live: LiveRun) -> None:
        """Says that `live` has something to write."""
        self._dirty[live] = None
        self._wanted.set()

    def forget(self, live: LiveRun) -> None:
        """Drops what a lost run wanted written."""
        self._dirty.pop(live, None)

    async def run(self) -> None:
        """Writes until `stop`, and then until nothing is left."""
        while not (self._stopping and not self._dirty):
            await self._wanted.wait()
            self._wanted.clear()
            await self._write_collected()
        await self.close()

    async def _write_collected(self) -> None:
        """One round. Apart from the loop, whose frame would keep the last runs in memory."""
        lives, self._dirty = list(self._dirty), {}
        await self._write([(live, live.outbox.take()) for live in lives if not live.dead])

    def stop(self) -> None:
        """Ends `run` once everything marked is written."""
        self._stopping = True
        self._wanted.set()

    async def _write(self, items: Sequence[Item]) -> None:
        """One flush, repeated until every item is written, deferred, lost or convicted."""
        if not items:
            return
        try:
            accepted, missing = await self._flush_until_connected(items)
        except psycopg.errors.LockNotAvailable:
            await self._around_lock(items)
            return
        except psycopg.Error as error:
            if (error.sqlstate or "")[:2] in _DATA_CLASSES:
                await self._blame(items, error)
            else:
                await self._try_later(items, error)
            return
        except Exception as error:  # What cannot even be sent is its run's own fault.
            await self._blame(items, error)
            return
        for live, batch in items:
            result = accepted.get(live.id)
            if result is not None:
                live.on_flushed(batch, result)
        failpoints.hit("flush.told")
        if missing:
            deferred = [item for item in items if item[0].id in missing]
            try:
                await self._resolve_missing(deferred)
            except (psycopg.Error, OSError) as error:
                logger.warning("What became of a flush is asked again: %s", error)
                await self.close()
                for live, _batch in deferred:
                    if not live.dead:
                        self.mark(live)

    async def _flush_until_connected(
        self, items: Sequence[Item]
    ) -> tuple[dict[str, flush.Result], set[str]]:
        """Flushes; after a lost connection or a deadlock again, for these blame nobody.

        A commit whose answer was lost is safe to send again: `flush_no` says it is there.
        """
        tries = 0
        while True:
            try:
                conn = await self._connected()
                failpoints.hit("flush.before")
                accepted, woken = await flush.write(conn, items)
                failpoints.hit("flush.after_commit")
            except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                logger.info("A flush met a deadlock and is written again.")
                continue
            except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as error:
                if isinstance(error, psycopg.Error) and (
                    isinstance(error, psycopg.errors.LockNotAvailable)
                    or (error.sqlstate or "")[:2] == "54"
                ):
                    raise
                logger.warning("The journal lost its connection and tries again: %s", error)
                await self.close()
                await asyncio.sleep(_RECONNECT_PAUSES[min(tries, len(_RECONNECT_PAUSES) - 1)])
                tries += 1
                items = [item for item in items if not item[0].dead]
                if not items:
                    return {}, set()
                continue
            if woken:
                self._on_woken()
            return accepted, {live.id for live, _ in items} - accepted.keys()

    async def _around_lock(self, items: Sequence[Item]) -> None:
        """A child that somebody holds delays the end of its parent, and nobody else's flush."""
        if len(items) > 1:
            middle = len(items) // 2
            await self._write(items[:middle])
            await self._write(items[middle:])
        elif not items[0][0].dead:
            live = items[0][0]
            asyncio.get_running_loop().call_later(_HELD_PAUSE, self._mark_again, live)

    def _mark_again(self, live: LiveRun) -> None:
        if not live.dead:
            self.mark(live)

    async def _blame(self, items: Sequence[Item], error: Exception) -> None:
        """Halves a refused flush until the culprit stands alone."""
        if len(items) > 1:
            middle = len(items) // 2
            await self._write(items[:middle])
            await self._write(items[middle:])
            return
        live, _batch = items[0]
        logger.error("PostgreSQL refused what run %s wanted written: %s", live.id, error)
        live.on_refused(encodable(str(error)).partition("\n")[0])

    async def _try_later(self, items: Sequence[Item], error: psycopg.Error) -> None:
        """An error that no data caused, such as a table that a deploy is changing: wait for it."""
        logger.error("A flush failed and comes again in a second.", exc_info=error)
        await self.close()
        await asyncio.sleep(1.0)
        for live, _batch in items:
            if not live.dead:
                self.mark(live)

    async def _resolve_missing(self, items: Sequence[Item]) -> None:
        """Tells apart runs that were lost, rows that are locked, and flushes written before."""
        conn = await self._connected()
        cursor = await conn.execute(sql.LOOK_UP, ([live.id for live, _ in items],))
        rows = {row[0]: row for row in await cursor.fetchall()}
        locked = False
        for live, batch in items:
            row = rows.get(live.id)
            if row is None or row[1] != live.claim:
                if row is not None and row[1] is None and row[2] >= batch.no and batch.move:
                    live.on_flushed(batch, flush.Result(True, False, row[3]))
                else:
                    live.on_lost()
            elif row[2] >= batch.no:
                live.on_flushed(batch, flush.Result(False, row[4], row[3], row[5]))
            else:
                locked = True
                self.mark(live)
        if locked:
            await asyncio.sleep(_LOCKED_PAUSE)

    async def _connected(self) -> Connection:
        if self._conn is None or self._conn.closed:
            self._conn = await self._connect()
        return self._conn

    async def close(self) -> None:
        """Closes the connection; the next write opens another."""
        if self._conn is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                await self._conn.close()
            self._conn = None
