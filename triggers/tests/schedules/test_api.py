"""Schedules over HTTP: by the unmodified SDK of Trigger.dev, and by hand."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.db import connections
from django.test import Client
from django_celery_beat.models import IntervalSchedule

from executions.models import AuditEntry
from executions.tests.conftest import eventually
from executions.tests.management.callers import Caller
from executions.tests.management.node import require_sdk, run_node
from executions.tests.management.sites import running_site
from triggers import schedules
from triggers.models import Schedule
from triggers.schedules import declarations
from triggers.tests.schedules import tasks

TASK = "scheduled.plain"
EVERY_DAY = {"task": TASK, "cron": "0 9 * * *", "deduplicationKey": "daily"}


@pytest.fixture
def ada(transactional_db):
    """Somebody with a key that may do all in their workspace."""
    return Caller("ada")


@pytest.fixture
def bo(transactional_db):
    """Somebody else."""
    return Caller("bo")


def delete(caller, path):
    """DELETE /api/…"""
    return caller._client.delete(f"/api/{path}")


def test_the_sdk_of_trigger_dev_makes_changes_and_removes_schedules(database_url):
    require_sdk()
    staff, bo = Caller("boss", is_staff=True), Caller("bo")
    foreign = bo.post("v1/schedules", EVERY_DAY).json()["id"]
    with running_site(database_url, tasks=tasks.__name__) as site:
        declared = Schedule.objects.get(is_declarative=True, task="scheduled.declared").pk
        ada = Caller("ada")
        given = {"task": TASK, "foreign": foreign, "declared": declared}
        script = Path(__file__).with_name("sdk.mjs")
        with ThreadPoolExecutor(1) as pool:
            hastened = pool.submit(make_due_soon, "frequent")
            found = run_node(script, url=site.url, key=ada.key, seconds=90, SCHEDULE=given)
            hastened.result()

    created = found["created"]
    assert created["type"] == "IMPERATIVE"
    assert created["active"]
    assert (created["task"], created["externalId"], created["window"]) == (TASK, "user_7", "30m")
    assert created["deduplicationKey"] == "user_7-report"
    assert created["timezone"] == "America/New_York"
    assert created["generator"]["expression"] == "0 9 * * 1-5"
    assert "09:00 AM" in created["generator"]["description"]
    late = datetime.fromisoformat(created["nextRunEffectiveAt"]) - datetime.fromisoformat(
        created["nextRun"]
    )
    assert timedelta(0) <= late < timedelta(minutes=30)
    assert found["again"] == {"same": True, "expression": "30 8 * * *"}
    assert found["retrieved"]
    assert found["page"] == {
        "count": 2, "pagination": {"currentPage": 2, "totalPages": 2, "count": 6},
    }  # fmt: skip
    assert found["listed"] == [*(f"many-{n}" for n in (4, 3, 2, 1, 0)), "user_7-report"]
    assert found["updated"].pop("description")
    assert found["updated"] == {
        "expression": "0 0 L * *", "timezone": "UTC", "externalId": None, "window": None,
    }  # fmt: skip
    assert found["off"] == {"active": False, "nextRun": None}
    assert found["on"] == {"active": True, "nextRun": True}
    assert found["timezones"] == {"first": "UTC", "many": True, "paris": True}
    assert found["withoutUtc"] is False

    payload = found["fired"]["payload"]
    assert found["fired"]["status"] == "COMPLETED"
    assert (payload["type"], payload["externalId"]) == ("IMPERATIVE", "x")
    assert len(payload["upcoming"]) == 5
    assert 0 <= found["fired"]["late"] < 1000
    assert found["deleted"]
    refused = found["refused"] | {"gone": found["gone"]}
    assert {name: error["status"] for name, error in refused.items()} == {
        "gone": 404, "foreign": 404, "foreignDelete": 404, "declared": 404, "cron": 400,
        "seconds": 400, "zone": 400, "task": 404, "window": 400,
    }  # fmt: skip
    assert "never fires" in refused["cron"]["message"]
    assert all(error["seconds"] < 2 for error in refused.values())
    assert delete(staff, f"v1/schedules/{declared}").status_code == 409
    assert schedules.retrieve(foreign).is_active


def make_due_soon(key):
    """Changes the times of a schedule in the database, once it is there."""
    try:
        interval = IntervalSchedule.objects.create(every=1, period="seconds")
        found = Schedule.objects.filter(deduplication_key=key)
        eventually(lambda: found.update(crontab=None, interval=interval), seconds=60)
    finally:
        connections.close_all()


# ---- by hand ------------------------------------------------------------------------------------


def test_a_schedule_belongs_to_the_workspace_of_its_key(ada, bo):
    made = ada.post("v1/schedules", EVERY_DAY).json()
    schedule = schedules.retrieve(made["id"])
    assert (schedule.owner_id, schedule.workspace_id) == (ada.user.pk, ada.workspace)
    assert made["environments"] == [{"id": ada.workspace, "type": "PRODUCTION"}]
    path = f"v1/schedules/{made['id']}"
    assert bo.get(path).status_code == 404
    assert bo.put(path, EVERY_DAY).status_code == 404
    assert bo.post(f"{path}/deactivate").status_code == 404
    assert delete(bo, path).status_code == 404
    assert bo.get("v1/schedules").json()["data"] == []
    # Keys of others are others.
    assert bo.post("v1/schedules", EVERY_DAY).json()["id"] != made["id"]
    assert ada.post("v1/schedules", EVERY_DAY).json()["id"] == made["id"]
    assert [row["id"] for row in ada.get("v1/schedules").json()["data"]] == [made["id"]]


def test_looking_and_changing_are_two_scopes(transactional_db, ada):
    schedule_id = ada.post("v1/schedules", EVERY_DAY).json()["id"]
    path = f"v1/schedules/{schedule_id}"
    _, key = ada.row.issue(ada.user, name="reader", scopes=["read", "trigger"])
    reader = Client(headers={"Authorization": f"Bearer {key}"})
    assert reader.get(f"/api/{path}").status_code == 200
    for method, where in (
        ("post", "v1/schedules"), ("put", path), ("delete", path), ("post", f"{path}/activate"),
        ("post", f"{path}/deactivate"),
    ):  # fmt: skip
        answer = getattr(reader, method)(
            f"/api/{where}", EVERY_DAY, content_type="application/json"
        )
        assert answer.status_code == 403, (method, where)
        assert "admin" in answer.json()["error"]
    assert ada.token(f"read:schedules:{schedule_id}").get(path).status_code == 403
    assert Client().get(f"/api/{path}").status_code == 401
    assert Client().get("/api/v1/timezones").status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "deduplicationKey"),
        ({**EVERY_DAY, "task": None}, "task"),
        ({**EVERY_DAY, "cron": None}, "cron"),
        ({**EVERY_DAY, "cron": 5}, "cron"),
        ({**EVERY_DAY, "cron": "x"}, "cron"),
        ({**EVERY_DAY, "timezone": "Nowhere"}, "timezone"),
        ({**EVERY_DAY, "externalId": ""}, "externalId"),
        ({**EVERY_DAY, "externalId": "a\0b"}, "externalId"),
        ({**EVERY_DAY, "window": ""}, "window"),
        ({**EVERY_DAY, "window": "5s"}, "window"),
        ({**EVERY_DAY, "deduplicationKey": ""}, "deduplicationKey"),
        ({**EVERY_DAY, "every": 5}, "every"),
        ([1], None),
    ],
)
def test_what_is_wrong_is_named(ada, body, field):
    answer = ada.post("v1/schedules", json.dumps(body))
    assert answer.status_code == 400, answer.content
    error = answer.json()
    assert error["success"] is False
    assert field is None or field in json.dumps(error)
    assert Schedule.objects.count() == 0


@pytest.mark.parametrize(
    "query", [{"page": "0"}, {"perPage": "101"}, {"page": "x"}, {"page": "-1"}]
)
def test_pages_are_numbers_in_bounds(ada, query):
    assert ada.get("v1/schedules", **query).status_code == 400


def test_changes_by_key_are_in_the_audit_log(ada):
    schedule_id = ada.post("v1/schedules", EVERY_DAY).json()["id"]
    path = f"v1/schedules/{schedule_id}"
    ada.put(path, {"task": TASK, "cron": "0 10 * * *"})
    ada.post(f"{path}/deactivate")
    ada.post(f"{path}/activate")
    delete(ada, path)
    entries = AuditEntry.objects.filter(subject=schedule_id).order_by("number")
    assert [entry.action for entry in entries] == [
        f"schedule.{act}" for act in ("create", "update", "pause", "unpause", "delete")
    ]
    assert {entry.user_id for entry in entries} == {ada.user.pk}
    assert entries[1].before["expression"] == "0 9 * * *"
    assert entries[1].after["expression"] == "0 10 * * *"


def test_staff_see_declared_schedules_and_pause_them_only(transactional_db):
    staff = Caller("boss", is_staff=True)
    declarations.sync()
    [row] = [
        row
        for row in staff.get("v1/schedules").json()["data"]
        if row["task"] == "scheduled.declared"
    ]
    assert (row["type"], row["timezone"]) == ("DECLARATIVE", "Europe/Paris")
    path = f"v1/schedules/{row['id']}"
    answer = staff.put(path, {"task": TASK, "cron": "* * * * *"})
    assert answer.status_code == 409
    assert answer["x-should-retry"] == "false"
    assert delete(staff, path).status_code == 409
    assert staff.post(f"{path}/deactivate").json()["active"] is False
    declarations.sync()
    assert staff.get(path).json()["active"] is False


def test_a_run_tells_which_schedule_started_it(ada):
    given = {**EVERY_DAY, "externalId": "user_7"}
    schedule = ada.post("v1/schedules", given).json()
    run_id = schedules.run_now(schedule["id"]).run
    found = ada.get(f"v3/runs/{run_id}").json()
    assert found["schedule"] == {
        "id": schedule["id"], "externalId": "user_7", "deduplicationKey": "daily",
        "generator": schedule["generator"],
    }  # fmt: skip
    listed = ada.get("v1/runs", **{"filter[schedule]": schedule["id"]}).json()["data"]
    assert [run["id"] for run in listed] == [run_id]
