"""Two hosts on one PostgreSQL over TCP; one is cut off for longer than a lease and comes back.

Takes root and network namespaces; skipped with the reason where there are none.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from pytest_django.plugin import DjangoDbBlocker

from executions import runs
from executions.engine.processes import child_setup
from executions.models import Run, RunEvent, Step, Worker
from executions.tests.conftest import eventually
from executions.tests.hosts import tasks
from executions.tests.hosts.network import GATEWAY, NETWORK, Host, Network
from flowmaestro.embedded import EmbeddedPostgres, database_settings

# Twice a tick and more: who ticks later than half a lease trusts no clock and takes nothing over.
LEASE_SECONDS = 4.0
RUNS = 8
# What a host sends again after its cable was mended comes within TCP's longest pause so far.
LATE_SECONDS = 15.0
_GAVE_UP = "every run in hand is dropped"


@dataclass
class Start:
    """A host's worker, the runs that it holds, and its log."""

    worker: Worker
    runs: list[str]
    log: Path


@dataclass
class Scene:
    """The hosts, how to put one to work, and the server's log."""

    network: Network
    start: Callable[[Host, int], Path]
    server_log: Path

    def statements(self, host: Host) -> int:
        """How many statements of a host's journal have reached the server."""
        mark = f"{host.address} flowmaestro journal|"
        lines = self.server_log.read_text(errors="replace").splitlines()
        return sum(mark in line and " execute " in line for line in lines)


@pytest.fixture
def scene(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[Scene]:
    """Two hosts, and this process, on a server of their own."""
    missing = Network.missing()
    if missing is not None:
        pytest.skip(missing)
    with ExitStack() as stack:
        network = Network(2)
        stack.callback(network.close)
        network.open()
        url = stack.enter_context(serving(tmp_path))
        stack.enter_context(django_db_blocker.unblock())
        stack.enter_context(django_on(tmp_path))
        call_command("migrate", verbosity=0)

        def start(host: Host, room: int) -> Path:
            return stack.enter_context(working(host, room, url, tmp_path / host.name))

        yield Scene(network, start, tmp_path / "postgres.log")


@contextmanager
def serving(data_dir: Path) -> Iterator[str]:
    """A server that listens on the bridge, and takes whoever comes from there with a password."""
    password = secrets.token_hex(16)
    rules = data_dir / "pg_hba.conf"
    rules.write_text(f"local all all trust\nhost all all {NETWORK} scram-sha-256\n")
    rules.chmod(0o644)
    options = {
        "listen_addresses": GATEWAY, "hba_file": str(rules), "fsync": "off",
        "logging_collector": "off", "log_line_prefix": "%h %a|", "log_min_duration_statement": "0",
    }  # fmt: skip
    server = EmbeddedPostgres(data_dir, options)
    server.start()
    try:
        with psycopg.connect(server.conninfo(), autocommit=True) as admin:
            admin.execute(f"ALTER ROLE postgres PASSWORD '{password}'")
        yield f"postgresql://postgres:{password}@{GATEWAY}:5432/flowmaestro"
    finally:
        server.stop(10)


@contextmanager
def django_on(data_dir: Path) -> Iterator[None]:
    """Django's connection leads to the server in that directory, by its socket."""
    before = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(database_settings(data_dir))
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(before)


@contextmanager
def working(host: Host, room: int, url: str, data_dir: Path) -> Iterator[Path]:
    """A cluster of one worker on a host, with room for so many runs; its log."""
    data_dir.mkdir()
    environment = {
        **os.environ,
        "FLOWMAESTRO_DATABASE_URL": url,
        "FLOWMAESTRO_DATA_DIR": str(data_dir),
        "FLOWMAESTRO_WORKERS": "1",
        "FLOWMAESTRO_WORKER_CONCURRENCY": str(room),
        "FLOWMAESTRO_LEASE_SECONDS": str(LEASE_SECONDS),
        "FLOWMAESTRO_TASK_MODULES": tasks.__name__,
        "FLOWMAESTRO_GRACE_SECONDS": "1",
    }
    log = data_dir / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            host.command(sys.executable, "manage.py", "cluster"), cwd=settings.BASE_DIR,
            env=environment, stdout=output, stderr=output, preexec_fn=child_setup(),
        )  # fmt: skip
    try:
        yield log
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def worker_of(host: Host) -> Worker | None:
    """The host's worker that lives, as far as the database knows."""
    return Worker.objects.filter(host__startswith=f"{host.name}:", dead_at=None).first()


def started(scene: Scene, host: Host, room: int, work: Path, count: int) -> Start:
    """Puts a host to work on new runs that only it has room for; they wait at the gate."""
    log = scene.start(host, room)
    worker = eventually(lambda: worker_of(host), seconds=30)
    ids = [handle.id for handle in tasks.steps.batch_trigger([{"path": str(work)}] * count)]
    mine = Run.objects.filter(pk__in=ids, worker=worker.id, status="EXECUTING")
    eventually(lambda: mine.count() == count)
    return Start(worker, ids, log)


def progress(ids: list[str]) -> dict[str, int]:
    """How many steps of each run are committed."""
    done = Step.objects.filter(run_id__in=ids, status="COMPLETED")
    return {run_id: done.filter(run_id=run_id).count() for run_id in ids}


def test_a_host_that_was_cut_off_writes_nothing_when_it_comes_back(
    scene: Scene, tmp_path: Path
) -> None:
    cut_off, other = scene.network.hosts
    work = tmp_path / "effects"
    first = started(scene, cut_off, RUNS, work, RUNS)
    second = started(scene, other, 2 * RUNS, work, RUNS // 2)
    Path(f"{work}.open").touch()
    eventually(lambda: min(progress(first.runs).values()) > 2)

    scene.network.cut(cut_off)
    dead_at = eventually(lambda: Worker.objects.get(pk=first.worker.id).dead_at, seconds=20)
    before, arrived = progress(first.runs), scene.statements(cut_off)
    eventually(lambda: all(now > before[run] for run, now in progress(first.runs).items()))
    holders = Run.objects.filter(pk__in=first.runs, status="EXECUTING").values_list("worker")
    assert set(holders) == {(second.worker.id,)}

    scene.network.mend(cut_off)
    # Either TCP delivers what the host wanted written, or it has given all of it up by itself.
    eventually(
        lambda: scene.statements(cut_off) > arrived or _GAVE_UP in first.log.read_text(),
        seconds=LATE_SECONDS,
    )
    anew = eventually(lambda: worker_of(cut_off), seconds=LATE_SECONDS)
    assert anew.id != first.worker.id

    ids = first.runs + second.runs
    eventually(lambda: not Run.objects.filter(pk__in=ids, finished_at=None).exists(), seconds=20)
    for run_id in ids:
        check(run_id)
    check_effects(work, cut_off, first.runs, dead_at)


def check(run_id: str) -> None:
    """The run is complete, and each step of it was committed once."""
    run = runs.retrieve(run_id)
    assert (run.status, run.output) == ("COMPLETED", list(range(tasks.STEPS)))
    events = list(RunEvent.objects.filter(run=run))
    assert [event.seq for event in events] == list(range(1, run.event_seq + 1))
    told = Counter(event.data["key"] for event in events if event.type == "step.completed")
    assert set(told.values()) == {1}


def check_effects(work: Path, cut_off: Host, lost: list[str], dead_at: datetime) -> None:
    """No body ran after its step was committed, nor on the lost host after it was declared dead."""
    done = Step.objects.filter(status="COMPLETED")
    committed = {(s.run_id, s.key.removeprefix("step ")): s.finished_at for s in done}
    for line in work.read_text().splitlines():
        run_id, number, host, at = line.split()
        ended_at = datetime.fromtimestamp(float(at), UTC)
        assert ended_at <= committed[run_id, number], f"{line} ran again."
        assert host != cut_off.name or run_id not in lost or ended_at < dead_at
