"""Many tickers, clocks that jump, schedules that break: no time fires twice, none is lost."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection
from django_celery_beat.models import CrontabSchedule

from executions.models import Run, RunData
from executions.testing.clock import VirtualTime
from executions.tests.sizes import sized
from triggers import schedules
from triggers.models import Schedule, ScheduleFire
from triggers.schedules import store, ticks
from triggers.tests.schedules import tasks  # noqa: F401
from triggers.tests.threads import in_threads

TICKERS = 4
TICKS = sized(300, 10_000)
HOUR = timedelta(hours=1)


class Clock(VirtualTime):
    """A clock that also goes back."""

    def __init__(self):
        super().__init__()
        self.latest = self.now

    def start(self):
        super().start()
        self.latest = self.now

    def move(self, moment):
        super().move(moment)
        self.latest = max(self.latest, moment)


@pytest.fixture
def clock(transactional_db):
    """The database's clock, in a test's hand."""
    virtual = Clock()
    virtual.start()
    yield virtual
    virtual.stop()


def tick():
    """One tick, and as many more as it asks for."""
    with connection.cursor() as cursor:
        while ticks.tick(cursor):
            pass


def nominal_times(schedule, begin, end):
    """All times of a schedule after one moment and up to another."""
    with store.locked(schedule.pk) as held:
        times = held.times()
    found = []
    moment = times.after(begin)
    while moment is not None and moment <= end:
        found.append(moment)
        moment = times.after(moment)
    return found


def test_four_tickers_fire_every_time_once_whatever_the_clock_does(clock):
    dice = random.Random(7)
    begin = clock.now
    for number in range(12):
        schedules.create(
            "scheduled.plain", every=30 + 7 * number, overlap="ALLOW_ALL", catch_up="3h"
        )
    for cron in ("* * * * *", "*/3 * * * *", "1-59/2 * * * *"):
        schedules.create(
            "scheduled.plain", cron=cron, overlap="ALLOW_ALL", catch_up="3h", window="40%"
        )
    jumps = {TICKS // 5: -2, 2 * TICKS // 5: 2, 3 * TICKS // 5: 2, 4 * TICKS // 5: -2}

    def work(number):
        for turn in range(TICKS):
            if number == 0:
                length = timedelta(hours=jumps.get(turn, 0), seconds=dice.choice((0, 0.3, 1, 2)))
                clock.move(clock.now + length)
            tick()

    in_threads(TICKERS, work)
    # What a jump back left to come, and what is in its window still.
    clock.move(clock.latest + HOUR)
    in_threads(TICKERS, lambda number: tick())
    for schedule in Schedule.objects.exclude(window=""):
        assert schedule.next_fire_at > clock.now - timedelta(minutes=3)
    clock.move(clock.now + timedelta(minutes=6))
    tick()
    end = clock.now - timedelta(minutes=6)
    check_no_time_fired_twice()
    for schedule in Schedule.objects.all():
        assert schedule.disabled_at is None, schedule.error
        fired = ScheduleFire.objects.filter(schedule=schedule, nominal_at__lte=end)
        found = list(fired.order_by("nominal_at").values_list("nominal_at", flat=True))
        assert found == nominal_times(schedule, begin, end)


def check_no_time_fired_twice():
    """Neither by the fires nor by what the runs were given."""
    given = RunData.objects.values_list("run__source", "payload__timestamp")
    times = Counter((source, str(stamp)) for source, stamp in given)
    assert times
    assert max(times.values()) == 1
    assert Run.objects.count() == ScheduleFire.objects.filter(outcome="FIRED").count()
    assert not ScheduleFire.objects.exclude(outcome="FIRED").exists()


# ---- downtime -----------------------------------------------------------------------------------


def outcomes_of(schedule):
    """What became of its times: outcome, origin and how many, in order."""
    found = ScheduleFire.objects.filter(schedule=schedule).order_by("id")
    return list(found.values_list("outcome", "count"))


def test_ten_thousand_missed_times_are_passed_over_at_once(clock):
    schedule = schedules.create("scheduled.plain", cron="* * * * *")
    begin = schedule.next_fire_at
    clock.move(begin + timedelta(minutes=10_000))
    began = time.monotonic()
    tick()
    assert time.monotonic() - began < 5
    # The window goes back an hour: of what is in it, the first runs and the rest meet that run.
    assert outcomes_of(schedule) == [("MISSED", 9_940), ("SKIPPED", 60), ("FIRED", 1)]
    missed, skipped, fired = ScheduleFire.objects.filter(schedule=schedule).order_by("id")
    assert (missed.nominal_at, missed.last_nominal_at) == (
        begin, begin + timedelta(minutes=9_939)
    )  # fmt: skip
    assert fired.nominal_at == begin + timedelta(minutes=9_940)
    assert skipped.last_nominal_at == clock.now
    schedule.refresh_from_db()
    assert schedule.next_fire_at == clock.now + timedelta(minutes=1)


def test_a_decade_of_downtime_is_counted_up_to_a_bound(clock):
    schedule = schedules.create("scheduled.plain", every=1, overlap="ALLOW_ALL", catch_up="20m")
    clock.move(clock.now + timedelta(days=3650))
    began = time.monotonic()
    tick()
    assert time.monotonic() - began < 10
    assert outcomes_of(schedule)[0] == ("MISSED", 10_000)
    assert Run.objects.count() == 1201


def test_nothing_is_caught_up_with_where_nobody_wants_it(clock):
    schedule = schedules.create("scheduled.plain", every=60, catch_up=0)
    clock.move(schedule.next_fire_at + timedelta(seconds=90))
    tick()
    assert outcomes_of(schedule) == [("MISSED", 2)]
    schedule.refresh_from_db()
    # A tick that comes a little late has missed nothing.
    clock.move(schedule.next_fire_at + timedelta(seconds=9))
    tick()
    assert outcomes_of(schedule) == [("MISSED", 2), ("FIRED", 1)]


# ---- schedules that break -----------------------------------------------------------------------


def test_one_bad_schedule_among_a_thousand_stops_no_other(clock):
    made = [schedules.create("scheduled.plain", cron="0 * * * *").pk for _ in range(999)]
    bad = schedules.create("scheduled.plain", cron="0 * * * *", timezone="Asia/Tokyo")
    # Not by the service, which would refuse it.
    CrontabSchedule.objects.filter(pk=bad.crontab_id).update(hour="99")
    clock.move(clock.now.replace(minute=0, second=0) + HOUR)
    in_threads(2, lambda number: tick())
    assert set(Run.objects.values_list("source", flat=True)) == set(made)
    assert Run.objects.count() == 999
    bad.refresh_from_db()
    assert bad.disabled_at == clock.now
    assert bad.error == "cron: '99' as hour: it lies between 0 and 23."
    assert not bad.is_active
    assert Schedule.objects.filter(disabled_at=None).count() == 999


def test_a_zone_that_is_none_breaks_its_schedule_only(clock):
    good = schedules.create("scheduled.plain", every=60)
    bad = schedules.create("scheduled.plain", cron="* * * * *", timezone="Asia/Tokyo")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE django_celery_beat_crontabschedule SET timezone = 'Mars/Phobos'")
    clock.move(clock.now + timedelta(seconds=60))
    tick()
    bad.refresh_from_db()
    assert "There is no time zone 'Mars/Phobos'" in bad.error
    assert list(Run.objects.values_list("source", flat=True)) == [good.pk]


def test_a_payload_that_its_task_refuses_disables_the_schedule(clock):
    schedule = schedules.create("scheduled.strict", every=60, payload={"kind": "daily"})
    Schedule.objects.filter(pk=schedule.pk).update(payload={"kind": [1]})
    clock.move(schedule.next_fire_at)
    tick()
    schedule.refresh_from_db()
    assert schedule.error.startswith("payload.kind:")
    assert Run.objects.count() == ScheduleFire.objects.count() == 0


def test_an_unknown_task_is_left_to_others_for_a_minute_and_then_disables_the_schedule(clock):
    schedule = schedules.create("scheduled.plain", every=60, overlap="ALLOW_ALL")
    due = schedule.next_fire_at
    Schedule.objects.filter(pk=schedule.pk).update(task="of.a.newer.release")
    clock.move(due)
    tick()
    schedule.refresh_from_db()
    assert (schedule.disabled_at, schedule.next_fire_at) == (None, due)
    assert schedule.due_at == due + timedelta(seconds=1)
    # A worker that knows it comes by.
    Schedule.objects.filter(pk=schedule.pk).update(task="scheduled.plain")
    clock.move(due + timedelta(seconds=2))
    tick()
    assert ScheduleFire.objects.get().nominal_at == due
    Schedule.objects.filter(pk=schedule.pk).update(task="of.a.newer.release")
    clock.move(due + timedelta(seconds=121))
    tick()
    schedule.refresh_from_db()
    assert 'There is no task "of.a.newer.release"' in schedule.error


def test_whoever_mends_a_schedule_while_it_breaks_is_not_overruled(clock, monkeypatch):
    schedule = schedules.create("scheduled.plain", every=60)
    settle = ticks._settle

    def mend_first(held, error):
        schedules.update(schedule.pk, every=120, tags=[])
        settle(held, error)

    monkeypatch.setattr(ticks, "_settle", mend_first)
    Schedule.objects.filter(pk=schedule.pk).update(tags=["x" * 200])
    clock.move(schedule.next_fire_at)
    tick()
    schedule.refresh_from_db()
    assert (schedule.disabled_at, schedule.error) == (None, "")
    assert schedule.next_fire_at > clock.now


# ---- changes behind the service's back ----------------------------------------------------------


def test_bulk_changes_of_a_spec_are_noticed(clock):
    schedule = schedules.create("scheduled.plain", cron="0 9 * * *")
    CrontabSchedule.objects.filter(pk=schedule.crontab_id).update(hour="*", minute="*/10")
    tick()
    schedule.refresh_from_db()
    assert schedule.next_fire_at - clock.now <= timedelta(minutes=10)
    assert schedule.expression == "*/10 * * * *"


def test_bulk_changes_of_schedules_are_noticed(clock):
    schedule = schedules.create("scheduled.plain", at=clock.now + HOUR)
    found = Schedule.objects.filter(pk=schedule.pk)
    other = schedules.create("scheduled.plain", every=60)
    found.update(clocked=None, interval=other.interval_id)
    tick()
    schedule.refresh_from_db()
    assert schedule.next_fire_at <= clock.now + timedelta(seconds=60)
    found.update(paused_at=clock.now)
    schedule.refresh_from_db()
    assert (schedule.due_at, schedule.next_fire_at) == (None, None)
    clock.move(clock.now + HOUR)
    tick()
    assert not Run.objects.filter(source=schedule.pk).exists()
    found.update(paused_at=None)
    tick()
    schedule.refresh_from_db()
    assert schedule.next_fire_at > clock.now


def test_a_locked_schedule_is_passed_by_and_its_neighbours_fire(clock):
    held_one = schedules.create("scheduled.plain", every=60)
    other = schedules.create("scheduled.plain", every=60)
    clock.move(clock.now + timedelta(seconds=60))
    ready, done = threading.Event(), threading.Event()

    def hold(number):
        with store.locked(held_one.pk):
            ready.set()
            done.wait(10)

    def look(number):
        ready.wait(10)
        tick()
        assert list(Run.objects.values_list("source", flat=True)) == [other.pk]
        done.set()

    in_threads(2, lambda number: (hold, look)[number](number))
    tick()
    assert set(Run.objects.values_list("source", flat=True)) == {held_one.pk, other.pk}
