"""Looking up what the waits of runs in hand have come to, on a connection of its own."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import psycopg

from executions.engine import failpoints, load, sql
from executions.engine.connections import Link
from executions.engine.live import LiveRun
from executions.engine.waits import Findings
from executions.errors import NotFound

if TYPE_CHECKING:
    from executions.engine.executor import Executor

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.5


class Lookups:
    """Answers questions about runs in hand; a lost connection only delays the answer."""

    def __init__(self, host: Executor) -> None:
        self.link = Link("lookups", durable=False)
        self._host = host

    def soon(self, live: LiveRun) -> None:
        """Looks up a run's waits; it does not park before the answer is there."""
        live.must_reload = True
        if not live.reloading:
            live.reloading = True
            self._host.spawn(self._reload(live))

    async def _reload(self, live: LiveRun) -> None:
        # A worker that stops looks too: a run that parks unseen would miss what it waits for.
        while live.must_reload and not live.dead:
            live.must_reload = False
            try:
                await self._look_up(live)
            except (psycopg.Error, OSError) as error:
                logger.warning("Looking up run %s failed and is tried again: %s", live.id, error)
                live.must_reload = True
                await self._pause()
        live.reloading = False
        live.moments.poke()

    async def _look_up(self, live: LiveRun) -> None:
        """Reads the run's `wakes`, and only then what its waits have come to."""
        failpoints.hit("lookup.before")
        conn = await self.link.get()
        cursor = await conn.execute(sql.LOOK_UP, ([live.id],))
        row = await cursor.fetchone()
        if live.dead:
            return
        if row is None or row[1] != live.claim:
            if not live.is_leaving:
                live.on_lost()
            return
        waits = [
            (wait.step_kind, wait.key, {"token": wait.subject})
            for wait in live.moments.waits.values()
        ]
        found = await load.findings(conn, {live.id: waits})
        live.cancel_requested |= row[4]
        live.pause_requested = row[5]
        failpoints.hit("lookup.after")
        if not live.dead:
            live.moments.found(found.get(live.id) or Findings(), row[3])

    async def join_token(self, live: LiveRun, token: str) -> None:
        """Makes the completion of a token that was made elsewhere wake this run.

        Raises NotFound when there is no such token.
        """
        home = live.row["workspace_id"]
        if not await self.query(sql.TOKEN_TO_JOIN, (token, home, home)):
            raise NotFound(f"There is no wait token {token!r}.", field="token")
        live.outbox.batch.extra().token_waits.append(token)
        failpoints.hit("join.before_commit")
        await live.outbox.written()
        failpoints.hit("join.after_commit")
        self.soon(live)

    async def query(self, statement: str, parameters: tuple[Any, ...]) -> list[Any]:
        """The rows of a statement, tried until the database answers.

        Given up only by a worker that stops and has no run in hand any more: to code, no answer
        would look like no rows.
        """
        while True:
            try:
                conn = await self.link.get()
                cursor = await conn.execute(statement, parameters)
                return await cursor.fetchall() if cursor.description else []
            except (psycopg.OperationalError, psycopg.InterfaceError, OSError):
                if self._host.stopping and not self._host.hand:
                    return []
                await self._pause()

    async def _pause(self) -> None:
        await self.link.drop()
        await asyncio.sleep(_PAUSE_SECONDS)
