"""FlowMaestro as a contender: its cluster of worker processes, runs triggered from here."""

import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django

from benchmarks.flowmaestro_flows import WorkflowRuns
from benchmarks.http_load import request
from benchmarks.peers.http import Connection
from benchmarks.processes import Background, free_port, wait_until
from benchmarks.serving import Door
from benchmarks.workloads import WORKERS, LongRun, Place, Timeline

if TYPE_CHECKING:
    from executions.runs import Handle

BATCH = 1000
"""The most that one batch may hold."""
UNREACHED = 100_000_000
"""Requests a minute that no load reaches."""
READ_RUNS = 20
"""Runs that are read over HTTP, in turn."""
SETTLE_SECONDS = 0.06
POLL_SECONDS = 0.01
RESULT_SECONDS = 300
MANAGE = Path(__file__).parent.parent / "manage.py"


class FlowMaestro(WorkflowRuns):
    """One method for each measurement; see workloads.Engine.

    Django's models exist only after `start`, hence the imports inside the methods.
    """

    def __init__(self, place: Place) -> None:
        self.version = f"this checkout, Django {django.__version__}"
        self._place = place
        self._cluster: Background | None = None
        self._web: Background | None = None

    def start(self) -> None:
        """Migrate, then start the cluster and wait until both workers have reported."""
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "flowmaestro.settings",
            "FLOWMAESTRO_DATABASE_URL": self._place.dsn,
            "FLOWMAESTRO_DATA_DIR": self._place.work_dir,
            "FLOWMAESTRO_TASK_MODULES": "benchmarks.flowmaestro_tasks",
        }
        django.setup()
        from django.core.management import call_command

        from executions.registry import load_tasks

        load_tasks()
        call_command("migrate", verbosity=0)
        self._start_cluster(WORKERS)

    def _start_cluster(self, workers: int) -> None:
        from executions.models import Worker

        started = datetime.now(UTC)
        log = Path(self._place.work_dir) / "cluster.log"
        self._cluster = cluster = Background(
            [sys.executable, MANAGE, "cluster"],
            log=log,
            env={"FLOWMAESTRO_WORKERS": str(workers)},
        )

        def are_ready() -> bool:
            cluster.check()
            reported = Worker.objects.filter(seen_at__gte=started, dead_at=None)
            return reported.count() >= workers

        wait_until(are_ready, what="FlowMaestro's workers")

    def stop(self) -> None:
        """Stop the cluster, and the web server where there is one."""
        for process in (self._web, self._cluster):
            if process:
                process.stop()
        self._web = self._cluster = None

    def open_door(self) -> Door:
        """`manage.py up --web` beside the workers, a key, and some runs that have ended.

        Requests are counted as ever; only the limit is out of reach.
        """
        port = free_port()
        work_dir = Path(self._place.work_dir)
        self._web = web = Background(
            [sys.executable, MANAGE, "up", "--web"],
            log=work_dir / "web.log",
            env={"PORT": str(port), "FLOWMAESTRO_RATE_LIMIT_KEY": str(UNREACHED)},
        )

        def answers() -> bool:
            web.check()
            try:
                connection = Connection(port)
            except OSError:
                return False
            connection.close()
            return True

        wait_until(answers, what="FlowMaestro's web server")
        key = json.loads((work_dir / "credentials.json").read_text())["api_key"]
        handles = [self._trigger("bench-sequence", {"steps": 1}) for _ in range(READ_RUNS)]
        for handle in handles:
            self._output(handle)
        body = json.dumps({"payload": {"steps": 0}})
        path = "/api/v1/tasks/bench-sequence/trigger"
        return Door(
            port=port,
            trigger=request("POST", path, port=port, bearer=key, body=body),
            retrieve=[
                request("GET", f"/api/v3/runs/{handle.id}", port=port, bearer=key)
                for handle in handles
            ],
        )

    def restart(self, workers: int) -> None:
        """Another cluster, with that many workers."""
        self.stop()
        self._start_cluster(workers)

    def run_sequence(self, steps: int) -> Timeline:
        """One triggered run."""
        called = time.monotonic()
        output = self._output(self._trigger("bench-sequence", {"steps": steps}))
        return Timeline(
            called=called, first_line=output["first_line"], last_line=output["last_line"]
        )

    def run_many(self, runs: int, steps: int) -> float:
        """Trigger in batches as large as allowed, then watch the runs table."""
        from executions.models import Run
        from executions.rules.statuses import OPEN

        called = time.monotonic()
        ids = self._trigger_many("bench-sequence", [{"steps": steps}] * runs)
        wait_until(
            lambda: not Run.objects.filter(status__in=OPEN, id__gte=ids[0]).exists(),
            what="FlowMaestro's runs",
            seconds=RESULT_SECONDS,
            every=POLL_SECONDS,
        )
        seconds = time.monotonic() - called
        completed = Run.objects.filter(status="COMPLETED", id__in=ids).count()
        if completed != runs:
            raise RuntimeError(f"{runs - completed} of {runs} runs did not complete.")
        return seconds

    def complete_token(self, *, released: bool) -> float | None:
        """A token completed from here; a run that waits is never kept in memory."""
        if not released:
            return None
        handle = self._trigger("bench-waiter", {})
        called = self._complete_when_parked(handle)
        return float(self._output(handle)["next_line"]) - called

    def fan_out(self, children: int) -> float:
        """A parent whose children are triggered together and awaited together."""
        handle = self._trigger("bench-parent", {"children": children})
        return float(self._output(handle)["seconds"])

    def run_long(self, steps: int) -> LongRun:
        """A long run that parks, and is loaded and replayed once its token is complete."""
        handle = self._trigger("bench-long-run", {"steps": steps})
        called = self._complete_when_parked(handle)
        output = self._output(handle)
        return LongRun(steps=output["spent"], resume=output["next_line"] - called)

    def park(self, runs: int) -> None:
        """Waiters, triggered in batches; each is a row once its status says WAITING."""
        from django.db import connection

        from executions.models import Run

        ids = self._trigger_many("bench-waiter", [{}] * runs)
        wait_until(
            lambda: Run.objects.filter(status="WAITING", id__gte=min(ids)).count() >= runs,
            what="FlowMaestro's parked runs",
            seconds=RESULT_SECONDS,
        )
        # This client's own connection is no part of what is measured.
        connection.close()

    def database_backend(self) -> int | None:
        """The backend of this client's connection, which ends with the question."""
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            (pid,) = cursor.fetchone()
        return int(pid)

    def _complete_when_parked(self, handle: "Handle") -> float:
        """Complete the token a run waits on, once it rests; returns the clock before the call."""
        from executions import tokens
        from executions.models import Run, WaitToken

        def is_parked() -> bool:
            run = Run.objects.get(id=handle.id)
            if run.is_final:
                raise RuntimeError(f"{run} ended as {run.status}: {run.error}")
            return run.status == "WAITING"

        wait_until(is_parked, what="a waiting run", seconds=RESULT_SECONDS, every=POLL_SECONDS)
        token_id = WaitToken.objects.get(run_id=handle.id).id
        time.sleep(SETTLE_SECONDS)
        called = time.monotonic()
        tokens.complete(token_id, {"ok": True})
        return called

    def _trigger_many(self, task_id: str, payloads: list[dict[str, Any]]) -> list[str]:
        from executions import runs

        ids = []
        for first in range(0, len(payloads), BATCH):
            handles = runs.batch_trigger(task_id, payloads[first : first + BATCH])
            ids += [handle.id for handle in handles]
        return ids

    def _trigger(self, task_id: str, payload: dict[str, Any]) -> "Handle":
        from executions import runs

        return runs.trigger(task_id, payload)

    def _output(self, handle: "Handle") -> Any:
        """The run's output, first looked for after a while: looking takes the engine's cores."""
        time.sleep(SETTLE_SECONDS / 2)
        return handle.result(timeout=RESULT_SECONDS)


def create(place: Place) -> FlowMaestro:
    """FlowMaestro in that place's database."""
    return FlowMaestro(place)
