"""Ids sort by time, and a moment has a bound among them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from executions.rules.ids import first_id, has_prefix, new_id

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_the_bound_of_a_moment_lies_between_ids_made_before_and_after():
    before = datetime.now(UTC)
    made = new_id("run")
    after = datetime.now(UTC) + timedelta(milliseconds=1)
    assert first_id("run", before) <= made < first_id("run", after)


def test_bounds_sort_as_their_moments_do_to_the_millisecond():
    moments = [NOON + timedelta(milliseconds=number) for number in (0, 1, 2, 1000, 10**9)]
    bounds = [first_id("run", at) for at in moments]
    assert bounds == sorted(set(bounds))
    assert first_id("run", NOON + timedelta(microseconds=999)) == bounds[0]
    assert all(has_prefix(bound, "run") for bound in bounds)


@pytest.mark.parametrize(
    ("year", "suffix"), [(1, "0" * 26), (1970, "0" * 26), (9999, first_id("x", NOON)[2:4])]
)
def test_moments_that_ids_cannot_hold_give_the_first_or_the_last(year, suffix):
    bound = first_id("run", datetime(year, 1, 1, tzinfo=UTC))
    assert has_prefix(bound, "run")
    assert bound[4:].startswith(suffix) or bound > first_id("run", NOON)


def test_bounds_keep_their_prefix():
    assert first_id("waitpoint", NOON).startswith("waitpoint_")
    assert first_id("waitpoint", NOON)[10:] == first_id("run", NOON)[4:]
