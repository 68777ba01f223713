"""The faults: processes killed with -9, the database restarted, connections cut. All seeded."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress

import psycopg

from proofs.chaos.place import Place

# Of so many kills, these come once each; what the supervisor restarts waits ever longer.
PERIOD = 30
RARE = ("sentinel", "cluster", "web", "monitor", "pusher")
CUT_EVERY = (0.2, 0.8)
_CUT = """
SELECT pg_terminate_backend(pid) FROM (
  SELECT pid FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
  ORDER BY pid OFFSET floor(%s * (
    SELECT count(*) - 1 FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend')) LIMIT 1) x
"""


class Faults:
    """Everything that goes wrong, from `start` to `stop`."""

    def __init__(self, place: Place, *, seconds: float, every: float) -> None:
        self.kills: Counter[str] = Counter()
        self.restarts = 0
        self.cuts = 0
        self.last_at = time.time()
        self._place = place
        self._seconds = seconds
        self._every = every
        self._over = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), daemon=True)
            for work in (self._kill, self._restart, self._cut)
        ]

    def start(self) -> None:
        """Lets them loose."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends them. Raises what one of them raised: a proof without its faults proves nothing."""
        self._over.set()
        for thread in self._threads:
            thread.join(60)
        if self._errors:
            raise self._errors[0]

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._errors.append(error)

    def _note(self) -> None:
        self.last_at = time.time()

    def _kill(self) -> None:
        chance = random.Random(f"{self._place.seed} kills")
        for kind in deck(chance, int(self._seconds / self._every)):
            if self._over.wait(self._every * chance.uniform(0.5, 1.5)):
                return
            # One that is being started again is waited for, but not for long.
            patience = time.monotonic() + self._every
            while not (pool := self._pool(kind)) and time.monotonic() < patience:
                self._over.wait(0.05)
            if not (pool := pool or self._pool()):
                continue
            name, pid = chance.choice(pool)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.kills[name] += 1
                self._note()

    def _pool(self, kind: str | None = None) -> list[tuple[str, int]]:
        """The living processes, of that kind or of any."""
        found = self._place.processes()
        return sorted(process for process in found if kind in (None, process[0]))

    def _restart(self) -> None:
        """Once with a fast shutdown, once as if the machine had crashed; late, but both of them."""
        for crash in (False, True):
            self._over.wait(self._seconds / 3)
            self._place.database.restart(crash=crash)
            self.restarts += 1
            self._note()

    def _cut(self) -> None:
        chance = random.Random(f"{self._place.seed} cuts")
        url = self._place.database.url
        while not self._over.wait(chance.uniform(*CUT_EVERY)):
            with (
                suppress(psycopg.Error),
                psycopg.connect(url, autocommit=True, application_name="cutter") as connection,
            ):
                self.cuts += len(connection.execute(_CUT, [chance.random()]).fetchall())
                self._note()


def deck(chance: random.Random, kills: int) -> Iterator[str]:
    """Whom to kill, in order: each rare kind once per period, workers else."""
    left = kills
    while left > 0:
        cards = ["worker"] * max(0, min(PERIOD, left) - len(RARE)) + list(RARE)
        chance.shuffle(cards)
        yield from cards[:left]
        left -= len(cards)
