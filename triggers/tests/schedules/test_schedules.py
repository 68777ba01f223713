"""Schedules on the engine: they fire at their times, and what is done to them takes effect."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from django.core.checks import run_checks
from django.db import IntegrityError, transaction
from django_celery_beat.models import ClockedSchedule, CrontabSchedule

from executions import doctor, prune, registry, runs, workspaces
from executions.audit import Actor
from executions.errors import Conflict, Invalid, NotFound
from executions.models import AuditEntry, Run, RunData
from executions.registry import Cron, task
from executions.rules.retry import NO_RETRY
from executions.tests.people import person
from triggers import schedules
from triggers.models import Schedule, ScheduleFire
from triggers.rules.scheduled_payload import iso
from triggers.schedules import declarations
from triggers.tests.schedules.tasks import declared as declared_task
from triggers.tests.threads import in_threads

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
SOMEBODY = Actor("somebody")


def runs_of(schedule):
    """The runs of a schedule, the oldest first."""
    return list(Run.objects.filter(source=schedule.pk).order_by("id"))


def payloads_of(schedule):
    """What they were given."""
    found = RunData.objects.filter(run__source=schedule.pk).order_by("run_id")
    return [data.payload for data in found]


def outcomes_of(schedule):
    """What became of its times, in order."""
    found = ScheduleFire.objects.filter(schedule=schedule).order_by("id")
    return list(found.values_list("outcome", "count"))


def tomorrow_at(engine, hour):
    """A moment of the next day, in UTC."""
    return (engine.now() + timedelta(days=1)).replace(hour=hour, minute=0, second=0, microsecond=0)


# ---- firing -------------------------------------------------------------------------------------


def test_a_schedule_fires_at_each_of_its_times_in_order(engine):
    schedule = schedules.create("scheduled.plain", cron="0 */6 * * *", external_id="user-7")
    engine.advance(until=tomorrow_at(engine, 0))
    before = len(runs_of(schedule))
    engine.advance(days=3)
    runs = runs_of(schedule)[before:]
    assert len(runs) == 12
    assert {run.status for run in runs} == {"COMPLETED"}
    assert all(run.started_at == run.created_at for run in runs)
    assert [run.created_at.hour for run in runs] == [6, 12, 18, 0] * 3
    assert outcomes_of(schedule) == [("FIRED", 1)] * (before + 12)


def test_a_run_is_given_what_trigger_dev_gives(engine):
    schedule = schedules.create(
        "scheduled.plain", cron="0 9 * * *", timezone="America/New_York", external_id="user-7",
        payload={"report": "daily"},
    )  # fmt: skip
    first = schedule.next_fire_at
    assert first is not None
    engine.advance(days=2)
    one, two = payloads_of(schedule)
    assert one == {
        "report": "daily",
        "type": "IMPERATIVE",
        "timestamp": iso(first),
        "timezone": "America/New_York",
        "scheduleId": schedule.pk,
        "externalId": "user-7",
        "upcoming": one["upcoming"],
    }
    assert two["lastTimestamp"] == one["timestamp"]
    assert two["timestamp"] == one["upcoming"][0]
    assert len(one["upcoming"]) == 5
    assert one["upcoming"] == sorted(one["upcoming"])


def test_an_interval_counts_from_its_start_and_does_not_drift(engine):
    start = engine.now() + timedelta(minutes=7)
    schedule = schedules.create("scheduled.plain", every="90s", starts_at=start)
    engine.advance(minutes=7 + 15)
    assert [run.created_at - start for run in runs_of(schedule)] == [
        timedelta(seconds=90 * n) for n in range(11)
    ]


def test_a_moment_comes_once(engine):
    moment = engine.now() + HOUR
    schedule = schedules.create("scheduled.plain", at=moment)
    engine.advance(days=10)
    assert [run.created_at for run in runs_of(schedule)] == [moment]
    schedule.refresh_from_db()
    assert (schedule.next_fire_at, schedule.due_at) == (None, None)
    assert schedule.exhausted_at == moment


def test_the_sun_rises_daily(engine):
    place = {"event": "sunrise", "latitude": 48.8566, "longitude": 2.3522}
    schedule = schedules.create("scheduled.plain", solar=place)
    engine.advance(days=5)
    times = [run.created_at for run in runs_of(schedule)]
    assert len(times) == 5
    assert all(
        abs(later - earlier - DAY) < timedelta(minutes=3) for earlier, later in pairwise(times)
    )


def test_a_window_spreads_schedules_and_keeps_each_at_its_place(engine):
    made = [schedules.create("scheduled.plain", cron="0 * * * *", window="30m") for _ in range(8)]
    engine.advance(hours=4)
    places = set()
    for schedule in made:
        fires = ScheduleFire.objects.filter(schedule=schedule)
        late = {fire.at - fire.nominal_at for fire in fires}
        assert len(late) == 1
        assert timedelta(0) <= min(late) < timedelta(minutes=30)
        assert {payload["timestamp"][14:19] for payload in payloads_of(schedule)} == {"00:00"}
        places |= late
    assert len(places) >= 6


def test_bounds_are_kept_and_both_belong_to_the_schedule(engine):
    start = engine.now() + HOUR
    schedule = schedules.create(
        "scheduled.plain", every="10m", starts_at=start, ends_at=start + timedelta(minutes=30)
    )
    engine.advance(hours=6)
    assert [run.created_at - start for run in runs_of(schedule)] == [
        timedelta(minutes=n) for n in (0, 10, 20, 30)
    ]


def test_actions_are_limited_exactly(engine):
    schedule = schedules.create("scheduled.plain", every=60, remaining_actions=3)
    schedules.run_now(schedule.pk)
    engine.advance(hours=1)
    assert outcomes_of(schedule) == [("FIRED", 1)] * 4
    schedule.refresh_from_db()
    assert (schedule.remaining_actions, schedule.next_fire_at) == (0, None)
    assert schedule.exhausted_at is not None
    schedules.update(schedule.pk, remaining_actions=2)
    engine.advance(hours=1)
    assert len(runs_of(schedule)) == 6


@pytest.mark.parametrize(("overlap", "started"), [("BUFFER_ALL", 3), ("SKIP", 3), ("ALLOW_ALL", 3)])
def test_a_limit_of_actions_holds_when_many_are_due_at_once(engine, overlap, started):
    schedule = schedules.create(
        "scheduled.plain", every=60, remaining_actions=3, overlap=overlap, catch_up="1d"
    )
    # Half an hour in which nobody ticks.
    engine._move(engine.now() + timedelta(minutes=30))
    engine.advance(hours=2)
    assert len(runs_of(schedule)) == started
    schedule.refresh_from_db()
    assert schedule.remaining_actions == 0


# ---- overlap ------------------------------------------------------------------------------------


def starts_of(schedule):
    """When its runs began, in minutes since it was made, and how they ended or stand."""
    ends = {"COMPLETED": "C", "WAITING": "W", "CANCELED": "X"}
    return " ".join(
        f"{round((run.started_at - schedule.created_at) / MINUTE)}{ends[run.status]}"
        for run in runs_of(schedule)
    )


def times_of(schedule, outcome):
    """The nominal times with an outcome, in minutes since it was made."""
    found = ScheduleFire.objects.filter(schedule=schedule, outcome=outcome).order_by("nominal_at")
    return [round((fire.nominal_at - schedule.created_at) / MINUTE) for fire in found]


@pytest.mark.parametrize(
    ("overlap", "starts", "skipped"),
    [
        # A run takes ten minutes, one is due each four; they are watched for half an hour.
        ("SKIP", "4C 16C 28W", [8, 12, 20, 24]),
        ("BUFFER_ONE", "4C 14C 24W", [12, 20, 24]),
        ("BUFFER_ALL", "4C 14C 24W", []),
        ("ALLOW_ALL", "4C 8C 12C 16C 20C 24W 28W", []),
        ("CANCEL_OTHER", "4X 8X 12X 16X 20X 24X 28W", []),
        ("TERMINATE_OTHER", "4X 8X 12X 16X 20X 24X 28W", []),
    ],
)
def test_each_policy_for_overlaps_does_what_it_says(engine, overlap, starts, skipped):
    schedule = schedules.create("scheduled.slow", every="4m", overlap=overlap)
    schedule.created_at = schedule.created_at.replace(microsecond=0)
    engine.advance(minutes=30)
    assert starts_of(schedule) == starts
    assert times_of(schedule, "SKIPPED") == skipped
    if overlap.startswith("BUFFER"):
        # What is kept begins at the end of the run before, and is given the time that it is for.
        assert times_of(schedule, "FIRED") == [4, 8, 16 if overlap == "BUFFER_ONE" else 12]
        stamps = [payload["timestamp"] for payload in payloads_of(schedule)]
        assert stamps == [
            iso(at)
            for at in schedule.fires.filter(outcome="FIRED")
            .order_by("id")
            .values_list("nominal_at", flat=True)
            if at
        ]


def test_a_cancelled_run_may_clean_up_before_the_next_begins(engine):
    @task("scheduled.tidy", retry=NO_RETRY)
    async def tidy(payload, ctx):
        try:
            await ctx.sleep(days=1)
        finally:
            await ctx.step("tidy up", lambda: None)

    schedule = schedules.create("scheduled.tidy", every="4m", overlap="CANCEL_OTHER")
    engine.advance(minutes=9)
    first, second = runs_of(schedule)
    assert first.status == "CANCELED"
    assert first.finished_at <= second.created_at
    assert first.steps.filter(key="tidy up", status="COMPLETED").exists()
    assert "has come to its next time" in first.cancel_reason


# ---- failures -----------------------------------------------------------------------------------


def test_a_failure_pauses_a_schedule_that_wants_that(engine):
    schedule = schedules.create("scheduled.failing", every=60, pause_on_failure=True)
    other = schedules.create("scheduled.failing", every=60)
    engine.advance(minutes=5)
    assert (len(runs_of(schedule)), len(runs_of(other))) == (1, 5)
    schedule.refresh_from_db()
    assert not schedule.is_active
    assert schedule.pause_note == f"Run {runs_of(schedule)[0].id} failed."
    schedules.activate(schedule.pk)
    engine.advance(minutes=5)
    assert len(runs_of(schedule)) == 2


def test_a_cancelled_run_is_no_failure(engine):
    schedule = schedules.create("scheduled.slow", every="4m", pause_on_failure=True)
    engine.advance(minutes=5)
    runs.cancel(runs_of(schedule)[0].id)
    engine.advance(minutes=5)
    schedule.refresh_from_db()
    assert schedule.is_active
    assert len(runs_of(schedule)) == 2


# ---- pause and go on ----------------------------------------------------------------------------


def test_a_paused_schedule_lets_its_times_pass_and_goes_on_from_now(engine):
    schedule = schedules.create("scheduled.slow", every=60, overlap="BUFFER_ALL")
    engine.advance(minutes=3)
    schedules.deactivate(schedule.pk, reason="The report is wrong.", actor=SOMEBODY)
    schedule.refresh_from_db()
    assert (schedule.pause_note, schedule.next_fire_at) == ("The report is wrong.", None)
    assert times_of(schedule, "BUFFERED") == []
    engine.advance(minutes=30)
    assert len(runs_of(schedule)) == 1
    schedules.activate(schedule.pk, actor=SOMEBODY)
    engine.advance(minutes=2)
    assert len(runs_of(schedule)) == 2
    assert schedules.deactivate(schedules.activate(schedule.pk).pk).paused_at == engine.now()
    entries = AuditEntry.objects.filter(subject=schedule.pk).order_by("number")
    assert [(entry.action, entry.reason) for entry in entries] == [
        ("schedule.pause", "The report is wrong."), ("schedule.unpause", ""),
    ]  # fmt: skip


def test_activating_a_broken_schedule_says_what_is_still_wrong(engine):
    schedule = schedules.create("scheduled.plain", cron="0 9 * * *")
    crontab = CrontabSchedule.objects.filter(pk=schedule.crontab_id)
    crontab.update(day_of_month="30", month_of_year="2")
    engine.run_until_idle()
    schedule.refresh_from_db()
    assert "never fires" in schedule.error
    with pytest.raises(Invalid, match="never fires"):
        schedules.activate(schedule.pk)
    crontab.update(month_of_year="3")
    assert schedules.activate(schedule.pk).error == ""
    schedule.refresh_from_db()
    assert (schedule.next_fire_at.month, schedule.next_fire_at.day) == (3, 30)


# ---- run now, backfill --------------------------------------------------------------------------


def test_a_schedule_runs_now_beside_what_runs_and_while_paused(engine):
    schedule = schedules.create("scheduled.slow", cron="0 9 * * *", remaining_actions=1)
    schedules.deactivate(schedule.pk)
    fires = [schedules.run_now(schedule.pk, actor=SOMEBODY) for _ in range(2)]
    engine.advance(minutes=11)
    assert [run.id for run in runs_of(schedule)] == [fire.run for fire in fires]
    assert {run.status for run in runs_of(schedule)} == {"COMPLETED"}
    assert [payload["timestamp"] for payload in payloads_of(schedule)] == [
        iso(fire.at) for fire in fires
    ]
    schedule.refresh_from_db()
    assert (schedule.remaining_actions, schedule.last_fire_at) == (1, None)
    assert schedules.run_now(schedule.pk, overlap="SKIP").outcome == "FIRED"
    skipped = schedules.run_now(schedule.pk, overlap="SKIP")
    assert (skipped.outcome, skipped.run) == ("SKIPPED", None)
    kept = schedules.run_now(schedule.pk, overlap="BUFFER_ONE")
    assert kept.outcome == "BUFFERED"
    engine.advance(minutes=21)
    kept.refresh_from_db()
    assert kept.outcome == "FIRED"
    with pytest.raises(Invalid, match="overlap is one of"):
        schedules.run_now(schedule.pk, overlap="NONE")


def test_a_backfill_runs_what_has_not_run_one_after_the_other(engine):
    schedule = schedules.create("scheduled.slow", every="4m")
    engine.advance(minutes=30)
    fired = times_of(schedule, "FIRED")
    begin = schedule.created_at.replace(microsecond=0)
    schedules.deactivate(schedule.pk)
    made = schedules.backfill(schedule.pk, begin, begin + 24 * MINUTE, actor=SOMEBODY)
    assert [round((fire.nominal_at - begin) / MINUTE) for fire in made] == [0, 8, 12, 20, 24]
    assert {fire.outcome for fire in made} == {"BUFFERED"}
    engine.advance(hours=2)
    assert times_of(schedule, "FIRED") == sorted([*fired, 0, 8, 12, 20, 24])
    assert {run.status for run in runs_of(schedule)} == {"COMPLETED"}
    assert schedules.backfill(schedule.pk, begin, begin + 24 * MINUTE) == []


def test_a_backfill_reaches_back_to_before_the_schedule_was(engine):
    schedule = schedules.create("scheduled.plain", cron="0 0 * * *")
    end = engine.now()
    made = schedules.backfill(schedule.pk, end - 7 * DAY, end, overlap="ALLOW_ALL")
    assert len(made) == 7
    engine.run_until_idle()
    assert {run.status for run in runs_of(schedule)} == {"COMPLETED"}


def test_a_backfill_is_of_the_past_and_bounded(engine):
    schedule = schedules.create("scheduled.plain", cron="* * * * *")
    now = engine.now()
    for start, end, field in (
        (now, now + HOUR, "end"), (now, now - HOUR, "end"), (now - 7 * DAY, now, "end"),
        (now.replace(tzinfo=None), now, "start"),
    ):  # fmt: skip
        with pytest.raises(Invalid) as caught:
            schedules.backfill(schedule.pk, start, end)
        assert caught.value.field == field
    assert runs_of(schedule) == []


# ---- make and change ----------------------------------------------------------------------------


def test_one_key_is_one_schedule(engine):
    first = schedules.create("scheduled.plain", every=60, deduplication_key="a", payload={"n": 1})
    engine.advance(seconds=30)
    same = schedules.create("scheduled.plain", every=60, deduplication_key="a", payload={"n": 1})
    # The same again changes nothing in when it fires.
    assert (same.pk, same.next_fire_at) == (first.pk, first.next_fire_at)
    other = schedules.create("scheduled.slow", cron="0 9 * * *", deduplication_key="a")
    assert (other.pk, other.task, other.payload) == (first.pk, "scheduled.slow", None)
    assert (other.expression, other.interval_id) == ("0 9 * * *", None)
    assert Schedule.objects.count() == 1
    with pytest.raises(Invalid, match="one of cron, every, at and solar, not none"):
        schedules.create("scheduled.plain", deduplication_key="a")


def test_keys_are_of_a_workspace(transactional_db):
    ada, bo = person("ada"), person("bo")
    made = {
        schedules.create("scheduled.plain", every=60, deduplication_key="a", owner=owner).pk
        for owner in (None, ada.pk, bo.pk, ada.pk)
    }
    assert len(made) == 3
    row = Schedule.objects.get(owner=ada)
    assert row.workspace == workspaces.personal(ada.pk)


def test_many_who_make_one_schedule_at_once_make_one(transactional_db):
    def make(number):
        key = f"{number // 12}"
        return schedules.create("scheduled.plain", every=60 + number, deduplication_key=key).pk

    made = in_threads(6, lambda number: [make(12 * turn + number) for turn in range(10)])
    assert {len(set(ids)) for ids in zip(*made, strict=True)} == {1}
    assert Schedule.objects.count() == 10


def test_a_change_keeps_what_it_does_not_name(engine):
    schedule = schedules.create(
        "scheduled.plain", cron="0 9 * * *", timezone="Europe/Paris", external_id="x",
        payload={"n": 1}, tags=["a"], window="10%",
    )  # fmt: skip
    changed = schedules.update(schedule.pk, external_id="y", actor=SOMEBODY)
    assert changed.next_fire_at == schedule.next_fire_at
    assert (changed.payload, changed.tags, changed.window) == ({"n": 1}, ["a"], "10%")
    moved = schedules.update(schedule.pk, timezone="Asia/Tokyo")
    assert (moved.expression, moved.timezone) == ("0 9 * * *", "Asia/Tokyo")
    assert moved.next_fire_at != schedule.next_fire_at
    later = schedules.update(schedule.pk, cron="30 9 * * *")
    assert (later.timezone, later.next_fire_at) == (
        "Asia/Tokyo", moved.next_fire_at + timedelta(minutes=30),
    )  # fmt: skip
    spread = schedules.update(schedule.pk, window="")
    assert spread.next_effective_at == spread.next_fire_at == later.next_fire_at


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({}, "cron"),
        ({"cron": "* * * * *", "every": 5}, "every"),
        ({"cron": "* * * * *", "timezone": "Nowhere"}, "timezone"),
        ({"every": 0}, "every"),
        ({"every": 0.5}, "every"),
        ({"every": "soon"}, "every"),
        ({"every": 60, "timezone": "Nowhere"}, "timezone"),
        ({"at": datetime(2001, 1, 1, tzinfo=UTC)}, "at"),
        ({"at": datetime(2101, 1, 1)}, "at"),
        ({"at": "2101-01-01"}, "at"),
        ({"solar": {"event": "moonrise", "latitude": 0, "longitude": 0}}, "solar"),
        ({"solar": {"event": "sunrise", "latitude": 91, "longitude": 0}}, "solar"),
        ({"solar": {"event": "sunrise"}}, "solar"),
        ({"every": 60, "overlap": "WAIT"}, "overlap"),
        ({"every": 60, "catch_up": None}, "catch_up"),
        ({"every": 60, "catch_up": -1}, "catch_up"),
        ({"every": 60, "window": "1s"}, "window"),
        ({"every": 60, "window": "101%"}, "window"),
        ({"every": 60, "remaining_actions": -1}, "remaining_actions"),
        ({"every": 60, "remaining_actions": True}, "remaining_actions"),
        ({"every": 60, "pause_on_failure": "yes"}, "pause_on_failure"),
        ({"every": 60, "starts_at": datetime(2101, 1, 1)}, "starts_at"),
        ({"every": 60, "ends_at": datetime(2001, 1, 1, tzinfo=UTC)}, "ends_at"),
        ({"every": 60, "payload": [1]}, "payload"),
        ({"every": 60, "payload": {"timestamp": 1}}, "payload.timestamp"),
        ({"every": 60, "tags": ["x"] * 11}, "tags"),
        ({"every": 60, "queue": ""}, "queue"),
        ({"every": 60, "metadata": [1]}, "metadata"),
        ({"every": 60, "ttl": "x"}, "ttl"),
        ({"every": 60, "external_id": 7}, "external_id"),
        ({"every": 60, "deduplication_key": ""}, "deduplication_key"),
        ({"every": 60, "cadence": 1}, "cadence"),
    ],
)
def test_what_is_wrong_is_refused_with_its_field(transactional_db, options, field):
    with pytest.raises(Invalid) as caught:
        schedules.create("scheduled.plain", **options)
    assert caught.value.field == field
    assert Schedule.objects.count() == 0


def test_a_task_must_be_there_and_take_the_payload(transactional_db):
    with pytest.raises(NotFound) as caught:
        schedules.create("nobody", every=60)
    assert caught.value.field == "task"
    with pytest.raises(Invalid, match=r"payload\.kind"):
        schedules.create("scheduled.strict", every=60)
    assert schedules.create("scheduled.strict", every=60, payload={"kind": "daily"}).is_active


def test_a_deleted_schedule_leaves_its_runs_and_no_moment(engine):
    schedule = schedules.create("scheduled.plain", at=engine.now() + HOUR)
    moment = schedule.clocked_id
    engine.advance(hours=2)
    schedules.delete(schedule.pk, actor=SOMEBODY)
    assert len(runs_of(schedule)) == 1
    assert not ScheduleFire.objects.exists()
    assert not ClockedSchedule.objects.filter(pk=moment).exists()
    with pytest.raises(NotFound):
        schedules.retrieve(schedule.pk)
    with pytest.raises(NotFound):
        schedules.delete(schedule.pk)
    assert AuditEntry.objects.get().action == "schedule.delete"


def test_schedules_are_listed_by_what_they_are_for(transactional_db):
    one = schedules.create("scheduled.plain", every=60, external_id="x")
    two = schedules.create("scheduled.slow", every=60)
    assert schedules.list_schedules() == [two, one]
    assert schedules.list_schedules(task="scheduled.slow") == [two]
    assert schedules.list_schedules(external_id="x") == [one]
    assert schedules.list_schedules(after=two.pk) == [one]
    assert schedules.list_schedules(workspace="workspace_0") == []
    with pytest.raises(Invalid):
        schedules.list_schedules(limit=0)


# ---- what the database itself refuses -----------------------------------------------------------


def test_a_time_is_taken_once_whoever_writes(transactional_db):
    schedule = schedules.create("scheduled.plain", every=60)
    at = schedule.next_fire_at
    fire = {"schedule": schedule, "nominal_at": at, "origin": "SCHEDULED"}
    ScheduleFire.objects.create(**fire, outcome="SKIPPED")
    ScheduleFire.objects.create(**fire, outcome="FIRED", run="run_1")
    for outcome, run in (("FIRED", "run_2"), ("BUFFERED", None)):
        with pytest.raises(IntegrityError, match="fire_once_per_time"), transaction.atomic():
            ScheduleFire.objects.create(**fire, outcome=outcome, run=run)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"interval": None}, "schedule_has_one_spec"),
        ({"overlap": "WAIT"}, "schedule_overlap_known"),
        ({"remaining_actions": -1}, "schedule_actions_left"),
        ({"disabled_at": datetime(2026, 1, 1, tzinfo=UTC)}, "schedule_broken_says_why"),
        ({"due_at": None}, "schedule_active_is_looked_at"),
    ],
)
def test_the_database_refuses_what_cannot_be(transactional_db, change, constraint):
    schedule = schedules.create("scheduled.plain", every=60)
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Schedule.objects.filter(pk=schedule.pk).update(**change)


# ---- declared in code ---------------------------------------------------------------------------


def test_what_code_declares_is_brought_in_line_at_each_start(engine, monkeypatch):
    declared = {"scheduled.declared": Cron(pattern="0 9 * * *", timezone="Europe/Paris")}
    monkeypatch.setattr(declarations, "declared", lambda: declared)
    engine.deploy()
    row = Schedule.objects.get(is_declarative=True)
    assert (row.task, row.expression, row.timezone) == (
        "scheduled.declared", "0 9 * * *", "Europe/Paris",
    )  # fmt: skip
    engine.deploy()
    same = Schedule.objects.get(is_declarative=True)
    assert (same.plan_no, same.pk) == (row.plan_no, row.pk)
    engine.advance(days=2)
    assert [payload["type"] for payload in payloads_of(row)] == ["DECLARATIVE"] * 2

    declared["scheduled.declared"] = Cron(pattern="0 10 * * *", window="5%")
    engine.deploy()
    row.refresh_from_db()
    assert (row.expression, row.timezone, row.window) == ("0 10 * * *", "UTC", "5%")

    taken = declared.pop("scheduled.declared")
    engine.deploy()
    row.refresh_from_db()
    assert (row.is_active, row.error) == (False, "Its task declares no cron any more.")
    with pytest.raises(Conflict, match="declares no cron"):
        schedules.activate(row.pk)
    declared["scheduled.declared"] = taken
    engine.deploy()
    row.refresh_from_db()
    assert row.is_active
    assert row.next_fire_at > engine.now()

    declared["scheduled.declared"] = Cron(pattern="0 0 30 2 *")
    engine.deploy()
    row.refresh_from_db()
    assert "never fires" in row.error
    for change in (schedules.delete, schedules.update):
        with pytest.raises(Conflict, match="declared in the code"):
            change(row.pk)


def test_hosts_that_start_at_once_declare_each_schedule_once(transactional_db):
    in_threads(6, lambda number: declarations.sync())
    declared = len(declarations.declared())
    assert declared >= 1
    assert Schedule.objects.filter(is_declarative=True).count() == declared


def test_a_cron_in_code_is_text_or_an_object():
    def told(cron, timezone=None):
        @task("scheduled.told", cron=cron, timezone=timezone)
        async def body(payload, ctx):
            """Nothing."""

        registry._tasks.pop("scheduled.told")
        return body.cron

    assert told("0 9 * * *") == Cron(pattern="0 9 * * *")
    assert told("0 9 * * *", "Asia/Tokyo") == Cron(pattern="0 9 * * *", timezone="Asia/Tokyo")
    assert told({"pattern": "0 9 * * *", "timezone": "Asia/Tokyo"}).timezone == "Asia/Tokyo"
    for cron, timezone in (({"timezone": "UTC"}, None), (None, "UTC"), ({"pattern": 5}, None),
                           ({"pattern": "x", "at": "y"}, None),
                           ({"pattern": "x", "timezone": "UTC"}, "UTC")):  # fmt: skip
        with pytest.raises(Invalid):
            told(cron, timezone)


def test_a_wrong_cron_in_code_is_told_by_the_start_up_checks(monkeypatch):
    wrong = replace(declared_task, cron=Cron(pattern="61 * * * *"))
    monkeypatch.setitem(registry._tasks, wrong.id, wrong)
    [warning] = [found for found in run_checks() if found.id == "triggers.W001"]
    assert wrong.id in warning.msg


# ---- what is kept, and what must hold -----------------------------------------------------------


def test_old_records_are_removed_and_what_waits_is_kept(engine):
    quick = schedules.create("scheduled.plain", every="1d")
    slow = schedules.create(
        "scheduled.slow", every="1d", overlap="BUFFER_ALL", payload={"seconds": 100 * 86_400}
    )
    engine.advance(days=40)
    removed = prune.prune()
    assert removed.others["records of what schedules did"] == 9
    oldest = ScheduleFire.objects.filter(schedule=quick).earliest("at")
    assert engine.now() - oldest.at == 30 * DAY
    assert outcomes_of(slow) == [("FIRED", 1)] + [("BUFFERED", 1)] * 39


def test_the_doctor_finds_nothing_wrong_with_schedules_that_fire(engine):
    schedules.create("scheduled.slow", every="4m", overlap="BUFFER_ALL")
    schedules.create("scheduled.failing", every="4m", pause_on_failure=True)
    schedules.create("scheduled.plain", at=engine.now() + HOUR)
    engine.advance(hours=2)
    assert [f for f in doctor.check() if f.code.startswith(("schedule", "schema"))] == []


def test_the_doctor_finds_what_is_wrong_with_schedules(engine):
    schedule = schedules.create("scheduled.plain", every=60)
    engine.advance(minutes=1)
    ScheduleFire.objects.create(
        schedule=schedule, nominal_at=engine.now() + HOUR, origin="SCHEDULED", outcome="FIRED",
        run="run_gone",
    )  # fmt: skip
    stranger = runs.trigger("scheduled.plain", {})
    ScheduleFire.objects.create(
        schedule=schedule, nominal_at=engine.now() + DAY, origin="SCHEDULED", outcome="FIRED",
        run=stranger.id,
    )  # fmt: skip
    broken = schedules.create("scheduled.plain", cron="0 9 * * *")
    CrontabSchedule.objects.update(hour="99")
    engine.run_until_idle()
    found = {finding.code: finding.examples for finding in doctor.check()}
    assert found["schedule-broken"] == (broken.pk,)
    assert found["schedule-lost-run"] == ("run_gone",)
    assert found["schedule-foreign-run"] == (stranger.id,)
