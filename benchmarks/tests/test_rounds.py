"""Rounds with real child processes and an engine that takes no time."""

import sys
from pathlib import Path

import pytest

from benchmarks.rounds import Contender, run_rounds
from benchmarks.workloads import QUICK, WORKLOADS, Place


@pytest.fixture
def contender(tmp_path):
    def make(name: str, *, dsn: str = "", workloads: frozenset[str] = frozenset(WORKLOADS)):
        return Contender(
            name=name,
            module="benchmarks.tests.steady_engine",
            python=Path(sys.executable),
            place=Place(dsn=dsn, work_dir=str(tmp_path / name)),
            workloads=workloads,
        )

    return make


def run(contenders, workloads, *, rounds):
    seen: list[str] = []
    checkpoints: list[int] = []
    outcomes = run_rounds(
        contenders,
        [WORKLOADS[name] for name in workloads],
        QUICK,
        rounds=rounds,
        before=lambda contender, workload: checkpoints.append(len(seen)),
        progress=lambda line: seen.append(line.split(":")[0]),
    )
    return outcomes, seen, checkpoints


def test_contenders_take_turns_within_each_workload(contender):
    outcomes, seen, checkpoints = run([contender("ours"), contender("peer")], ["W2"], rounds=2)

    assert seen == [
        "W2 round 1/2 ours",
        "W2 round 1/2 peer",
        "W2 round 2/2 ours",
        "W2 round 2/2 peer",
    ]
    assert checkpoints == [0, 1, 2, 3]
    assert [series[""] for series in outcomes["W2"]["peer"].rounds] == [[2000.0], [2000.0]]


def test_a_contender_is_left_out_where_it_measures_nothing(contender):
    floor = contender("floor", workloads=frozenset({"W1"}))

    outcomes, seen, _ = run([floor, contender("ours")], ["W5"], rounds=1)

    assert seen == ["W5 round 1/1 ours"]
    assert list(outcomes["W5"]) == ["ours"]


def test_a_contender_that_fails_says_why_and_sits_out_the_other_rounds(contender):
    outcomes, seen, _ = run([contender("broken", dsn="refused")], ["W5"], rounds=3)

    assert seen == ["W5 round 1/3 broken"]
    error = outcomes["W5"]["broken"].error
    assert error.startswith("exit status 1: ConnectionError: nobody listens there")
