"""Overlaps against a model that takes due times one by one, each with a run that stays open."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triggers.rules.overlap import MOST_BUFFERED, Close, Fate, Overlap, Verdict, decide

S, B, X = Fate.START, Fate.BUFFER, Fate.SKIP
NUMBERS = st.integers(0, 5)


@pytest.mark.parametrize(
    ("policy", "due", "open_runs", "buffered", "verdict"),
    [
        ("SKIP", 3, 0, 0, Verdict(fates=(S, X, X))),
        ("SKIP", 2, 1, 0, Verdict(fates=(X, X))),
        ("BUFFER_ONE", 3, 0, 0, Verdict(fates=(S, B, X))),
        ("BUFFER_ONE", 2, 1, 0, Verdict(fates=(B, X))),
        ("BUFFER_ONE", 2, 1, 1, Verdict(fates=(X, X))),
        ("BUFFER_ALL", 3, 0, 0, Verdict(fates=(S, B, B))),
        ("BUFFER_ALL", 2, 1, 7, Verdict(fates=(B, B))),
        ("BUFFER_ALL", 3, 1, MOST_BUFFERED - 1, Verdict(fates=(B, X, X))),
        ("ALLOW_ALL", 3, 2, 0, Verdict(fates=(S, S, S))),
        ("CANCEL_OTHER", 3, 0, 0, Verdict(fates=(X, X, S))),
        ("CANCEL_OTHER", 2, 1, 0, Verdict(fates=(X, B), close=Close.CANCEL)),
        ("CANCEL_OTHER", 1, 1, 1, Verdict(fates=(B,), close=Close.CANCEL, drops_buffered=True)),
        ("TERMINATE_OTHER", 2, 2, 0, Verdict(fates=(X, S), close=Close.TERMINATE)),
        ("TERMINATE_OTHER", 1, 0, 1, Verdict(fates=(S,), drops_buffered=True)),
    ],
)
def test_a_policy_decides_as_it_is_described(policy, due, open_runs, buffered, verdict):
    assert decide(Overlap(policy), due, open_runs=open_runs, buffered=buffered) == verdict


@given(st.sampled_from(Overlap), NUMBERS, NUMBERS, NUMBERS)
def test_every_due_time_has_one_fate_and_order_is_kept(policy, due, open_runs, buffered):
    verdict = decide(policy, due, open_runs=open_runs, buffered=buffered)
    assert len(verdict.fates) == due
    busy = open_runs + buffered > 0
    started = verdict.fates.count(S)
    if policy is not Overlap.ALLOW_ALL:
        assert started <= 1
        # Nothing overtakes what waits.
        if busy and policy is not Overlap.TERMINATE_OTHER and not verdict.drops_buffered:
            assert started == 0
    if due and not busy:
        assert started >= 1
    assert (verdict.close is Close.NOTHING) or open_runs > 0


@given(st.sampled_from((Overlap.SKIP, Overlap.BUFFER_ONE, Overlap.BUFFER_ALL)), NUMBERS, NUMBERS,
       NUMBERS)  # fmt: skip
def test_many_at_once_are_decided_as_one_after_the_other(policy, due, open_runs, buffered):
    one_by_one: list[Fate] = []
    running, waiting = open_runs, buffered
    for _ in range(due):
        [fate] = decide(policy, 1, open_runs=running, buffered=waiting).fates
        running += fate is S
        waiting += fate is B
        one_by_one.append(fate)
    at_once = decide(policy, due, open_runs=open_runs, buffered=buffered).fates
    assert list(at_once) == one_by_one
