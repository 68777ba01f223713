"""DBOS Transact as a contender: two worker processes, workflows enqueued by its client library."""
# Type checking has no look into a library that only this peer's environment holds.
# mypy: disable-error-code="import-not-found"

import time
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from dbos import DBOSClient, EnqueueOptions

from benchmarks.peers.dbos_workflows import APPLICATION_VERSION, POLL_SECONDS, QUEUE, TOPIC
from benchmarks.processes import Background, python_module, wait_until
from benchmarks.workloads import WORKERS, LongRun, Place, Timeline

RESULT_POLL_SECONDS = 0.01
SETTLE_SECONDS = 0.06


class Dbos:
    """One method for each measurement; see workloads.Engine."""

    def __init__(self, place: Place) -> None:
        self.version = f"{version('dbos')}, queue polled every {1000 * POLL_SECONDS:g} ms"
        self._place = place
        self._workers: list[Background] = []
        self._numbers = count(1)

    def start(self) -> None:
        """Start the workers, then the client: the first worker creates the tables."""
        self._start_workers()
        self._client = DBOSClient(system_database_url=self._place.dsn)
        self._database = psycopg.connect(self._place.dsn, autocommit=True)

    def stop(self) -> None:
        """Stop the workers."""
        self._stop_workers()

    def run_sequence(self, steps: int) -> Timeline:
        """One enqueued workflow."""
        called = time.monotonic()
        handle = self._enqueue("sequence", steps)
        first_line, last_line = self._result(handle)
        return Timeline(called=called, first_line=first_line, last_line=last_line)

    def run_many(self, runs: int, steps: int) -> float:
        """Enqueue one by one, then watch the status table."""
        called = time.monotonic()
        ids = [self._enqueue("sequence", steps).get_workflow_id() for _ in range(runs)]
        wait_until(lambda: self._count_unfinished(ids) == 0, what="DBOS's runs", seconds=600)
        return time.monotonic() - called

    def complete_token(self, *, released: bool) -> float | None:
        """A message sent to a workflow in `recv`, which stays in its worker's memory."""
        if released:
            return None
        handle = self._enqueue("waiter")
        workflow_id = handle.get_workflow_id()
        wait_until(
            lambda: self._status(workflow_id) == "PENDING", what="DBOS's waiter", every=0.005
        )
        time.sleep(SETTLE_SECONDS)
        called = time.monotonic()
        self._client.send(workflow_id, {"ok": True}, TOPIC)
        return float(self._result(handle)) - called

    def fan_out(self, children: int) -> float:
        """A workflow that enqueues its children on the same queue."""
        return float(self._result(self._enqueue("parent", children)))

    def run_long(self, steps: int) -> LongRun:
        """Its waiting workflow keeps its memory, so new workers stand in for having left it."""
        handle = self._enqueue("long_run", steps)
        workflow_id = handle.get_workflow_id()
        wait_until(
            lambda: self._count_recorded(workflow_id) > steps,
            what="DBOS's long run",
            seconds=300,
            every=0.5,
        )
        self._stop_workers(kill=True)
        self._client.cancel_workflow(workflow_id)
        self._start_workers()
        self._client.send(workflow_id, {"ok": True}, TOPIC)
        called = time.monotonic()
        resumed = self._client.resume_workflow(workflow_id, queue_name=QUEUE)
        spent, next_line = self._result(resumed)
        return LongRun(steps=spent, resume=next_line - called)

    def park(self, runs: int) -> None:
        """Asynchronous workflows in `recv`: a waiting one costs no thread, but its memory."""
        ids = [self._enqueue("parked").get_workflow_id() for _ in range(runs)]
        wait_until(
            lambda: self._count_parked(ids) >= runs,
            what="DBOS's parked workflows",
            seconds=300,
            every=0.5,
        )

    def database_backend(self) -> int | None:
        """The backend of this client's own connection."""
        return self._database.info.backend_pid

    def _start_workers(self) -> None:
        """One after the other, so that two do not migrate at once."""
        for number in (next(self._numbers) for _ in range(WORKERS)):
            ready = Path(self._place.work_dir) / f"worker-{number}.ready"
            ready.unlink(missing_ok=True)
            command = python_module(
                "benchmarks.peers.dbos_workflows", self._place.dsn, f"bench-{number}", str(ready)
            )
            worker = Background(command, log=ready.with_suffix(".log"))
            self._workers.append(worker)
            worker.wait_for(ready)

    def _stop_workers(self, *, kill: bool = False) -> None:
        for worker in self._workers:
            worker.stop(kill=kill)
        self._workers.clear()

    def _enqueue(self, name: str, *arguments: Any) -> Any:
        options: EnqueueOptions = {
            "workflow_name": name,
            "queue_name": QUEUE,
            "app_version": APPLICATION_VERSION,
        }
        return self._client.enqueue(options, *arguments)

    def _result(self, handle: Any) -> Any:
        return handle.get_result(polling_interval_sec=RESULT_POLL_SECONDS)

    def _count_unfinished(self, ids: list[str]) -> int:
        return int(
            self._one(
                "SELECT count(*) FROM dbos.workflow_status"
                " WHERE workflow_uuid = ANY(%s) AND status <> 'SUCCESS'",
                ids,
            )
        )

    def _count_parked(self, ids: list[str]) -> int:
        return int(
            self._one(
                "SELECT count(*) FROM dbos.workflow_status"
                " WHERE workflow_uuid = ANY(%s) AND status = 'PENDING'",
                ids,
            )
        )

    def _count_recorded(self, workflow_id: str) -> int:
        return int(
            self._one(
                "SELECT count(*) FROM dbos.operation_outputs WHERE workflow_uuid = %s", workflow_id
            )
        )

    def _status(self, workflow_id: str) -> str:
        return str(
            self._one(
                "SELECT status FROM dbos.workflow_status WHERE workflow_uuid = %s", workflow_id
            )
        )

    def _one(self, query: str, argument: Any) -> Any:
        row = self._database.execute(query, (argument,)).fetchone()
        return row[0] if row else None


def create(place: Place) -> Dbos:
    """DBOS in that place's database."""
    return Dbos(place)
