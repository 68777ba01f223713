"""A real django-q2 cluster: what happens to runs when its processes are killed."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from executions.models import Run, RunEvent, Step
from executions.tests.cluster_tasks import deadly, twenty
from executions.tests.clusters import alive, kill_holder, running_cluster
from executions.tests.conftest import eventually, until_status


@pytest.fixture
def cluster(database_url: str) -> Iterator[subprocess.Popen[bytes]]:
    """A cluster of two worker processes on the test database."""
    with running_cluster(database_url) as process:
        yield process


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_a_run_of_twenty_steps_survives_the_death_of_its_workers(
    cluster: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    effects = tmp_path / "effects"
    handle = twenty.trigger({"path": str(effects)})
    killed = []
    for reached in (4, 11):
        eventually(lambda n=reached: len(lines(effects)) >= n, seconds=20)
        committed = set(
            Step.objects.filter(run_id=handle.id, status="COMPLETED").values_list("key", flat=True)
        )
        before = Counter(lines(effects))
        killed.append((kill_holder(handle.id), committed, before))
    assert handle.result(timeout=30) == [f"{handle.id} {number}" for number in range(20)]

    after = Counter(lines(effects))
    assert len({pid for pid, _, _ in killed}) == 2
    for _, committed, before in killed:
        for key in committed:
            line = f"{handle.id} {key.removeprefix('step ')}"
            assert after[line] == before[line], f"{key} was committed and ran again"
    # Only the step under way at a kill may have had its effect twice.
    assert sum(after.values()) - 20 <= len(killed)
    numbers = list(RunEvent.objects.filter(run_id=handle.id).values_list("seq", flat=True))
    assert numbers == list(range(1, len(numbers) + 1))
    eventually(lambda: len(alive()) == 2, seconds=20)


def test_a_run_that_kills_its_workers_is_convicted_and_its_neighbours_are_not(
    cluster: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    effects = tmp_path / "effects"
    neighbours = twenty.batch_trigger([{"path": str(tmp_path / "neighbours")}] * 10)
    poison = deadly.trigger({"path": str(effects)})
    run = until_status(poison.id, "CRASHED", seconds=60)
    assert run.error is not None
    assert run.error["type"] == "WorkerDied"
    assert lines(effects) == [f"killed {poison.id}"] * settings.FLOWMAESTRO.STALL_LIMIT
    for handle in neighbours:
        assert len(handle.result(timeout=60)) == 20
    assert Run.objects.filter(status="CRASHED").count() == 1


def test_a_stop_in_the_middle_releases_what_it_cannot_finish(
    cluster: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    effects = tmp_path / "effects"
    handles = twenty.batch_trigger([{"path": str(effects), "seconds": 0.5}] * 30)
    eventually(lambda: len(lines(effects)) > 20, seconds=20)
    cluster.send_signal(signal.SIGTERM)
    assert cluster.wait(10) == 0
    left = Run.objects.filter(pk__in=[handle.id for handle in handles], finished_at=None)
    assert left.count() > 0
    assert {(run.status, run.claim, run.stalls) for run in left} <= {
        ("QUEUED", None, 0),
        ("WAITING", None, 0),
    }
    assert alive() == []
