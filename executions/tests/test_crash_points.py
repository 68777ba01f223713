"""A process dies at each named point around a commit: nothing is lost, nothing is repeated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from executions.engine import failpoints
from executions.tests.crash_tasks import EFFECTS, ENDS
from executions.tests.sizes import sized

TIMES = sized(1, 20)
# So many die before one may finish what they left behind.
PATIENCE = 80
DIED = 77
ENDED = {"status": 0, "passed": 0}


class Processes:
    """Worker processes on the test database, one after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._number = 0

    def live(self, point: str | None = None, hit: int = 1) -> dict[str, int]:
        """The exit status of one, and how often it passed the point if it came to its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._number += 1
        request = {"point": point, "hit": hit, "number": self._number}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "The process that starts the others died."
        answer: dict[str, int] = json.loads(line)
        return answer


@pytest.fixture
def processes(database_url: str, tmp_path: Path) -> Iterator[Processes]:
    """They note effects in `effects`, and what callers were told in `told`."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE crash_row (run text NOT NULL, key text NOT NULL)")
    environment = {
        **os.environ,
        "FLOWMAESTRO_DATABASE_URL": database_url,
        "FLOWMAESTRO_TASK_MODULES": "executions.tests.crash_tasks",
        "FLOWMAESTRO_LEASE_SECONDS": "1.2",
        "FLOWMAESTRO_LOG_LEVEL": "CRITICAL",
        # Dozens of workers die here of what is no run's fault.
        "FLOWMAESTRO_STALL_LIMIT": "100000",
        EFFECTS: str(tmp_path / "effects"),
        "CRASH_TOLD": str(tmp_path / "told"),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "executions.tests.crash_process"],
        cwd=settings.BASE_DIR,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Processes(process)
        assert process.stdin is not None
        process.stdin.close()
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE crash_row")


def test_a_process_that_dies_at_any_point_loses_nothing_and_repeats_no_committed_step(
    processes: Processes, tmp_path: Path
) -> None:
    most: dict[str, int] = {}
    for number, (point, turn) in enumerate(product(failpoints.NAMES, range(1, TIMES + 1)), 1):
        die_at(processes, point, turn, most)
        if number % PATIENCE == 0:
            assert processes.live() == ENDED
            leave_one_dead(processes)
    assert processes.live() == ENDED
    check_runs()
    check_rows()
    check_effects(tmp_path / "effects")
    check_told(tmp_path / "told")


def die_at(processes: Processes, point: str, turn: int, most: dict[str, int]) -> None:
    """A process dies at the `turn`-th passing of the point, or at one of those there are.

    `most`: how often one process passes a point, as far as it is known.
    """
    hit = 1 + (turn - 1) % most.get(point, turn)
    answer = processes.live(point, hit)
    if answer["status"] == 0:
        assert answer["passed"] > 0, f"{point} is never reached."
        most[point] = answer["passed"]
        leave_one_dead(processes)
        answer = processes.live(point)
    assert answer["status"] == DIED, f"{point}, passing {hit}: exit status {answer['status']}"


def leave_one_dead(processes: Processes) -> None:
    """Who came to the end has left nothing behind, but some points are passed at a takeover."""
    assert processes.live("final.after")["status"] == DIED


def rows(statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def check_runs() -> None:
    """Every run has ended as it should, and has events 1..n, the last of which is its end."""
    ends = rows("SELECT DISTINCT task, status FROM executions_run ORDER BY 1")
    assert dict(ends) == ENDS
    assert len(ends) == len(ENDS)
    assert rows("""
        SELECT r.id, r.event_seq, array_agg(e.seq ORDER BY e.seq)
        FROM executions_run r LEFT JOIN executions_runevent e ON e.run_id = r.id GROUP BY r.id
        HAVING array_agg(e.seq ORDER BY e.seq) <> ARRAY(SELECT generate_series(1, r.event_seq))
    """) == []  # fmt: skip
    assert rows("""
        SELECT r.id, e.type FROM executions_run r
        JOIN executions_runevent e ON e.run_id = r.id AND e.seq = r.event_seq
        WHERE e.type NOT IN
          ('run.completed', 'run.canceled', 'run.timed_out', 'run.expired')
    """) == []  # fmt: skip
    # A counter counts once however often its code is replayed.
    assert rows("""
        SELECT r.task, d.metadata::jsonb, count(*) FROM executions_run r
        JOIN executions_rundata d ON d.run_id = r.id
        WHERE r.task IN ('crash.steps', 'crash.flaky') GROUP BY 1, 2 ORDER BY 1
    """) == [
        ("crash.flaky", '{"tries": 2}', count_of("crash.flaky")),
        ("crash.steps", '{"count": 1}', count_of("crash.steps")),
    ]  # fmt: skip


def count_of(task: str) -> int:
    return int(rows(f"SELECT count(*) FROM executions_run WHERE task = '{task}'")[0][0])


def check_rows() -> None:
    """A transactional step and its row are there once, both of them."""
    kept = Counter(rows("SELECT run, key FROM crash_row"))
    done = rows(
        "SELECT run_id, key FROM executions_step WHERE key = 'row' AND status = 'COMPLETED'"
    )
    assert kept == Counter(done)
    assert len(kept) >= TIMES
    assert rows("""
        SELECT run_id, data->>'key' FROM executions_runevent WHERE type = 'step.completed'
        GROUP BY 1, 2 HAVING count(*) > 1
    """) == []  # fmt: skip


def check_effects(file: Path) -> None:
    """No body began after its step was committed, and none is missing."""
    finished = {
        (run, key): at.timestamp()
        for run, key, at in rows(
            "SELECT run_id, key, finished_at FROM executions_step "
            "WHERE kind = 'step' AND status = 'COMPLETED' AND key <> 'pure'"
        )
    }
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    late = [line for line in lines if line[3] > finished.get((line[0], line[1]), line[3])]
    assert late == []
    assert finished.keys() <= {(run, key) for run, key, _, _ in lines}


def check_told(file: Path) -> None:
    """What a caller was told is done stays done."""
    told: dict[str, list[list[str]]] = {"run": [], "key": [], "token": [], "signal": [], "end": []}
    for line in file.read_text().splitlines():
        kind, *what = json.loads(line)
        told[kind].append(what)
    assert all(told.values())
    there = {row[0] for row in rows("SELECT id FROM executions_run")}
    assert {run for (run,) in told["run"]} <= there
    by_key: dict[str, str] = {}
    for key, run in told["key"]:
        assert by_key.setdefault(key, run) == run
    assert set(by_key.values()) <= there
    # One run per key: those of an unknown commit included.
    assert rows("""
        SELECT r.task, d.payload::text FROM executions_run r
        JOIN executions_rundata d ON d.run_id = r.id
        WHERE r.task IN ('crash.steps', 'crash.plain', 'crash.failing')
        GROUP BY 1, 2 HAVING count(*) > 1
    """) == []  # fmt: skip
    completed = rows("SELECT id FROM executions_waittoken WHERE status = 'COMPLETED'")
    assert {token for (token,) in told["token"]} <= {row[0] for row in completed}
    signalled = rows("SELECT run_id FROM executions_signal")
    assert {run for (run,) in told["signal"]} <= {row[0] for row in signalled}
    cancelled = rows("SELECT id FROM executions_run WHERE status = 'CANCELED'")
    assert {run for (run,) in told["end"]} <= {row[0] for row in cancelled}
