"""The arithmetic of the figures."""

import pytest

from benchmarks.stats import percentile, summarize


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1.0), (50, 2.5), (100, 4.0), (95, pytest.approx(3.85))]
)
def test_a_percentile_lies_between_its_neighbours(percent, value):
    assert percentile([4.0, 1.0, 3.0, 2.0], percent) == value


def test_one_disturbed_round_shows_in_the_range_and_not_in_the_figure():
    summary = summarize([[1.0, 1.2, 1.1], [9.0, 9.5, 8.0], [1.0, 1.0, 1.3]])

    assert (summary.value, summary.low, summary.high) == (1.1, 1.0, 9.0)
    assert (summary.rounds, summary.samples) == (3, 9)
