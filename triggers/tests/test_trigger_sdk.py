"""The plan's phase 6 as written, by the real SDK: a schedule runs the workflow of a trigger."""

from __future__ import annotations

from pathlib import Path

from django_celery_beat.models import IntervalSchedule

from executions.models import Run
from executions.tests.conftest import eventually
from executions.tests.management.callers import Caller
from executions.tests.management.node import require_sdk, run_node
from executions.tests.management.sites import running_site
from triggers import triggers
from triggers.models import Schedule
from triggers.tests.senders import stored

SCRIPT = Path(__file__).with_name("sdk_triggers.mjs")


def test_the_handler_of_the_plan_makes_a_schedule_that_runs_the_workflow(database_url):
    require_sdk()
    ada = Caller("ada")
    body = {
        "workflowId": stored("report", owner=ada.user.pk), "name": "daily",
        "triggerType": "manual", "config": {"inputs": {"a": 1}},
    }  # fmt: skip
    trigger_id = ada.post("triggers", body).json()["data"]["id"]
    asked = {
        "workflowId": body["workflowId"], "cronExpression": "0 9 * * *",
        "timezone": "America/New_York",
    }  # fmt: skip
    with running_site(database_url) as site:
        given = {"triggerId": trigger_id, "body": asked}
        found = run_node(SCRIPT, url=site.url, key=ada.key, TRIGGER=given)
        schedule_id = found["kept"][trigger_id]["scheduleId"]
        assert found["sent"] == {"success": True}
        schedule = Schedule.objects.get(pk=schedule_id)
        assert (schedule.expression, schedule.timezone) == ("0 9 * * *", "America/New_York")
        # Nine o'clock may be far off: from now on it is due each second.
        each_second = IntervalSchedule.objects.create(every=1, period="seconds")
        Schedule.objects.filter(pk=schedule_id).update(crontab=None, interval=each_second)
        fired = Run.objects.filter(task="triggered-workflow", source=schedule_id)
        run = eventually(lambda: fired.filter(finished_at__isnull=False).first(), seconds=30)
    assert (run.status, run.output["success"]) == ("COMPLETED", True)
    assert run.output["outputs"]["a"] == 1
    assert run.output["outputs"]["scheduleId"] == schedule_id
    assert triggers.retrieve(trigger_id, workspace=ada.workspace).fired >= 1
