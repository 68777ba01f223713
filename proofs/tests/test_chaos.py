"""Chaos in its small size: the real supervisor, killed processes, a restarted database."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

from django.conf import settings

from executions.tests.sizes import sized
from proofs.chaos.faults import PERIOD, RARE, deck

RUNS = sized(150, 2000)
SECONDS = sized(4, 120)
EVERY = 0.4 if SECONDS < 60 else 1.0


def test_every_run_survives_killed_processes_restarts_and_cut_connections(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "proofs", "chaos", "--runs", str(RUNS), "--seed", "7"]
    command += ["--seconds", str(SECONDS), "--every", str(EVERY), "--json", str(figures)]
    done = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(figures.read_text())
    assert report["ok"]
    assert report["requested"] == RUNS
    assert report["restarts"] == 2
    assert sum(report["kills"].values()) >= 3
    assert report["cuts"] > 0
    assert report["runs"]["chaos.poison"] == {"CRASHED": report["poison"]}
    assert report["repeated"] == report["gaps"] == 0
    assert report["steps"] > RUNS


def test_the_same_seed_kills_in_the_same_order_and_each_rare_kind_once_a_period() -> None:
    order = list(deck(random.Random(1), 2 * PERIOD))
    assert order == list(deck(random.Random(1), 2 * PERIOD))
    assert order != list(deck(random.Random(2), 2 * PERIOD))
    for period in (order[:PERIOD], order[PERIOD:]):
        kinds = Counter(period)
        assert {kind: kinds[kind] for kind in RARE} == dict.fromkeys(RARE, 1)
        assert kinds["worker"] == PERIOD - len(RARE)
