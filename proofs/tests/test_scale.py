"""The scale proofs in a small size: the same bounds, thousands instead of a million."""

from __future__ import annotations

from pathlib import Path

import pytest

from executions.tests.sizes import sized
from proofs.ground import Place
from proofs.scale import claims, lists, parked, plans, rows

PARKED = sized(300, 100_000)
COMPLETED = sized(50, 10_000)
ROWS = sized(5_000, 1_000_000)
CLAIMS = {1: sized(30, 300), 100: sized(10, 100)}
# In the everyday suite the machine does much else; what counts there is how rows are found.
PATIENCE = sized(30, 1)


def test_parked_runs_cost_no_memory_slow_no_claim_and_go_on_when_completed(
    database_url: str, tmp_path: Path
) -> None:
    place = Place(directory=tmp_path, url=database_url)

    proof = parked.prove(place, number=PARKED, complete=COMPLETED, patience=PATIENCE)

    assert proof.wrong == []
    assert proof.figures["claim p95 parked, ms"] > 0


@pytest.mark.django_db(transaction=True)
def test_a_claim_beside_final_and_future_runs_goes_by_an_index() -> None:
    rows.fill_with_past_and_future(ROWS)

    proof = claims.prove_beside_past_and_future(CLAIMS, patience=PATIENCE)

    assert proof.wrong == []
    assert proof.figures["claim of 100, p95 ms"] > 0


@pytest.mark.django_db(transaction=True)
def test_a_claim_from_a_long_queue_reads_no_more_than_it_takes() -> None:
    rows.fill_with_queued(ROWS)

    proof = claims.prove_among_queued(CLAIMS, patience=PATIENCE)

    assert proof.wrong == []
    assert "run_due" in str(proof.figures["claim of 100 by the indexes"])


@pytest.mark.django_db(transaction=True)
def test_a_scan_of_all_runs_would_be_seen() -> None:
    rows.fill_with_queued(1000)

    explained = plans.plan("SELECT count(*) FROM executions_run WHERE event_seq = 7")

    assert plans.scanned(explained) == {"executions_run"}
    assert plans.touched(explained) == 1000


@pytest.mark.django_db(transaction=True)
def test_each_list_of_runs_is_looked_at_by_its_plan() -> None:
    rows.fill_with_past_and_future(ROWS)

    proof = lists.prove(patience=PATIENCE)

    assert proof.wrong == []
    assert "run_of_task" in str(proof.figures["list_runs task of few"])
    assert not [what for what in proof.figures.values() if "not possible" in str(what)]
