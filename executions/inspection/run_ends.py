"""Waiting for runs to end: many may wait, one thread with one connection looks for them all."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from executions.models import Run

logger = logging.getLogger(__name__)

# Between two looks, in seconds: short after somebody new has come, then ever longer.
_SHORTEST, _LONGEST = 0.01, 0.05
_AFTER_ERROR = 0.5


class Watch:
    """Those who wait for the ends of runs. The thread lives as long as there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._waiting: dict[str, set[Future[None]]] = {}
        self._count = 0
        self._thread: threading.Thread | None = None

    async def until_ended(self, run_id: str, seconds: float) -> bool:
        """Whether the run ended within the time; at once False when too many wait already.

        Whoever stops waiting, by the time or by a cancellation, leaves nothing behind.
        """
        place = self._enter(run_id)
        if place is None:
            return False
        try:
            await asyncio.wait_for(asyncio.wrap_future(place), seconds)
        except TimeoutError:
            return False
        finally:
            self._leave(run_id, place)
        return True

    def __len__(self) -> int:
        return self._count

    def _enter(self, run_id: str) -> Future[None] | None:
        place: Future[None] = Future()
        # Only the thread ends it: one that is cancelled could not be told any more.
        place.set_running_or_notify_cancel()
        with self._lock:
            if self._count >= settings.FLOWMAESTRO.WAITING_REQUESTS:
                return None
            self._count += 1
            self._waiting.setdefault(run_id, set()).add(place)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="run ends", daemon=True)
                self._thread.start()
        self._news.set()
        return place

    def _leave(self, run_id: str, place: Future[None]) -> None:
        with self._lock:
            self._count -= 1
            others = self._waiting.get(run_id)
            if others is not None:
                others.discard(place)
                if not others:
                    del self._waiting[run_id]
        self._news.set()

    # ---- on the thread --------------------------------------------------------------------------

    def _look(self) -> None:
        pause = _SHORTEST
        try:
            while wanted := self._wanted():
                try:
                    self._tell(_ended(wanted))
                except (DatabaseError, InterfaceError) as error:
                    logger.warning("The ends of runs cannot be seen: %s", error)
                    connection.close()
                    time.sleep(_AFTER_ERROR)
                time.sleep(_SHORTEST)
                pause = _SHORTEST if self._news.wait(pause) else min(_LONGEST, pause * 1.5)
                self._news.clear()
        finally:
            connection.close()
            with self._lock:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _wanted(self) -> list[str]:
        with self._lock:
            if not self._waiting:
                # Under the lock: whoever comes now starts another thread.
                self._thread = None
            return list(self._waiting)

    def _tell(self, ended: Iterable[str]) -> None:
        with self._lock:
            places = [place for run_id in ended for place in self._waiting.pop(run_id, ())]
        for place in places:
            place.set_result(None)


def _ended(run_ids: list[str]) -> list[str]:
    found = Run.objects.filter(pk__in=run_ids, finished_at__isnull=False)
    return list(found.values_list("pk", flat=True))


watch = Watch()
