"""Triggers for times: their schedules, and what happens when the time comes."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from executions import runs
from executions.models import AuditEntry, Run
from executions.tests.flows import flow
from triggers import schedules, triggers
from triggers.models import Schedule
from triggers.tests.senders import someone, stored

HOURLY = {"cronExpression": "0 * * * *", "timezone": "Europe/Oslo", "inputs": {"a": 1}}
FAILS = flow({"wrong": ("code", {"language": "python", "code": "return 1 / 0"}, {"retry": 1})})
SLOW = flow({"wait": ("wait", {"waitType": "duration", "duration": 5_400_000})})


def make(config=HOURLY, definition=None, **more):
    workflow = stored("timed", **({} if definition is None else {"definition": definition}))
    return triggers.create(
        workflow=workflow, name="hourly", type="schedule", config=config, **more
    ).trigger


def of(task, **more):
    return list(Run.objects.filter(task=task, **more).order_by("id"))


# ---- the schedule -------------------------------------------------------------------------------


def test_a_trigger_for_times_has_a_schedule(db):
    row = make()
    schedule = schedules.retrieve(row.schedule_id)
    assert (schedule.task, schedule.external_id, schedule.deduplication_key) == (
        "scheduled-trigger", row.id, row.id,
    )  # fmt: skip
    assert (schedule.expression, schedule.timezone) == ("0 * * * *", "Europe/Oslo")
    assert (schedule.overlap, schedule.catch_up_seconds) == ("BUFFER_ONE", 60)
    assert schedule.is_active


def test_the_schedule_changes_and_pauses_with_the_trigger_and_goes_with_it(db):
    row = make()

    def schedule():
        return schedules.retrieve(row.schedule_id)

    triggers.update(row.id, config={"cronExpression": "30 9 * * 1", "timezone": "UTC"})
    assert (schedule().expression, schedule().timezone) == ("30 9 * * 1", "UTC")
    triggers.disable(row.id)
    assert not schedule().is_active
    triggers.enable(row.id)
    assert schedule().is_active
    triggers.update(row.id, config={"cronExpression": "30 9 * * 1", "enabled": False})
    assert not schedule().is_active
    triggers.enable(row.id)
    assert not schedule().is_active, "Its config says that it is paused."
    triggers.update(row.id, config={"cronExpression": "30 9 * * 1"})
    assert schedule().is_active
    triggers.delete(row.id)
    assert not Schedule.objects.exists()


def test_a_schedule_that_somebody_deleted_comes_back_with_the_next_change(db):
    row = make()
    schedules.delete(row.schedule_id)
    assert triggers.retrieve(row.id, workspace=None).schedule_id is not None
    triggers.update(row.id, name="again")
    now = triggers.retrieve(row.id, workspace=None)
    schedule = schedules.retrieve(str(now.schedule_id))
    assert schedule.external_id == row.id
    schedules.delete(schedule.id)
    triggers.delete(row.id)


# ---- when the time comes ------------------------------------------------------------------------


def test_at_its_time_the_workflow_runs_with_the_inputs_and_the_time(engine):
    row = make()
    begun = engine.now()
    engine.advance(hours=2)
    fired = of("scheduled-trigger")
    assert [run.status for run in fired] == ["COMPLETED", "COMPLETED"]
    assert {run.source for run in fired} == {row.schedule_id}
    triggered = of("triggered-workflow")
    assert {run.source for run in triggered} == {row.id}
    assert fired[0].output["executionId"] == triggered[0].id
    outputs = fired[0].output["outputs"]
    nominal = begun.replace(minute=0, second=0) + timedelta(hours=1)
    assert datetime.fromisoformat(outputs["timestamp"]) == nominal
    assert (outputs["a"], outputs["timezone"]) == (1, "Europe/Oslo")
    now = triggers.retrieve(row.id, workspace=None)
    assert now.fired == 2
    assert not AuditEntry.objects.exists()


def test_a_trigger_that_is_off_ends_without_a_failure(engine):
    row = make()
    schedule = schedules.create(
        "scheduled-trigger", cron="0 * * * *", external_id=f"trigger-{row.id}"
    )
    triggers.disable(row.id)
    schedules.run_now(schedule.id)
    schedules.run_now(row.schedule_id)
    engine.run_until_idle()
    triggers.delete(row.id)
    schedules.run_now(schedule.id)
    stranger = schedules.create("scheduled-trigger", cron="0 * * * *")
    schedules.run_now(stranger.id)
    engine.run_until_idle()
    told = [(run.status, run.output["skipped"]) for run in of("scheduled-trigger")]
    off = f"Trigger {row.id} is disabled."
    assert told == [
        ("COMPLETED", off),
        ("COMPLETED", off),
        ("COMPLETED", f"Trigger {row.id} was deleted."),
        ("COMPLETED", f"There is no trigger for the schedule '{stranger.id}' in this workspace."),
    ]
    assert of("triggered-workflow") == []


@pytest.mark.parametrize("task", ["triggered-workflow", "scheduled-trigger"])
@pytest.mark.parametrize("prefix", ["trigger-", ""])
def test_a_schedule_may_start_either_task_and_name_the_trigger_by_its_external_id(
    engine, task, prefix
):
    # As the sample of the migration plan's phase 6 makes it.
    row = make({"cronExpression": "0 0 1 1 *"})
    schedules.create(
        task, cron="*/10 * * * *", timezone="Europe/Oslo", external_id=f"{prefix}{row.id}",
        deduplication_key=row.id,
    )  # fmt: skip
    assert Schedule.objects.count() == 1
    engine.advance(minutes=10)
    (fired,) = of(task, source=row.schedule_id)
    assert (fired.status, fired.output["success"]) == ("COMPLETED", True)
    assert fired.output["outputs"]["scheduleId"] == row.schedule_id
    assert triggers.retrieve(row.id, workspace=None).fired == 1
    assert runs.retrieve(fired.id).data.metadata["triggerId"] == row.id


def test_a_schedule_of_another_workspace_starts_nothing(engine):
    ada, bob = someone("ada"), someone("bob")
    row = triggers.create(
        workflow=stored("hers", owner=ada.pk), name="t", type="manual", owner=ada.pk
    ).trigger
    for task in ("scheduled-trigger", "triggered-workflow"):
        found = schedules.create(
            task, cron="0 * * * *", external_id=f"trigger-{row.id}", owner=bob.pk
        )
        schedules.run_now(found.id)
    engine.run_until_idle()
    fired = [*of("scheduled-trigger"), *of("triggered-workflow")]
    assert [run.status for run in fired] == ["COMPLETED", "COMPLETED"]
    assert all("skipped" in run.output for run in fired)


def test_a_workflow_that_fails_fails_the_run_of_its_schedule(engine):
    make(definition=FAILS)
    engine.advance(hours=1)
    (fired,) = of("scheduled-trigger")
    assert fired.status == "FAILED"
    assert fired.output is None or fired.output["success"] is False
    (triggered,) = of("triggered-workflow")
    assert fired.error["message"] == triggered.error["message"]


def test_one_run_waits_for_the_one_under_way_and_further_ones_are_dropped(engine):
    begun = engine.now().replace(minute=0, second=0) + timedelta(hours=1)
    engine.advance(until=begun)
    row = make({"cronExpression": "0 * * * *"}, definition=SLOW)
    engine.advance(hours=3, minutes=30)
    open_ones = [run for run in of("scheduled-trigger") if not run.is_final]
    # The first from the first hour for 90 minutes, the second, which waited, from then on.
    assert len(open_ones) == 1
    assert triggers.retrieve(row.id, workspace=None).fired == 2


def test_the_lookup_is_counted_once_although_the_worker_dies(engine):
    row = make()
    engine.crash(after="look up")
    engine.advance(hours=1)
    (fired,) = of("scheduled-trigger")
    assert fired.status == "COMPLETED"
    assert triggers.retrieve(row.id, workspace=None).fired == 1
