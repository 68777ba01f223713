"""The options of `python -m benchmarks`."""

import pytest

from benchmarks.__main__ import parse_options


def test_workloads_and_peers_are_comma_lists_in_either_case():
    options = parse_options(["--only", "w2, scaling", "--peers", "DBOS"])

    assert (options.only, options.peers) == (["W2", "SCALING"], ["dbos"])


def test_no_peers_means_ours_alone():
    assert parse_options(["--peers", ""]).peers == []


def test_an_unknown_workload_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        parse_options(["--only", "W9"])

    assert "W9: choose from HTTP, LOOP10K, SCALING, W1, W2" in capsys.readouterr().err


def test_a_file_that_could_not_be_written_is_refused_before_the_measuring(capsys, tmp_path):
    with pytest.raises(SystemExit):
        parse_options(["--json", str(tmp_path / "missing" / "figures.json")])

    assert "there is no directory" in capsys.readouterr().err
