"""Two sides that act on the same rows, each held right before its commit; an executor for after.

A deferred trigger keeps the transactions of a side waiting for its gate, an advisory lock, when
they have done everything but commit.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection

from executions.engine.connections import connect, parameters
from executions.engine.executor import Executor
from executions.engine.journal import Journal
from executions.engine.ticker import Ticker

_PATIENCE_SECONDS = 10.0
_GATES = {"A": 730_001, "B": 730_002}
_TABLES = ("executions_run", "executions_waittoken", "executions_worker")
_SET_UP = """
CREATE TABLE pair_moves (run_id text, old text, new text);
CREATE FUNCTION pair_moved() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO pair_moves VALUES (OLD.id, OLD.status, NEW.status);
  RETURN NULL;
END $$;
CREATE TRIGGER pair_moved AFTER UPDATE ON executions_run FOR EACH ROW
  WHEN (OLD.status <> NEW.status OR OLD.finished_at IS NOT NULL) EXECUTE FUNCTION pair_moved();
CREATE TRIGGER pair_moved AFTER UPDATE ON executions_waittoken FOR EACH ROW
  WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION pair_moved();
CREATE FUNCTION pair_signalled() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO pair_moves SELECT NEW.run_id, status, 'signalled' FROM executions_run
  WHERE id = NEW.run_id;
  RETURN NULL;
END $$;
CREATE TRIGGER pair_signalled AFTER INSERT ON executions_signal FOR EACH ROW
  EXECUTE FUNCTION pair_signalled();
CREATE FUNCTION pair_held() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  CASE current_setting('application_name')
    WHEN 'flowmaestro pair A' THEN PERFORM pg_advisory_xact_lock_shared(730001);
    WHEN 'flowmaestro pair B' THEN PERFORM pg_advisory_xact_lock_shared(730002);
    ELSE NULL;
  END CASE;
  RETURN NULL;
END $$;
""" + "".join(
    f"CREATE CONSTRAINT TRIGGER pair_held AFTER INSERT OR UPDATE ON {table} "
    "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pair_held();\n"
    for table in _TABLES
)
_TEAR_DOWN = (
    "".join(f"DROP TRIGGER pair_held ON {table};" for table in _TABLES)
    + "DROP TRIGGER pair_moved ON executions_run; DROP TRIGGER pair_moved ON executions_waittoken;"
    "DROP TRIGGER pair_signalled ON executions_signal; DROP FUNCTION pair_signalled;"
    "DROP FUNCTION pair_held; DROP FUNCTION pair_moved; DROP TABLE pair_moves"
)
_WAITING = """
SELECT l.locktype FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE NOT l.granted AND a.application_name = %s
"""


class Side:
    """One of the two: a thread with a Django connection, and a loop with the engine's own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"side {name}")
        self._loop = asyncio.new_event_loop()
        self._looping = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._looping.start()
        self._thread.submit(self._open).result()
        self.claims = self.on_loop(connect(f"pair {name}", durable=False)).result()
        self.journal = self.on_loop(self._begin_journal()).result()

    def on_thread(self, action: Callable[[], Any]) -> Future[Any]:
        """Starts a service call."""
        return self._thread.submit(action)

    def on_loop(self, job: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Starts a job of the engine's."""
        return asyncio.run_coroutine_threadsafe(job, self._loop)

    def close(self) -> None:
        """Closes the connections and ends the threads."""
        self.on_loop(self._end_journal()).result()
        self.on_loop(self.claims.close()).result()
        self._thread.submit(lambda: connection.close()).result()
        self._thread.shutdown()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._looping.join()
        self._loop.close()

    def _open(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET application_name = 'flowmaestro pair {self.name}'")

    async def _begin_journal(self) -> Journal:
        journal = Journal(
            lambda: connect(f"pair {self.name}", patience_ms=100), on_woken=lambda: None
        )
        self._writing = asyncio.ensure_future(journal.run())
        return journal

    async def _end_journal(self) -> None:
        self.journal.stop()
        await self._writing


class CurtainTicker(Ticker):
    """A ticker that ticks only while the curtain is open."""

    def __init__(self, executor: Executor) -> None:
        super().__init__(executor)
        self.open = threading.Event()
        self.ticking = threading.Lock()

    def _tick_safely(self) -> float:
        self.open.wait()
        with self.ticking:
            return super()._tick_safely()


class Stage:
    """The two sides, their gates, and the executor behind a curtain that runs all to its end."""

    def __init__(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_SET_UP)
        self._control = psycopg.connect(**parameters(), autocommit=True)
        self._aside = psycopg.connect(**parameters())
        self.sides = {name: Side(name) for name in _GATES}
        self._executor = Executor()
        self._ticker = CurtainTicker(self._executor)
        self._executor.ticker = self._ticker
        self._capacity, self._executor.capacity = self._executor.capacity, 0
        self._executor.start()

    def close(self) -> None:
        """Ends everything that was started here."""
        self._ticker.open.set()
        self._executor.stop(0)
        for side in self.sides.values():
            side.close()
        self._control.close()
        self._aside.close()
        with connection.cursor() as cursor:
            cursor.execute(_TEAR_DOWN)

    # ---- gates ----------------------------------------------------------------------------------

    def shut(self, name: str) -> None:
        """From now on this side's transactions stop right before their commit."""
        self._control.execute("SELECT pg_advisory_lock(%s)", [_GATES[name]])

    def open(self, name: str) -> None:
        """Lets this side commit, whatever it still has to."""
        self._control.execute("SELECT pg_advisory_unlock(%s)", [_GATES[name]])

    def forget_moves(self) -> None:
        """What was moved so far was moved by hand."""
        self._control.execute("DELETE FROM pair_moves")

    def until(
        self, *conditions: Callable[[], bool], side: str | None = None, pause: float = 0.001
    ) -> None:
        """Returns when one of the conditions holds, or this side waits for a gate or a lock."""
        ends = time.monotonic() + _PATIENCE_SECONDS
        while not any(condition() for condition in conditions):
            if side is not None and self._waits(side):
                return
            assert time.monotonic() < ends, "It came to no rest."
            time.sleep(pause)

    def _waits(self, name: str) -> bool:
        return bool(self._waits_for(name))

    def is_at_gate(self, name: str) -> bool:
        """Whether this side has nothing left to do but commit."""
        return self._waits_for(name) == [("advisory",)]

    def _waits_for(self, name: str) -> list[tuple[Any, ...]]:
        return self._control.execute(_WAITING, [f"flowmaestro pair {name}"]).fetchall()

    # ---- the executor ---------------------------------------------------------------------------

    @contextmanager
    def curtain_up(self) -> Iterator[None]:
        """The executor claims and ticks within the block, and rests outside it."""
        self._executor.capacity = self._capacity
        self._ticker.open.set()
        self._ticker.wake_at(0)
        self._executor.look()
        try:
            yield
        finally:
            self._executor.capacity = 0
            self._ticker.open.clear()
            with self._ticker.ticking:
                self.until(lambda: not self._executor._claiming and not self._executor.hand)

    def ask(self, query: str, ids: list[str]) -> list[tuple[Any, ...]]:
        """The rows of a query about some runs or tokens."""
        return self._control.execute(query, [ids]).fetchall()

    @contextmanager
    def held(self, run_id: str) -> Iterator[None]:
        """A third party has this run's row within the block."""
        with psycopg.connect(**parameters()) as third:
            third.execute("SELECT FROM executions_run WHERE id = %s FOR UPDATE", [run_id])
            yield

    def put_aside(self, ids: list[str]) -> None:
        """Locks runs that have had their play: claims and ticks of the next one pass them over."""
        self._aside.execute("SELECT FROM executions_run WHERE id = ANY(%s) FOR UPDATE", [ids])

    def fetch_back(self) -> None:
        """Frees what was put aside."""
        self._aside.commit()

    def clear(self) -> None:
        """After a failure: opens the gates, and takes from the stage what has not ended."""
        self._control.execute("SELECT pg_advisory_unlock_all()")
        self._aside.rollback()
        self._control.execute(
            "UPDATE executions_run SET status = 'CANCELED', claim = NULL, finished_at = now() "
            "WHERE status IN ('QUEUED', 'EXECUTING')"
        )

    def run_to_the_end(self, ids: list[str]) -> None:
        """Has the executor finish these runs."""
        with self.curtain_up():
            self.until(lambda: self._is_over(ids), pause=0.005)

    def _is_over(self, ids: list[str]) -> bool:
        query = "SELECT FROM executions_run WHERE id = ANY(%s) AND finished_at IS NULL LIMIT 1"
        return self.ask(query, ids) == []
