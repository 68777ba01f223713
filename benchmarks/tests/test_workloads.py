"""What the workloads make of an engine's clock values."""

import subprocess
import sys

import psutil
import pytest

from benchmarks.tests.steady_engine import SteadyEngine
from benchmarks.workloads import FULL, QUICK, WORKLOADS


class ForgettingEngine(SteadyEngine):
    """Keeps no waiting run in memory."""

    def complete_token(self, *, released: bool) -> float | None:
        return 0.006 if released else None


@pytest.mark.parametrize(
    ("workload", "figure"), [("W1", 23), ("W2", 2000), ("W3", 3), ("W4", 4), ("W5", 0.2)]
)
def test_each_figure_has_the_unit_of_its_workload(workload, figure):
    series = WORKLOADS[workload].measure(SteadyEngine(), QUICK)

    assert series[""] == pytest.approx([figure] * len(series[""]))


def test_an_engine_without_one_kind_of_waiting_has_no_row_for_it():
    series = WORKLOADS["W4"].measure(ForgettingEngine(), QUICK)

    assert list(series) == ["", "run out of memory"]
    assert series[""] == series["run out of memory"]


def test_a_long_run_is_looked_at_early_and_late():
    series = WORKLOADS["W7"].measure(SteadyEngine(), QUICK)

    assert series["at step 10"] == pytest.approx([10.5])
    assert series["at step 100"] == pytest.approx([100.5])
    assert series[""] == pytest.approx([275.5])
    assert series["resume"] == pytest.approx([50])


def test_titles_carry_the_sizes():
    assert WORKLOADS["W2"].title_for(FULL) == "1,000 runs of 10 steps, 2 workers"


def test_a_workflow_is_timed_by_the_node():
    series = WORKLOADS["WF200"].measure(SteadyEngine(), QUICK)

    assert series[""] == pytest.approx([2] * len(series[""]))
    assert series["whole"] == pytest.approx([2 * QUICK.fan_nodes] * len(series[""]))


def test_a_loop_is_timed_by_the_round_at_its_beginning_and_at_its_end():
    workload = WORKLOADS["LOOP10K"]
    rows = workload.measure(SteadyEngine(), QUICK)

    assert (rows["first tenth"], rows["last tenth"]) == (pytest.approx([1]), pytest.approx([10]))
    assert rows[""] == pytest.approx([5.5])
    assert set(workload.units) <= set(rows)


def test_scaling_is_the_throughput_with_ever_more_workers():
    series = WORKLOADS["SCALING"].measure(SteadyEngine(), QUICK)

    assert {row: figures[0] for row, figures in series.items()} == pytest.approx(
        {"": 2000, "2 workers": 4000, "4 workers": 8000}
    )


def test_rest_is_the_memory_and_time_of_all_processes_that_the_client_started():
    """A process that holds 30 MiB and spins stands for an engine that never rests."""
    busy = "data = bytearray(b'x') * (30 << 20)\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", busy])
    try:
        series = WORKLOADS["W6"].measure(SteadyEngine(), QUICK)
    finally:
        process.kill()
        process.wait()

    # This process counts too, with all that other tests have loaded.
    own = psutil.Process().memory_info().rss / 2**20
    assert 30 < series[""][0] < own + 100
    # Of a core that others may be using too.
    assert series["at rest: engine's CPU"][0] > 0
    assert "at rest: database" not in series


def test_each_row_of_rest_has_a_unit_of_its_own():
    workload = WORKLOADS["W6"]
    rows = workload.measure(SteadyEngine(), QUICK)

    assert set(workload.units) - set(rows) == {
        "at rest: database's CPU",
        "parked: database's CPU",
    }
    assert (workload.unit_of(""), workload.unit_of("parked: took")) == ("MiB", "s")
