"""The state of a node after an event, and the order in which nodes are read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from executions.rules.node_states import STATE_AFTER, reading_order, state_after

FORMAT_JS = Path(__file__).parents[2] / "static" / "executions" / "format.js"


@pytest.mark.parametrize(
    ("event", "data", "entry"),
    [
        ("node_started", {"nodeId": "a"}, {"status": "running"}),
        ("paused", {"nodeId": "a"}, {"status": "waiting"}),
        ("node_completed", {"nodeId": "a", "output": 0}, {"status": "completed", "output": 0}),
        (
            "node_failed",
            {"nodeId": "a", "error": {"m": 1}},
            {"status": "failed", "error": {"m": 1}},
        ),
        (
            "node_failed",
            {"nodeId": "a", "error": {"m": 1}, "handling": "fallback"},
            {"status": "completed", "handledError": {"m": 1}},
        ),
        ("run.started", {"attempt": 1}, None),
        ("node_started", {}, None),
    ],
)
def test_the_state_after_an_event(event, data, entry):
    assert state_after(event, data) == entry


def test_the_page_knows_the_same_states():
    table = FORMAT_JS.read_text().partition("STATE_AFTER = {")[2].partition("}")[0]
    assert dict(re.findall(r'(\w+): "(\w+)"', table)) == STATE_AFTER


@pytest.mark.parametrize(
    ("nodes", "edges", "order"),
    [
        ("cba", ["ab", "bc"], "abc"),
        ("dcba", ["ab", "ac", "bd", "cd"], "acbd"),
        ("abc", ["ab", "bc", "cb"], "abc"),
        ("ba", [], "ba"),
    ],
)
def test_a_node_is_read_after_those_that_lead_to_it(nodes, edges, order):
    pairs = [(edge[0], edge[1]) for edge in edges]
    assert "".join(reading_order(list(nodes), pairs)) == order
