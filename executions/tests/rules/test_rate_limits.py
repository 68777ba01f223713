"""How fast callers may come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executions.rules.rate_limits import Rate, charge, rate_of, standing

NOW = 1_800_000_000.0
RATE = Rate(per_minute=60, burst=5)


def come(times, rate=RATE, items=1):
    """Which of the requests at those times are allowed."""
    whole_at, allowed = None, []
    for at in times:
        whole_at, is_allowed = charge(whole_at, NOW + at, rate, items)
        allowed.append(is_allowed)
    return allowed


def test_a_burst_may_come_at_once_and_no_more():
    assert come([0.0] * 7) == [True] * 5 + [False] * 2


def test_one_more_is_allowed_for_each_interval_that_passes():
    assert come([0] * 5 + [0.9, 1.0, 1.5, 2.0, 2.1]) == [True] * 5 + [
        False, True, False, True, False,
    ]  # fmt: skip


def test_a_budget_at_rest_does_not_grow_beyond_a_burst():
    assert come([0, *([3600.0] * 6)]) == [True, *([True] * 5), False]


def test_a_refused_request_costs_nothing():
    assert come([0] * 5 + [0.5] * 100 + [1.0]) == [True] * 5 + [False] * 100 + [True]


def test_a_batch_costs_its_items():
    assert come([0, 0], items=3) == [True, False]
    assert come([0, 1], items=3) == [True, True]


def test_a_batch_above_the_burst_takes_a_whole_burst():
    assert come([0, 4.9, 5.0], items=1000) == [True, False, True]


def test_a_clock_put_back_blocks_nobody_for_longer_than_a_burst_lasts():
    whole_at, _ = charge(NOW + 7200, NOW, RATE, 1)
    assert whole_at == NOW + RATE.span
    assert charge(NOW + 7200, NOW, RATE, 1) == (NOW + RATE.span, False)
    assert charge(whole_at, NOW + 1, RATE, 1)[1]


def test_who_is_refused_is_told_when_to_come_again():
    told = standing(NOW + 5.0, NOW, RATE, 3, allowed=False)
    assert (told.remaining, told.retry_after, told.free_after, told.reset_after) == (0, 3, 1, 5)
    whole_at, allowed = charge(NOW + 5.0, NOW + told.retry_after, RATE, 3)
    assert allowed and whole_at == NOW + 8.0


def test_who_is_let_in_is_told_what_remains():
    told = standing(NOW + 2.0, NOW, RATE, 1, allowed=True)
    assert (told.limit, told.remaining, told.retry_after, told.reset_after) == (5, 3, 0, 2)


@pytest.mark.parametrize(
    ("per_minute", "seconds", "burst"), [(1500, 30, 750), (10, 30, 5), (1, 30, 1), (300, 0.1, 1)]
)
def test_the_burst_is_some_seconds_worth_and_at_least_one(per_minute, seconds, burst):
    assert rate_of(per_minute, seconds) == Rate(per_minute=per_minute, burst=burst)


def test_no_requests_a_minute_is_no_limit():
    assert rate_of(0, 30) is None


@given(
    gaps=st.lists(st.floats(0, 20), min_size=1, max_size=60),
    items=st.lists(st.integers(1, 9), min_size=60, max_size=60),
    per_minute=st.integers(1, 6000),
    burst=st.integers(1, 50),
)
def test_no_window_lets_through_more_than_a_burst_and_its_share_of_the_rate(
    gaps, items, per_minute, burst
):
    rate = Rate(per_minute=per_minute, burst=burst)
    now, whole_at, passed = NOW, None, []
    for gap, count in zip(gaps, items, strict=False):
        now += gap
        whole_at, allowed = charge(whole_at, now, rate, count)
        if allowed:
            passed.append((now, min(count, burst)))
        else:
            told = standing(whole_at, now, rate, count, allowed=False)
            assert told.retry_after > 0
            assert charge(whole_at, now + told.retry_after + 1e-4, rate, count)[1]
    for first, (begun, _) in enumerate(passed):
        for last in range(first, len(passed)):
            ended = passed[last][0]
            total = sum(count for _, count in passed[first : last + 1])
            assert total <= burst + (ended - begun) / rate.interval + 1e-3
