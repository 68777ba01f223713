"""The table and the JSON, from recorded rounds."""

import pytest

from benchmarks.report import to_json, to_text
from benchmarks.rounds import Outcome
from benchmarks.workloads import FULL, WORKLOADS

MACHINE = {"cores": "2", "fsync": "on"}
ABSENT = {"restate": "there is no npm here"}


@pytest.fixture
def outcomes():
    return {
        "W1": {
            "floor": Outcome(rounds=[{"": [4.0]}, {"": [4.2]}, {"": [3.8]}], loads=[0.1]),
            "flowmaestro": Outcome(
                rounds=[{"": [5.0], "first to last line": [3.0]}] * 3, version="this checkout"
            ),
            "dbos": Outcome(error="exit status 1: no such table"),
        }
    }


def test_json_leads_from_workload_to_contender_to_value(outcomes):
    document = to_json(outcomes, [WORKLOADS["W1"]], MACHINE, ABSENT)

    floor = document["W1"]["floor"]
    assert (floor["value"], floor["min"], floor["max"], floor["unit"]) == (4.0, 3.8, 4.2, "ms")
    assert document["W1"]["flowmaestro"]["detail"]["first to last line"]["value"] == 3.0
    assert document["W1"]["flowmaestro"]["machine"] == MACHINE


def test_whoever_has_no_figure_has_a_reason(outcomes):
    document = to_json(outcomes, [WORKLOADS["W1"]], MACHINE, ABSENT)

    assert document["W1"]["dbos"]["value"] is None
    assert document["W1"]["dbos"]["error"] == "exit status 1: no such table"
    assert document["W1"]["restate"]["absent"] == "there is no npm here"


def test_the_table_shows_median_range_machine_and_distance_from_the_floor(outcomes):
    text = to_text(outcomes, [WORKLOADS["W1"]], FULL, MACHINE, ABSENT)

    assert "4.00 (3.80-4.20)" in text
    assert "cores 2, fsync on" in text
    assert "restate: absent, there is no npm here" in text
    assert "W1 dbos: failed, exit status 1: no such table" in text
    assert "flowmaestro takes 1.25 times the floor" in text
