"""The pool of worker processes: django-q2's cluster and sentinel, without its shared locks.

Cluster (the process of `manage.py cluster`) starts the sentinel; the sentinel starts and restarts
the workers, the pusher (which asks the broker) and the monitor (which reads reports). Each of them
may be killed at any moment; the others go on, or end with their parent.
"""

from __future__ import annotations

import logging
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from typing import Any, Protocol, cast

from django import db
from django.conf import settings
from django_q.cluster import Cluster, Sentinel, get_mp_context, monitor, pusher, worker
from django_q.status import Stat

from executions.engine.channel import STOP, Channel, Flag, Inbox, Timer
from executions.engine.processes import die_with_parent, set_name

logger = logging.getLogger(__name__)

# Seconds beyond the grace period after which a worker, then its sentinel, is killed.
WORKER_MARGIN = 2.0
SENTINEL_MARGIN = 3.0
# How long a worker that cannot start waits before it gives up, so that restarts do not spin.
START_PAUSE = 1.0


class Engine(Protocol):
    """What a worker process does beside taking messages: `executions.engine.worker`."""

    def start(self) -> None:
        """Start the executor; called once in each worker process, after the fork."""

    def stop(self) -> None:
        """Claim no more, finish or park what is in hand, release the rest; returns when done."""


class PoolSentinel(Sentinel):
    """Guards the pool. Its queues, flags and timers have no lock that a dead process could hold."""

    engine = "executions.engine.worker"
    pool: list[Any]

    def __init__(
        self,
        stop_event: Flag,
        start_event: Flag,
        cluster_id: uuid.UUID,
        broker: Any = None,
        timeout: int | None = None,
        *,
        parent_pid: int,
    ) -> None:
        die_with_parent(parent_pid)
        set_name("fm-sentinel")
        super().__init__(stop_event, start_event, cluster_id, broker, timeout, start=False)
        self.task_queue = Channel(room=self.pool_size)
        self.result_queue = Channel()
        self.event_out = Flag()
        self.start()

    def start(self) -> None:
        """Start the pool and guard it; no ping before, since its connection would be forked."""
        self.spawn_cluster()
        self.guard()

    def spawn_worker(self) -> None:
        """Start one worker and add it to the pool."""
        timer = Timer()
        process = self._spawn(
            "fm-worker", run_worker, self.engine, self.task_queue, self.result_queue, timer
        )
        process.timer = timer
        self.pool.append(process)

    def spawn_pusher(self) -> Any:
        """Start the process that asks the broker whether something is due."""
        return self._spawn("fm-pusher", pusher, self.task_queue, self.event_out, self.broker)

    def spawn_monitor(self) -> Any:
        """Start the process that reads the workers' reports."""
        return self._spawn("fm-monitor", monitor, self.result_queue, self.broker)

    def _spawn(self, name: str, target: Callable[..., None], *args: Any) -> Any:
        process = get_mp_context().Process(
            target=_run_child,
            args=(name, os.getpid(), target, *args),
            name=f"{name}-{uuid.uuid4().hex[:8]}",
            daemon=True,
        )
        process.start()
        return process

    def stop(self) -> None:
        """End the pool within the grace period and a little more, whatever state it is in."""
        Stat(self).save()
        self.event_out.set()
        for process in self.pool:
            process.terminate()
        end([*self.pool, self.pusher], settings.FLOWMAESTRO.GRACE_SECONDS + WORKER_MARGIN)
        self.pool = []
        self.result_queue.put(STOP)
        end([self.monitor], 0.5)
        Stat(self).save()


class PoolCluster(Cluster):
    """The top process of a pool. `run()` lasts as long as the pool does."""

    sentinel_class: type[PoolSentinel] = PoolSentinel

    def __init__(self, broker: Any = None) -> None:
        super().__init__(broker)
        self.stop_event = Flag()
        self.start_event = Flag()

    def run(self) -> int:
        """Start the pool and wait for its end: 0 when it was told to stop, 1 when it died."""
        self.start()
        with _death_of(self.sentinel) as death:
            wait([death, self.stop_event.fileno()])
        asked = self.stop_event.is_set()
        if not asked:
            self.sentinel.join()
            logger.error("The pool's sentinel died (exit code %s).", self.sentinel.exitcode)
        self.stop()
        return 0 if asked else 1

    def start(self) -> int:
        """Start the sentinel, which starts the rest."""
        set_name("fm-cluster")
        # A forked connection would be shared by two processes, to the ruin of both.
        db.connections.close_all()
        self.sentinel = get_mp_context().Process(
            target=self.sentinel_class,
            args=(self.stop_event, self.start_event, self.cluster_id, self.broker, self.timeout),
            kwargs={"parent_pid": os.getpid()},
            name=f"fm-sentinel-{self.cluster_id.hex[:8]}",
        )
        self.sentinel.start()
        return cast(int, self.pid)

    def stop(self) -> bool:
        """Tell the sentinel to stop and wait for it; kill it when it takes too long."""
        was_alive = bool(self.sentinel.is_alive())
        self.stop_event.set()
        end([self.sentinel], settings.FLOWMAESTRO.GRACE_SECONDS + SENTINEL_MARGIN)
        return was_alive

    def sig_handler(self, signum: int, frame: Any) -> None:
        """Ask for the stop; `run` carries it out, since a signal may arrive in the middle of it."""
        self.stop_event.set()


@contextmanager
def _death_of(process: ForkProcess) -> Iterator[int]:
    """A descriptor that is ready once the process has ended.

    The one of multiprocessing is ready only when the process's children have ended too, since they
    inherit the other end of it.
    """
    try:
        descriptor = os.pidfd_open(process.pid or 0)
    except (AttributeError, OSError):
        yield process.sentinel
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def run_worker(engine_name: str, tasks: Channel, results: Channel, timer: Timer) -> None:
    """A worker process: the engine's executor beside django-q2's loop, until SIGTERM."""
    grace: float = settings.FLOWMAESTRO.GRACE_SECONDS
    stop = Flag()

    def on_sigterm(signum: int, frame: Any) -> None:
        # A stop that hangs in any way ends here: SIGALRM's default action is the kernel's.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, grace + WORKER_MARGIN)
        stop.set()

    signal.signal(signal.SIGTERM, on_sigterm)
    engine = cast(Engine, import_module(engine_name))
    try:
        engine.start()
    except Exception:
        logger.exception("The worker could not start.")
        stop.wait(START_PAUSE)
        raise SystemExit(1) from None
    try:
        # No timeout: a message takes half a second at most, and runs have limits of their own.
        worker(Inbox(tasks, stop), results, timer, timeout=-1)
    finally:
        engine.stop()


def _run_child(name: str, parent_pid: int, target: Callable[..., None], *args: Any) -> None:
    """What every process of the pool does first: take its name, tie its life to its parent's.

    Workers are told by SIGTERM, so that they can release their runs; the others hold nothing.
    """
    set_name(name)
    die_with_parent(parent_pid, signal.SIGTERM if target is run_worker else signal.SIGKILL)
    target(*args)


def end(processes: Iterable[ForkProcess], seconds: float) -> None:
    """Wait for processes that were told to stop, and kill those that still live afterwards."""
    deadline = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            logger.warning("%s did not stop in time and is killed.", process.name)
            process.kill()
            process.join()
