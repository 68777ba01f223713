"""Worker processes that die at fail points: `python -m executions.tests.crash_process`.

Each line on standard input, `{"point": …, "hit": …, "number": …}`, forks a process that has an
executor, triggers one run of each kind, answers what runs wait for, and dies at that passing of
the point, or ends when every run there is has ended. A line on standard output says which.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from typing import Any

import django

SECONDS = 120
CHECK_SECONDS = 0.01
# Long enough for runs to be under way when a worker is told to stop.
BEFORE_STOP_SECONDS = 0.1


def main() -> None:
    """Serves requests until standard input ends."""
    from executions.registry import load_tasks

    load_tasks()
    for line in sys.stdin:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            signal.alarm(SECONDS)
            passed = _generation(**json.loads(line))
            os.write(writer, str(passed).encode())
            os._exit(0)
        os.close(writer)
        _, status = os.waitpid(pid, 0)
        told = os.read(reader, 100).decode()
        os.close(reader)
        answer = {"status": os.waitstatus_to_exitcode(status), "passed": int(told or 0)}
        print(json.dumps(answer), flush=True)


def _generation(point: str | None, hit: int, number: int) -> int:
    """The life of one process; how often it passed the point."""
    from executions import queues
    from executions.engine import failpoints
    from executions.engine.executor import Executor

    passed: Counter[str] = Counter()
    if point is not None:
        failpoints.arm(point, at=hit)
        armed = failpoints.active
        assert armed is not None

        def count(name: str) -> None:
            passed[name] += 1
            armed(name)

        failpoints.active = count
    queues.declare()
    # A wait of any length parks.
    Executor.linger = 0.02
    _before_any_worker(number)
    executor = Executor()
    executor.start()
    stops_early = point is not None and point.partition(".")[0] in ("stop", "sign_off")
    world = World()
    triggering = threading.Thread(target=_trigger, args=(number,))
    triggering.start()
    stop_at = time.monotonic() + BEFORE_STOP_SECONDS
    while not (stops_early and time.monotonic() > stop_at):
        if world.answer() == 0 and not triggering.is_alive():
            break
        time.sleep(CHECK_SECONDS)
    triggering.join()
    executor.stop(0.2)
    return passed[point] if point is not None else 0


def _before_any_worker(number: int) -> None:
    """Two runs that end before they begin; the tick is this process's, so no claim is earlier."""
    from django.db import connection

    from executions import runs
    from executions.engine import takeover

    for name in ("crash.expired", "crash.unbegun"):
        acknowledge("run", runs.trigger(name, number).id)
    time.sleep(0.03)
    with connection.cursor() as cursor:
        takeover.tick(cursor)


def _trigger(number: int) -> None:
    """One run of each kind, most of them twice over with the same idempotency key."""
    from django.db import connection

    from executions import runs, tokens

    for name in ("flaky", "family", "waits", "cancelled", "terminated", "overdue", "gated"):
        acknowledge("run", runs.trigger(f"crash.{name}", number).id)
    token = tokens.create(tags=["answer"])
    acknowledge("run", runs.trigger("crash.joins", token.id).id)
    for name in ("steps", "plain", "failing", "gated"):
        for _ in range(2):
            key = f"{name} {number}"
            handle = runs.trigger(f"crash.{name}", number, idempotency_key=key)
            acknowledge("key", key, handle.id)
    connection.close()


class World:
    """Whoever completes tokens, sends signals, cancels and terminates."""

    def answer(self) -> int:
        """Answers what there is to answer; how many runs have not ended."""
        from executions import runs, tokens

        for (token,) in _rows(
            "SELECT id FROM executions_waittoken "
            "WHERE status = 'WAITING' AND tags = ARRAY['answer']::text[]"
        ):
            if _unless_refused(tokens.complete, token, token):
                acknowledge("token", token)
        for (run,) in _rows(
            "SELECT r.id FROM executions_run r WHERE task = 'crash.waits' AND finished_at IS NULL "
            "AND NOT EXISTS (SELECT FROM executions_signal s WHERE s.run_id = r.id)"
        ):
            if _unless_refused(runs.signal, run, "go", "now", dedupe_key="only"):
                acknowledge("signal", run)
        for run, name in _rows(
            "SELECT id, task FROM executions_run WHERE task IN ('crash.cancelled', "
            "'crash.terminated') AND status = 'WAITING' AND cancel_requested_at IS NULL"
        ):
            end = runs.cancel if name == "crash.cancelled" else runs.terminate
            if _unless_refused(end, run):
                acknowledge("end", run)
        count = _rows("SELECT count(*) FROM executions_run WHERE finished_at IS NULL")[0][0]
        return int(count)


def acknowledge(*words: str) -> None:
    """Notes what the caller was told is done; it must hold whatever happens next."""
    file = os.open(os.environ["CRASH_TOLD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(file, (json.dumps(words) + "\n").encode())
    finally:
        os.close(file)


def _unless_refused(action: Any, *args: Any, **options: Any) -> bool:
    from executions.errors import FlowMaestroError

    try:
        action(*args, **options)
    except FlowMaestroError:  # It was done before, or the run has ended meanwhile.
        return False
    return True


def _rows(statement: str) -> list[tuple[Any, ...]]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


if __name__ == "__main__":
    django.setup()
    main()
