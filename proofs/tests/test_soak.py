"""The soak's verdict on samples made up for it, and a soak of a few seconds on a real cluster."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path

import pytest

from proofs.__main__ import parse_options
from proofs.ground import Place
from proofs.soak import TASKS, drive
from proofs.soak.growth import TOLERANCES, Sample, judge, slope

HOUR = 360


def hour(**leaks: float) -> list[Sample]:
    """An hour of samples that swing about; a leak is what a figure gains from first to last."""

    def figures(number: int) -> dict[str, float]:
        swing = math.sin(number / 5)
        early = 20 * math.exp(-number / 40)
        steady = {
            "memory: engine": 150 + 2 * swing + early,
            "memory: worker 7": 60 + swing,
            "connections": 12.0 + number % 2,
            "bloat: run": 900 + 30 * swing,
            "dead rows: run": 0.06 + 0.05 * (number % 17) / 17,
            "claim: p95": 6 + 2 * swing,
            "open runs": 80 + 10 * swing,
        }
        gained = {name.replace("__", ": "): leak for name, leak in leaks.items()}
        return {
            name: value + gained.get(name, 0.0) * number / HOUR for name, value in steady.items()
        }

    return [Sample(at=10.0 * number, figures=figures(number)) for number in range(HOUR)]


def growing(samples: list[Sample]) -> list[str]:
    return [growth.name for growth in judge(samples) if growth.is_too_much]


def test_what_swings_or_grows_only_while_it_warms_up_is_no_leak():
    assert growing(hour()) == []


@pytest.mark.parametrize(
    ("figure", "leak"),
    [
        ("memory__engine", 30.0),
        ("connections", 6.0),
        ("bloat__run", 500.0),
        ("claim__p95", 15.0),
        ("open runs", 200.0),
    ],
)
def test_a_leak_is_found_and_named_alone(figure, leak):
    assert growing(hour(**{figure: leak})) == [figure.replace("__", ": ")]


def test_slower_claims_on_a_busy_machine_are_told_and_no_fault():
    (claims,) = (one for one in judge(hour(claim__p95=15.0)) if one.name == "claim: p95")

    assert (claims.is_too_much, claims.is_wrong) == (True, False)


def test_dead_rows_that_nobody_vacuums_are_found():
    assert growing(hour(**{"dead rows__run": 0.5})) == ["dead rows: run"]


def test_a_figure_that_shrinks_is_no_leak():
    assert growing(hour(memory__engine=-80.0)) == []


def test_the_growth_is_that_of_the_second_half():
    (engine,) = (one for one in judge(hour(memory__engine=40.0)) if one.name == "memory: engine")

    assert engine.growth == pytest.approx(20, abs=2)
    assert engine.allowed == pytest.approx(0.05 * engine.mean)
    assert "GROWS" in str(engine)


def test_a_process_that_came_late_is_not_judged_by_itself():
    samples = hour()
    late = [
        Sample(at=one.at, figures={**one.figures, "memory: worker 9": float(number)})
        for number, one in enumerate(samples)
        if number > 300
    ]

    assert "memory: worker 9" not in {one.name for one in judge(samples[:301] + late)}


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="no second half"):
        judge(hour()[:2])


def test_the_command_line_says_how_long_and_refuses_no_time_at_all(capsys):
    assert parse_options(["soak", "--minutes", "1.5"]).minutes == 1.5
    with pytest.raises(SystemExit):
        parse_options(["soak", "--minutes", "0"])
    assert "between 0 and 10000" in capsys.readouterr().err


def test_the_slope_is_that_of_the_line():
    assert slope([(0.0, 1.0), (2.0, 5.0), (4.0, 9.0)]) == pytest.approx(2)


def test_a_few_seconds_of_real_load_bring_every_kind_of_figure(
    database_url: str, tmp_path: Path
) -> None:
    place = Place(directory=tmp_path, url=database_url)
    with place.cluster(workers=2, tasks=TASKS) as cluster:
        result = drive.soak(cluster, seconds=6, rate=20, kept=timedelta(seconds=3))

    assert (result.unfinished, result.failed) == (0, 0)
    assert result.triggered >= 100
    assert result.pruned > 0
    kinds = {name.partition(":")[0] for sample in result.samples for name in sample.figures}
    assert kinds == set(TOLERANCES)
    assert len([one for one in result.growths if one.name.startswith("memory: worker")]) == 2
