"""What higher apps have the workers do: each with every tick, at its moment, and by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from executions import duties
from executions.duties import Duty
from executions.engine import failpoints
from executions.tests.conftest import eventually

SECOND = timedelta(seconds=1)


class Bell:
    """Rings at a moment, and says when."""

    def __init__(self) -> None:
        self.at: datetime | None = None
        self.rung: list[datetime] = []
        self.more = 0
        self.started = 0

    def tick(self, cursor: Any) -> bool:
        cursor.execute("SELECT flowmaestro_now()")
        now = cursor.fetchone()[0]
        if self.at is None or now < self.at:
            return False
        self.rung.append(now)
        if self.more:
            self.more -= 1
            return True
        self.at = None
        return False

    def next_moment(self, cursor: Any) -> datetime | None:
        return self.at

    def start(self) -> None:
        self.started += 1


@pytest.fixture
def bell() -> Iterator[Bell]:
    """One that every worker knows."""
    ringing = Bell()
    kept = dict(duties._duties)
    duties.register(
        Duty(name="bell", tick=ringing.tick, next_moment=ringing.next_moment, start=ringing.start)
    )
    yield ringing
    duties._duties.clear()
    duties._duties.update(kept)


def broken(cursor: Any) -> bool:
    raise RuntimeError("out of order")


def now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment


def test_a_worker_ticks_at_the_moment_of_a_duty(bell, executors):
    executors()
    bell.at = now() + 0.3 * SECOND
    wanted = bell.at
    eventually(lambda: bell.rung)
    # It may have been told of the moment up to a tick after it was set.
    assert timedelta(0) <= bell.rung[0] - wanted < 1.5 * SECOND
    # By now it ticks; a moment that it knows beforehand is met.
    bell.at = wanted = now() + 2.2 * SECOND
    eventually(lambda: len(bell.rung) > 1)
    assert timedelta(0) <= bell.rung[1] - wanted < 0.5 * SECOND


def test_what_is_left_comes_with_the_next_tick_at_once(bell, executors):
    executors()
    bell.more = 20
    bell.at = now()
    eventually(lambda: len(bell.rung) == 21, seconds=5)
    assert bell.rung[20] - bell.rung[1] < 2 * SECOND


def test_a_duty_that_fails_keeps_no_other_from_its_work(bell, executors, caplog):
    duties.register(Duty(name="a broken one", tick=broken, next_moment=lambda cursor: None))
    executors()
    bell.at = now()
    eventually(lambda: bell.rung)
    assert "out of order" in caplog.text


def test_the_testing_kit_stops_at_the_moments_of_duties(bell, engine):
    bell.at = engine.now() + 90 * SECOND
    wanted = bell.at
    engine.advance(hours=1)
    assert bell.rung == [wanted]
    assert bell.started == 0
    engine.deploy()
    assert bell.started == 1


def test_fail_points_of_higher_apps_are_armed_by_their_name():
    with pytest.raises(ValueError, match="There is no fail point bell"):
        failpoints.arm("bell.rung")
    failpoints.register("bell.rung")
    try:
        failpoints.arm("bell.rung", action="error")
        with pytest.raises(failpoints.FailPointError):
            failpoints.hit("bell.rung")
    finally:
        failpoints.disarm()
        failpoints._more.discard("bell.rung")
