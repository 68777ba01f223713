"""The pool survives the death of any of its processes, and always stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from executions.tests.engine import pool_stand_in
from executions.tests.waiting import eventually, is_alive

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 15.0


class Pool:
    """A running pool of two workers, and what it wrote down."""

    def __init__(self, log: Path, **env: str) -> None:
        self.log = log
        log.touch()
        self.process = subprocess.Popen(
            [sys.executable, "-m", pool_stand_in.MODULE],
            cwd=ROOT,
            env={
                **os.environ,
                "POOL_LOG": str(log),
                "POOL_PAUSE": "0.01",
                "FLOWMAESTRO_WORKERS": "2",
                "FLOWMAESTRO_GRACE_SECONDS": "1",
                **env,
            },
        )
        self.seen: set[psutil.Process] = set()

    def lines(self, event: str) -> list[int]:
        """The pids that wrote this event, in order."""
        found = [line.split() for line in self.log.read_text().splitlines()]
        return [int(pid) for name, pid in found if name == event]

    def processes(self, name: str) -> list[psutil.Process]:
        """The living processes of one kind."""
        try:
            family = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        self.seen.update(family)
        return [process for process in family if is_named(process, name)]

    def works(self) -> bool:
        """Whether two workers take messages from now on."""
        before = len(self.lines("look"))
        return eventually(lambda: len(set(self.lines("look")[before:])) == 2)

    def is_gone(self) -> bool:
        """Whether no process that was seen is left."""
        return eventually(lambda: not any(is_alive(process) for process in self.seen))


def is_named(process: psutil.Process, name: str) -> bool:
    """Whether a process lives under that name."""
    try:
        return is_alive(process) and bool(process.name() == name)
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Pool]]:
    """Starts a pool, and ends all that it left behind."""
    pools: list[Pool] = []

    def start_pool(**env: str) -> Pool:
        pools.append(Pool(tmp_path / "log", **env))
        return pools[-1]

    yield start_pool
    for pool in pools:
        pool.processes("fm-sentinel")
        if pool.process.poll() is None:
            pool.process.kill()
        pool.process.wait()
        for process in pool.seen:
            if is_alive(process):
                process.kill()


@pytest.mark.parametrize("pause", ["0.2", "0"], ids=["idle", "busy"])
def test_killed_processes_are_replaced_and_the_pool_still_stops(start, pause):
    pool = start(POOL_PAUSE=pause)
    assert pool.works()
    for kind in ("fm-worker", "fm-monitor", "fm-pusher") * 3:
        victim = pool.processes(kind)[0]
        victim.kill()
        assert eventually(partial(replaced, pool, kind, victim))
        assert pool.works()
    stopped_at = time.monotonic()
    pool.process.terminate()
    assert pool.process.wait(PATIENCE) == 0
    assert time.monotonic() - stopped_at < 5
    assert pool.is_gone()


def replaced(pool: Pool, kind: str, old: psutil.Process) -> bool:
    """Whether all places of a kind are filled without the old process."""
    found = pool.processes(kind)
    return old not in found and len(found) == (2 if kind == "fm-worker" else 1)


def test_a_stop_lets_each_worker_end_its_engine(start):
    pool = start()
    assert pool.works()
    pool.process.send_signal(signal.SIGINT)
    assert pool.process.wait(PATIENCE) == 0
    assert sorted(pool.lines("stop")) == sorted(pool.lines("start"))
    # A ping opens the broker's connection, and before the fork all processes would share it.
    assert pool.lines("ping") == []
    assert pool.is_gone()


@pytest.mark.parametrize("kind", ["fm-sentinel", "fm-cluster"])
def test_a_pool_that_loses_its_head_ends_and_releases_its_runs(start, kind):
    pool = start()
    assert pool.works()
    workers = pool.processes("fm-worker")
    victim = pool.processes(kind)[0] if kind == "fm-sentinel" else pool.process
    victim.kill()
    assert pool.process.wait(PATIENCE) != 0
    assert pool.is_gone()
    assert {worker.pid for worker in workers} <= set(pool.lines("stop"))


def test_a_worker_told_to_stop_ends_its_engine_and_is_replaced(start):
    pool = start()
    assert pool.works()
    victim = pool.processes("fm-worker")[0]
    victim.terminate()
    assert eventually(lambda: replaced(pool, "fm-worker", victim))
    assert victim.pid in pool.lines("stop")
    assert pool.works()


def test_an_engine_that_hangs_does_not_hold_up_the_stop(start):
    pool = start(POOL_HANGS="1", FLOWMAESTRO_GRACE_SECONDS="0.2")
    assert pool.works()
    pool.process.terminate()
    assert pool.process.wait(PATIENCE) == 0
    assert pool.is_gone()
    assert pool.lines("stop") == []


def test_a_worker_that_hangs_while_orphaned_ends_itself(start):
    pool = start(POOL_HANGS="1", FLOWMAESTRO_GRACE_SECONDS="0.2")
    assert pool.works()
    pool.processes("fm-sentinel")[0].kill()
    assert pool.process.wait(PATIENCE) == 1
    assert pool.is_gone()


def test_an_engine_that_does_not_start_is_tried_again_without_spinning(start):
    pool = start(POOL_FAILS="1")
    assert eventually(lambda: len(pool.lines("start")) >= 4)
    assert pool.lines("look") == []
    pool.process.terminate()
    assert pool.process.wait(PATIENCE) == 0
    assert pool.is_gone()
