"""What a single command needs to carry a run: a database, and somebody who works."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import cast

from django.conf import settings
from django.db.models import DateTimeField, F, Func
from django.utils.module_loading import import_string

from executions.engine import worker
from executions.engine.processes import host_name, process_started
from executions.models import Worker


def database(say: Callable[[str], None]) -> AbstractContextManager[None]:
    """The database that runs, else one that the project starts for the length of the block."""
    return cast(AbstractContextManager[None], import_string(settings.STANDALONE_DATABASE)(say))


def is_anybody_working() -> bool:
    """Whether a worker lives; on this host a process that is gone does not count."""
    lease = timedelta(seconds=settings.FLOWMAESTRO.LEASE_SECONDS)
    now = Func(function="flowmaestro_now", output_field=DateTimeField())
    here = host_name()
    alive = (
        Worker.objects.filter(dead_at=None).annotate(now=now).filter(seen_at__gt=F("now") - lease)
    )
    return any(
        each.host != here or process_started(each.pid) == each.process_started for each in alive
    )


class OwnWorker:
    """An executor in this process, for as long as nobody else works."""

    def __init__(self) -> None:
        self.is_started = False

    def ensure(self) -> bool:
        """Start the executor unless somebody works; whether it was started now."""
        if self.is_started or is_anybody_working():
            return False
        worker.start()
        self.is_started = True
        return True

    def stop(self) -> None:
        """Let go of the runs in hand; whatever is not finished waits for another worker."""
        if self.is_started:
            worker.stop()
            self.is_started = False
