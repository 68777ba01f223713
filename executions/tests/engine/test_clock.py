"""A worker's idea of the database's time."""

from __future__ import annotations

import time

import pytest

from executions.engine.clock import Clock


@pytest.fixture
def clock() -> Clock:
    """A clock that has been told the time once, at once."""
    made = Clock()
    made.set(time.monotonic() + 1000)
    return made


def ahead(clock: Clock) -> float:
    """Seconds by which the clock is ahead of a database whose time is monotonic + 1000."""
    return clock.now() - time.monotonic() - 1000


def test_an_answer_that_was_long_on_its_way_does_not_turn_the_clock_back(clock: Clock) -> None:
    clock.set(time.monotonic() + 1000 - 0.2)
    assert ahead(clock) == pytest.approx(0, abs=0.01)


def test_a_quicker_answer_is_believed_little_by_little(clock: Clock) -> None:
    clock.set(time.monotonic() + 1000 + 0.05)
    assert ahead(clock) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("error", [0.2, -0.2])
def test_a_clock_that_is_wrong_comes_right_in_time(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, error: float
) -> None:
    begun = time.monotonic()
    for second in range(600):
        monkeypatch.setattr(time, "monotonic", lambda now=begun + second: now)
        clock.set(time.monotonic() + 1000 + error)
    assert ahead(clock) == pytest.approx(error, abs=0.001)


@pytest.mark.parametrize("step", [-3600, -1, 7200])
def test_a_database_whose_clock_was_set_is_followed(clock: Clock, step: float) -> None:
    clock.set(time.monotonic() + 1000 + step)
    assert ahead(clock) == pytest.approx(step, abs=0.01)


def test_the_first_word_of_the_database_counts_more_than_the_own_clock() -> None:
    made = Clock()
    made.set(time.time() - 0.3)
    assert made.now() == pytest.approx(time.time() - 0.3, abs=0.01)
