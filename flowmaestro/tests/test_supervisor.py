"""The supervisor by itself: pauses between restarts, stops within a time, hung workers."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import psutil
import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from executions.engine.processes import host_name
from executions.models import Worker
from executions.tests.waiting import ends, eventually
from flowmaestro import heartbeat
from flowmaestro.supervisor import LONGEST_PAUSE, STEADY_SECONDS, Backoff, Child

SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "print('ready', flush=True)\n"
    "time.sleep(600)\n",
]


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def pause(backoff: Backoff, clock: Clock) -> float:
    """How long the backoff lets a part that died now wait."""
    died_at = clock.now
    while not backoff.is_due():
        clock.now += 0.1
    backoff.note_start()
    return clock.now - died_at


def test_a_part_that_keeps_dying_waits_longer_each_time_up_to_a_limit():
    clock = Clock()
    backoff = Backoff(clock)
    pauses = [pause(backoff, clock) for _ in range(9)]
    assert pauses[0] < 0.5
    assert [round(value) for value in pauses] == [0, 0, 1, 2, 3, 6, 10, 10, 10]
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE, abs=0.2)


def test_a_part_that_ran_long_enough_is_started_at_once_again():
    clock = Clock()
    backoff = Backoff(clock)
    for _ in range(6):
        pause(backoff, clock)
    clock.now += STEADY_SECONDS
    assert pause(backoff, clock) < 0.5


def test_a_child_that_ignores_the_request_is_killed_with_its_own_children():
    child = Child(name="stubborn", command=STUBBORN)
    child.start()
    assert child.process is not None
    assert eventually(lambda: bool(child.descendants()))
    grandchild = child.descendants()[0]
    child.stop(0.1)
    assert child.poll() == -signal.SIGKILL
    assert ends(grandchild)


def test_a_child_dies_with_the_process_that_started_it():
    source = (
        "import sys, time\n"
        "from flowmaestro.supervisor import Child\n"
        f"child = Child(name='c', command={SLEEPS!r})\n"
        "child.start()\n"
        "print(child.process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    assert ends(child)


@pytest.fixture
def cluster() -> Iterator[Child]:
    """A pool with one child that is taken for a worker."""
    command = [
        sys.executable,
        "-c",
        f"import subprocess, time; subprocess.Popen({SLEEPS!r}); time.sleep(600)",
    ]
    child = Child(name="The pool", command=command)
    child.start()
    assert eventually(lambda: bool(child.descendants()))
    yield child
    child.kill()


@pytest.fixture
def clock() -> Clock:
    """The watch's time."""
    return Clock()


@pytest.fixture
def watch(cluster, clock, settings, monkeypatch) -> heartbeat.HeartbeatWatch:
    """A watch over that pool with a lease of 10 seconds, that has seen its start."""
    settings.FLOWMAESTRO = dataclasses.replace(settings.FLOWMAESTRO, LEASE_SECONDS=10.0)
    # The test's own connection must survive the watch, which closes its own.
    monkeypatch.setattr(connection, "close", lambda: None)
    watch = heartbeat.HeartbeatWatch(cluster, clock)
    look(watch, clock)
    return watch


def look(watch: heartbeat.HeartbeatWatch, clock: Clock, after: float = 2.0) -> None:
    """Let time pass, then let the watch look."""
    clock.now += after
    watch()


def beat(cluster: Child, seconds_ago: float) -> None:
    """A worker row of the pool's child, last seen that long ago."""
    Worker.objects.update_or_create(
        pid=cluster.descendants()[0].pid,
        host=host_name(),
        defaults={
            "id": "worker_1",
            "process_started": 1,
            "seen_at": timezone.now() - timedelta(seconds=seconds_ago),
        },
    )


@pytest.mark.django_db
def test_a_pool_that_beats_is_left_alone(cluster, clock, watch):
    for _ in range(20):
        beat(cluster, 1)
        look(watch, clock, 5)
    assert cluster.poll() is None


@pytest.mark.django_db
def test_a_pool_in_which_nobody_beats_is_killed_after_two_leases(cluster, clock, watch):
    beat(cluster, 11)
    look(watch, clock, 19)
    assert cluster.poll() is None
    look(watch, clock, 2)
    assert cluster.poll() == -signal.SIGKILL


@pytest.mark.django_db
def test_a_pool_whose_workers_never_appear_is_killed(cluster, clock, watch):
    look(watch, clock, 21)
    assert cluster.poll() == -signal.SIGKILL


def test_silence_while_the_database_is_away_does_not_count(cluster, clock, watch, monkeypatch):
    def refuse(pids: list[int]) -> dict[int, float]:
        raise OperationalError("the database is away")

    monkeypatch.setattr(heartbeat, "silences", refuse)
    for _ in range(20):
        look(watch, clock, 5)
    monkeypatch.setattr(heartbeat, "silences", lambda pids: {})
    look(watch, clock, 19)
    assert cluster.poll() is None


def test_a_worker_that_is_silent_by_itself_is_killed_alone(cluster, clock, watch, monkeypatch):
    worker = cluster.descendants()[0]
    monkeypatch.setattr(worker.__class__, "create_time", lambda self: 0.0)
    monkeypatch.setattr(heartbeat, "silences", lambda pids: {worker.pid: 21.0, 0: 1.0})
    look(watch, clock)
    assert ends(worker)
    assert cluster.poll() is None
