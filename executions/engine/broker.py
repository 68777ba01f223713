"""The django-q2 broker whose queue is the runs table: its only message says "look"."""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from typing import Any

import psycopg
from django_q.brokers import Broker
from django_q.signing import SignedPackage

from executions.engine.connections import parameters

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.4
_DUE = """
SELECT EXISTS (SELECT FROM executions_run WHERE status = 'QUEUED' AND stalls = 0)
    OR EXISTS (SELECT FROM executions_run WHERE status = 'QUEUED' AND stalls > 0)
"""
_MESSAGE = {
    "name": "look",
    "func": "executions.engine.worker.look",
    "args": (),
    "kwargs": {},
    "save": False,
    "timeout": -1,
}


class RunBroker(Broker):
    """Wakes workers when a run is due. Lost, late or repeated messages change nothing."""

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key=list_key or "flowmaestro")
        # Opened by the pusher after the fork; a connection must not cross it.
        self._conn: psycopg.Connection[Any] | None = None

    def dequeue(self) -> list[tuple[str, str]] | None:
        """A wake-up when something is due, else None within half a second; never raises."""
        try:
            return self._wait()
        except Exception as error:  # q2 would sleep ten seconds on any error.
            logger.warning("The broker lost its connection: %s", error)
            self._close()
            time.sleep(_LOOK_SECONDS)
            return None

    def _wait(self) -> list[tuple[str, str]] | None:
        # Executors listen for themselves; this finds what a lost notification left lying, and
        # gives a worker whose executor is deaf its wake-up.
        time.sleep(_LOOK_SECONDS)
        if not self._is_due(self._connected()):
            return None
        identity = uuid.uuid4().hex
        return [(identity, SignedPackage.dumps({**_MESSAGE, "id": identity, "started": None}))]

    def _is_due(self, conn: psycopg.Connection[Any]) -> bool:
        row = conn.execute(_DUE).fetchone()
        return bool(row and row[0])

    def _connected(self) -> psycopg.Connection[Any]:
        if self._conn is None or self._conn.closed:
            options = {**parameters(), "application_name": "flowmaestro broker"}
            self._conn = psycopg.connect(**options, autocommit=True, prepare_threshold=0)
            self._conn.execute("SET enable_seqscan = off", prepare=False)
        return self._conn

    def _close(self) -> None:
        if self._conn is not None:
            with contextlib.suppress(psycopg.Error):
                self._conn.close()
            self._conn = None

    def close(self) -> None:
        """Closes the connection."""
        self._close()

    def ping(self) -> bool:
        """Whether the database answers."""
        try:
            self._connected().execute("SELECT 1")
        except (psycopg.Error, OSError):
            self._close()
            return False
        return True

    def info(self) -> str:
        """What q2's monitor calls this broker."""
        return "FlowMaestro runs"

    def queue_size(self) -> int:
        """Runs that are due; q2 logs it."""
        row = (
            self._connected()
            .execute("SELECT count(*) FROM executions_run WHERE status = 'QUEUED'")
            .fetchone()
        )
        return int(row[0]) if row else 0

    def lock_size(self) -> int:
        """No message is ever locked."""
        return 0

    def enqueue(self, task: str) -> None:
        """q2's own tasks have no place here: a run is triggered, not enqueued."""
        raise NotImplementedError("Trigger a run: this queue holds nothing but runs.")

    def acknowledge(self, task_id: str) -> None:
        """A wake-up needs no acknowledgement."""

    def fail(self, task_id: str) -> None:
        """A wake-up that failed is repeated by the next look."""
