"""What the workloads make of an engine's clock values."""

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
