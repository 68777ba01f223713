"""Steps as bars to scale."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from executions.admin.timeline import timeline

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(seconds):
    """So long after noon."""
    return NOON + timedelta(seconds=seconds)


@dataclass
class Done:
    """A step as the timeline reads it."""

    key: str = "step"
    kind: str = "step"
    status: str = "COMPLETED"
    attempt: int = 1
    started_at: datetime = NOON
    finished_at: datetime | None = None


def bars(step, *events, seconds=10):
    """The bars of a step in a run of ten seconds, as (look, left, width)."""
    drawn = timeline([step], {step.key: events}, begins=NOON, ends=at(seconds))
    return [(b.look, float(b.x[:-1]), float(b.width[:-1])) for b in drawn.lanes[0].bars]


def test_a_step_lies_where_it_ran():
    assert bars(Done(started_at=at(2), finished_at=at(7))) == [("completed", 20, 50)]


@pytest.mark.parametrize(
    ("step", "look", "words"),
    [
        (Done(finished_at=at(5)), "completed", "completed, 5.0 s"),
        (Done(status="FAILED", finished_at=at(5), attempt=3), "failed", "failed, 5.0 s, attempt 3"),
        (Done(status="STARTED"), "running", "running, 10.0 s"),
        (Done(status="WAITING", kind="sleep"), "waiting", "waiting, 10.0 s"),
        (Done(kind="wait", finished_at=at(5)), "waited", "completed, 5.0 s"),
        (Done(kind="children", finished_at=at(5)), "waited", "completed, 5.0 s"),
        (Done(status="RETRYING"), "back-off", "waits for its next attempt, 10.0 s"),
    ],
)
def test_each_state_has_a_look_and_words(step, look, words):
    lane = timeline([step], {}, begins=NOON, ends=at(10)).lanes[0]
    assert (lane.look, lane.words) == (look, words)
    assert [bar.look for bar in lane.bars] == [look]


def test_attempts_and_the_pauses_between_them_are_told_apart():
    step = Done(finished_at=at(10), attempt=2)
    events = [("started", at(0)), ("failed", at(2)), ("started", at(5))]
    assert bars(step, *events) == [
        ("failed attempt", 0, 20), ("back-off", 20, 30), ("completed", 50, 50),
    ]  # fmt: skip


def test_an_attempt_that_followed_at_once_is_drawn_from_the_failure_on():
    step = Done(finished_at=at(10), attempt=3, status="FAILED")
    events = [("failed", at(2)), ("failed", at(4))]
    assert [look for look, _, _ in bars(step, *events)] == [
        "failed attempt", "failed attempt", "failed",
    ]  # fmt: skip


def test_a_pause_that_lasts_reaches_to_the_end():
    step = Done(status="RETRYING", attempt=1)
    assert bars(step, ("failed", at(4)))[-1] == ("back-off", 40, 60)


def test_the_shortest_step_is_still_seen_also_at_the_very_end():
    _, left, width = bars(Done(started_at=at(10), finished_at=at(10)))[0]
    assert width > 0
    assert left + width <= 100


def test_a_step_from_before_the_run_is_a_copy():
    lane = timeline(
        [Done(started_at=at(-100), finished_at=at(-90))], {}, begins=NOON, ends=at(10)
    ).lanes[0]
    assert lane.look == "copied"
    assert lane.bars[0].x == "0.000%"


@pytest.mark.parametrize("seconds", [0, 0.0001, 0.02, 1, 59, 3600, 86_400, 10**8, 10**10])
def test_the_scale_has_few_marks_for_any_length(seconds):
    drawn = timeline([Done(finished_at=NOON)], {}, begins=NOON, ends=NOON + timedelta(
        seconds=min(seconds, 2 * 10**10)
    ))  # fmt: skip
    assert 1 <= len(drawn.ticks) <= 6
    places = [float(tick.x[:-1]) for tick in drawn.ticks]
    assert places == sorted(set(places))
    assert 0 <= places[0] <= places[-1] < 100
    assert len({tick.words for tick in drawn.ticks}) == len(drawn.ticks)


def test_five_hundred_steps_are_five_hundred_lanes():
    steps = [Done(key=f"s{n}", started_at=at(n), finished_at=at(n + 1)) for n in range(500)]
    drawn = timeline(steps, {}, begins=NOON, ends=at(500))
    assert len(drawn.lanes) == 500
    assert drawn.lanes[250].bars[0].x == "50.000%"


def test_an_event_outside_of_the_step_is_not_drawn():
    step = Done(started_at=at(5), finished_at=at(10), attempt=2)
    assert bars(step, ("failed", at(1))) == [("completed", 50, 50)]
