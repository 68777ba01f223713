"""The verdict: what must hold of every run once all is quiet, asked of the rows themselves."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from django.core.management import CommandError, call_command, get_commands
from django.db import connection

SHOWN = 10

# What is wrong, by a statement whose rows are (run, what to know about it).
CHECKS = {
    "runs that are not final": """
        SELECT id, concat_ws(' ', task, status, 'worker', worker, 'stalls', stalls, 'wakes', wakes)
        FROM executions_run WHERE finished_at IS NULL""",
    "runs with another end than theirs": """
        SELECT id, concat_ws(' ', task, status, left(error::text, 600)) FROM executions_run
        WHERE finished_at IS NOT NULL AND status <> CASE task
          WHEN 'chaos.cancelled' THEN 'CANCELED' WHEN 'chaos.poison' THEN 'CRASHED'
          ELSE 'COMPLETED' END""",
    "requests without a run": """
        SELECT q.run, 'request ' || q.number FROM proofs_request q
        WHERE NOT EXISTS (SELECT FROM executions_run r WHERE r.id = q.run)""",
    "runs that nobody requested": """
        SELECT r.id, r.task FROM executions_run r WHERE r.parent_id IS NULL
          AND NOT EXISTS (SELECT FROM proofs_request q WHERE q.run = r.id)""",
    "event gaps": """
        SELECT r.id, concat_ws(' ', r.task, 'event_seq', r.event_seq, 'events', count(e.seq),
          'from', min(e.seq), 'to', max(e.seq))
        FROM executions_run r LEFT JOIN executions_runevent e ON e.run_id = r.id GROUP BY r.id
        HAVING count(e.seq) <> r.event_seq OR max(e.seq) IS DISTINCT FROM r.event_seq
          OR min(e.seq) <> 1""",
    "runs whose last event is not their end": """
        SELECT r.id, concat_ws(' ', r.task, r.status, 'last', e.type) FROM executions_run r
        JOIN executions_runevent e ON e.run_id = r.id AND e.seq = r.event_seq
        WHERE r.finished_at IS NOT NULL AND e.type NOT IN
          ('run.completed', 'run.failed', 'run.canceled', 'run.timed_out', 'run.crashed')""",
    "steps that completed twice": """
        SELECT run_id, concat_ws(' ', data->>'key', count(*)) FROM executions_runevent
        WHERE type = 'step.completed' GROUP BY run_id, data->>'key' HAVING count(*) > 1""",
    "transactional rows twice": """
        SELECT run, concat_ws(' ', key, count(*)) FROM proofs_row
        GROUP BY run, key HAVING count(*) > 1""",
    "transactional rows lost": """
        SELECT s.run_id, s.key FROM executions_step s
        WHERE s.kind = 'step' AND s.status = 'COMPLETED' AND s.key LIKE 'row %'
          AND NOT EXISTS (SELECT FROM proofs_row t WHERE t.run = s.run_id AND t.key = s.key)""",
    "transactional rows without their step": """
        SELECT t.run, t.key FROM proofs_row t
        WHERE NOT EXISTS (SELECT FROM executions_step s
          WHERE s.run_id = t.run AND s.key = t.key AND s.status = 'COMPLETED')""",
    "cancelled runs that did not clean up": """
        SELECT r.id, r.status FROM executions_run r
        WHERE r.task = 'chaos.cancelled' AND r.status = 'CANCELED'
          AND EXISTS (SELECT FROM executions_step s WHERE s.run_id = r.id AND s.kind = 'step')
          AND NOT EXISTS (SELECT FROM executions_step s
            WHERE s.run_id = r.id AND s.key = 'row clean' AND s.status = 'COMPLETED')""",
    "signals consumed other than once": """
        SELECT r.id, 'consumed ' || count(*) FILTER (WHERE s.consumed_by IS NOT NULL)
        FROM executions_run r LEFT JOIN executions_signal s ON s.run_id = r.id
        WHERE r.task = 'chaos.signals' AND r.status = 'COMPLETED' GROUP BY r.id
        HAVING count(*) FILTER (WHERE s.consumed_by IS NOT NULL) <> 3""",
    "runs held by dead workers": """
        SELECT r.id, r.worker FROM executions_run r JOIN executions_worker w ON w.id = r.worker
        WHERE r.status = 'EXECUTING' AND w.dead_at IS NOT NULL""",
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that is wrong: where, and how often in all."""

    what: str
    count: int
    examples: list[tuple[str, str]]


def rows(statement: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
    """The rows of a statement."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()


@dataclass(frozen=True, kw_only=True)
class Effects:
    """What the bodies left in the effects file."""

    bodies: int
    repeated: list[tuple[str, str]]
    """Bodies that began after their step was committed."""
    again: int
    """Attempts that ran more than once, since their worker died before their commit."""
    lost: list[tuple[str, str]]
    """Committed steps whose body left no line."""


def effects_in(file: Path) -> Effects:
    """Compares the effects file with the journal."""
    finished = {
        (run, key): at.timestamp()
        for run, key, at in rows(
            "SELECT run_id, key, finished_at FROM executions_step "
            "WHERE kind = 'step' AND status = 'COMPLETED'"
        )
    }
    times: Counter[tuple[str, str, int]] = Counter()
    repeated, seen = [], set()
    for line in file.read_text().splitlines() if file.exists() else []:
        run, key, attempt, began, _ended, pid = json.loads(line)
        times[run, key, attempt] += 1
        seen.add((run, key))
        committed = finished.get((run, key))
        if committed is not None and began > committed:
            late = f"{began - committed:.3f} s after its commit, in process {pid}"
            repeated.append((run, f"{key}, attempt {attempt}: began {late}"))
    lost = [
        place for place in finished
        if place not in seen and not place[1].rpartition("/")[2].startswith("pure ")
    ]  # fmt: skip
    return Effects(
        bodies=times.total(),
        repeated=repeated,
        again=sum(count > 1 for count in times.values()),
        lost=lost,
    )


def faults_of(effects: Effects, requested: int) -> list[Fault]:
    """Everything that is wrong."""
    found = {what: list(rows(statement)) for what, statement in CHECKS.items()}
    found["committed steps repeated"] = list(effects.repeated)
    found["committed steps without their effect"] = list(effects.lost)
    kept = rows("SELECT count(*) FROM proofs_request")[0][0]
    if kept != requested:
        found["requests lost"] = [("", f"{kept} of {requested} are there")]
    return [
        Fault(what=what, count=len(wrong), examples=[(str(r), str(d)) for r, d in wrong[:SHOWN]])
        for what, wrong in found.items()
        if wrong
    ]


def doctor() -> tuple[str, list[Fault]]:
    """What `manage.py doctor` says: in a word, and its errors."""
    if "doctor" not in get_commands():
        return "not there", []
    out = StringIO()
    try:
        call_command("doctor", "--json", stdout=out, stderr=StringIO())
    except CommandError as error:
        if not out.getvalue():
            return "failed", [Fault(what=f"doctor: {error}", count=1, examples=[])]
    except SystemExit:  # It has found errors, and told them.
        pass
    told = json.loads(out.getvalue())
    errors = [
        Fault(
            what=f"of doctor's {finding['code']}: {finding['message']}",
            count=finding["count"],
            examples=[(example, "") for example in finding["examples"]],
        )
        for finding in told["findings"]
        if finding["severity"] == "error"
    ]
    codes = [finding["code"] for finding in told["findings"]]
    return f"{told['errors']} errors, {told['warnings']} warnings {' '.join(codes)}".strip(), errors


def steps_of(run: str) -> list[str]:
    """The run's row, its steps, tokens and events, to read."""
    lines = []
    for found in rows(
        "SELECT concat_ws(' ', id, task, status, 'attempt', attempt, 'claim', claim, 'worker', "
        "worker, 'stalls', stalls, 'wakes', wakes, 'flush', flush_no, 'wake_at', wake_at, "
        "'cancel', cancel_requested_at, 'finished', finished_at) FROM executions_run WHERE id = %s",
        [run],
    ):
        lines.append(found[0])
    for found in rows(
        "SELECT concat_ws(' ', key, kind, status, 'seq', seq, 'pending', pending, 'attempt', "
        "attempt, 'wake_at', wake_at, 'from', started_at, 'to', finished_at, left(error::text, "
        "200)) FROM executions_step WHERE run_id = %s ORDER BY started_at, key",
        [run],
    ):
        lines.append(f"    {found[0]}")
    for found in rows(
        "SELECT concat_ws(' ', id, step_key, status, 'until', timeout_at, 'completed', "
        "completed_at) FROM executions_waittoken WHERE run_id = %s ORDER BY id",
        [run],
    ):
        lines.append(f"    token {found[0]}")
    for found in rows(
        "SELECT concat_ws(' ', seq, type, at, left(data::text, 120)) FROM executions_runevent "
        "WHERE run_id = %s ORDER BY seq",
        [run],
    ):
        lines.append(f"    event {found[0]}")
    return lines
