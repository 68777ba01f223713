"""The outside world: whoever triggers runs, completes tokens, sends signals and cancels."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import Error, connection, transaction

from executions import runs, tokens
from executions.errors import FlowMaestroError
from proofs.chaos.tasks import SIGNALS

T = TypeVar("T")

SHAPES = (
    "sequence", "sequence", "plain", "race", "race", "parent", "tokens", "tokens", "signals",
    "cancelled",
)  # fmt: skip
REQUESTS = """
CREATE TABLE IF NOT EXISTS proofs_request (number int PRIMARY KEY, run text NOT NULL);
CREATE TABLE IF NOT EXISTS proofs_row (
  run text NOT NULL, key text NOT NULL, at timestamptz NOT NULL DEFAULT now())
"""
_TOKENS = """
SELECT id FROM executions_waittoken WHERE status = 'WAITING' AND 'external' = ANY(tags)
ORDER BY random() LIMIT 40
"""
_MAILBOXES = """
SELECT r.id, (SELECT count(*) FROM executions_signal s WHERE s.run_id = r.id)
FROM executions_run r WHERE task = 'chaos.signals' AND finished_at IS NULL
  AND started_at IS NOT NULL ORDER BY random() LIMIT 10
"""
_CANCELLABLE = """
SELECT id FROM executions_run WHERE task = 'chaos.cancelled' AND finished_at IS NULL
  AND cancel_requested_at IS NULL ORDER BY random() LIMIT 2
"""


def persistently(action: Callable[..., T], *args: Any, **options: Any) -> T | None:
    """The action's value, tried until the database answers; None when it is refused."""
    while True:
        try:
            return action(*args, **options)
        except FlowMaestroError:
            return None
        except Error:
            connection.close()
            time.sleep(0.05)


def shape_of(chance: random.Random, number: int, poison: frozenset[int]) -> str:
    """The task of the run with that number."""
    shape = chance.choice(SHAPES)
    return "chaos.poison" if number in poison else f"chaos.{shape}"


def request(number: int, task: str, seed: int) -> str:
    """Starts run `number` with a row of the caller's own: both or neither.

    Asked again after an unknown commit, the idempotency key gives the run that is there.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        payload = {"seed": f"{seed}-{number}"}
        handle = runs.trigger(task, payload, idempotency_key=f"request {number}")
        cursor.execute(
            "INSERT INTO proofs_request (number, run) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [number, handle.id],
        )
    return handle.id


class World:
    """A thread that answers whatever runs wait for, until it is stopped."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(f"{seed} world")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Ends."""
        self._over.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._over.wait(0.02):
            try:
                self._answer()
            except Error:
                connection.close()
        connection.close()

    def _answer(self) -> None:
        chance = self._chance
        for (token,) in _rows(_TOKENS):
            if chance.random() < 0.7:
                persistently(tokens.complete, token, {"x": 1})
        for run, sent in _rows(_MAILBOXES):
            if sent < SIGNALS:
                persistently(runs.signal, run, "go", sent, dedupe_key=f"go {sent}")
        for (run,) in _rows(_CANCELLABLE):
            if chance.random() < 0.5:
                persistently(runs.cancel, run)


def _rows(statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()
