"""One chaos run from its first request to the verdict."""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import defaultdict

import django
from django.db import Error, connection

from proofs.chaos.faults import Faults
from proofs.chaos.place import WORKERS, Place

START_SECONDS = 90.0
# With no run finishing for so long, the rest is stuck.
STUCK_SECONDS = 60.0
# The share of the fault time in which runs are requested.
REQUEST_SHARE = 0.7

django.setup()

# Models, and what uses them, exist only now.
from executions.registry import load_tasks  # noqa: E402
from proofs.chaos import outside, verdict  # noqa: E402
from proofs.chaos.report import Report  # noqa: E402


def prove(place: Place, options: argparse.Namespace) -> int:
    """Drives it, judges it, tells it; 1 when something is wrong."""
    load_tasks()
    say(f"chaos: seed {options.seed}, {options.runs} runs, {options.seconds:g} s of faults")
    place.start_flowmaestro()
    _await_workers(place)
    with connection.cursor() as cursor:
        cursor.execute(outside.REQUESTS)
    faults = Faults(place, seconds=options.seconds, every=options.every)
    world = outside.World(options.seed)
    began = time.monotonic()
    faults.start()
    world.start()
    try:
        _request_all(place, options)
        while (left := began + options.seconds - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))
    finally:
        faults.stop()
    fault_seconds = time.monotonic() - began
    say(f"chaos: faults are over, {outside.persistently(_left)} runs are left")
    _await_rest(place)
    world.stop()
    report = _judge(place, options, faults, fault_seconds)
    print(report.as_text())
    if options.json:
        options.json.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    if report.wrong:
        place.keep = True
        print(report.wrong_runs())
    connection.close()
    return 1 if report.wrong else 0


def say(line: str) -> None:
    """Tells whoever watches how far it is."""
    print(line, file=sys.stderr, flush=True)


def _await_workers(place: Place) -> None:
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends:
        if place.poll() is not None:
            break
        try:
            statement = "SELECT count(*) FROM executions_worker WHERE dead_at IS NULL"
            if verdict.rows(statement)[0][0] >= WORKERS:
                return
        except Error:  # The tables are being made.
            connection.close()
        time.sleep(0.1)
    raise SystemExit(f"FlowMaestro did not start:\n{place.log.read_text()[-4000:]}")


def _request_all(place: Place, options: argparse.Namespace) -> None:
    chance = random.Random(f"{options.seed} shapes")
    count = options.runs
    poison = frozenset(chance.sample(range(count), poison_of(count)))
    began = time.monotonic()
    for number in range(count):
        due = began + options.seconds * REQUEST_SHARE * number / count
        if (pause := due - time.monotonic()) > 0:
            time.sleep(pause)
        task = outside.shape_of(chance, number, poison)
        outside.persistently(outside.request, number, task, place.seed)
        if number % max(1, count // 10) == 0:
            say(f"chaos: {number} requested, {outside.persistently(_left)} not final")


def poison_of(runs: int) -> int:
    """How many runs kill their workers: few, since each kills as many as the stall limit says."""
    return min(3, max(1, runs // 500))


def _left() -> int:
    found = verdict.rows("SELECT count(*) FROM executions_run WHERE finished_at IS NULL")
    return int(found[0][0])


def _await_rest(place: Place) -> None:
    """Returns when every run is final, or nothing has moved for long."""
    moved_at, last = time.monotonic(), -1
    while time.monotonic() - moved_at < STUCK_SECONDS:
        left = outside.persistently(_left)
        if left == 0:
            return
        if left is not None and left != last:
            moved_at, last = time.monotonic(), left
        time.sleep(0.1)
    say(f"chaos: {last} runs did not move for {STUCK_SECONDS:g} s")


def _judge(
    place: Place, options: argparse.Namespace, faults: Faults, fault_seconds: float
) -> Report:
    effects = verdict.effects_in(place.effects)
    wrong = verdict.faults_of(effects, options.runs)
    wrong += _faults_of_installation(place)
    doctor, errors = verdict.doctor()
    wrong += errors
    if (status := place.stop_flowmaestro()) != 0:
        wrong.append(verdict.Fault(what=f"supervisor: exit status {status}", count=1, examples=[]))
    ends: dict[str, dict[str, int]] = defaultdict(dict)
    for task, status_name, count in verdict.rows(
        "SELECT task, status, count(*) FROM executions_run GROUP BY 1, 2"
    ):
        ends[task][status_name] = count
    last = verdict.rows("SELECT extract(epoch FROM max(finished_at))::float8 FROM executions_run")
    return Report(
        seed=options.seed,
        requested=options.runs,
        poison=poison_of(options.runs),
        runs=dict(ends),
        kills=dict(faults.kills),
        restarts=faults.restarts,
        cuts=faults.cuts,
        steps=verdict.rows(
            "SELECT count(*) FROM executions_step WHERE kind = 'step' AND status = 'COMPLETED'"
        )[0][0],
        bodies=effects.bodies,
        again=effects.again,
        repeated=len(effects.repeated),
        gaps=sum(fault.count for fault in wrong if fault.what == "event gaps"),
        fault_seconds=fault_seconds,
        settled_seconds=max(0.0, (last[0][0] or 0.0) - faults.last_at),
        doctor=doctor,
        wrong=wrong,
    )


def _faults_of_installation(place: Place) -> list[verdict.Fault]:
    """What was killed is there again: as many workers as before, and the web server."""
    ends = time.monotonic() + 30
    while time.monotonic() < ends:
        kinds = [kind for kind, _ in place.processes()]
        if kinds.count("worker") == WORKERS and place.is_healthy():
            return []
        time.sleep(0.1)
    return [
        verdict.Fault(
            what="installations that did not recover", count=1, examples=[("", repr(kinds))]
        )
    ]
