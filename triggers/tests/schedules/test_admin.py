"""Schedules in the admin: who sees what, what is done, and what is not offered."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group
from django.urls import reverse
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    PeriodicTasks,
    SolarSchedule,
)

from executions.models import AuditEntry, Run
from executions.roles import ensure_groups
from executions.tests.admin_pages import HOSTILE, SHOWN, member, text_of
from triggers import permissions, schedules
from triggers.models import Schedule, ScheduleFire
from triggers.tests.schedules import tasks  # noqa: F401

LIST = "/admin/triggers/schedule/"
EVERYBODY = ("viewer", "operator", "admin")
NEW = {
    "task": "scheduled.plain", "cron": "0 9 * * *", "timezone": "Europe/Paris",
    "overlap": "BUFFER_ONE", "catch_up": "2h", "reason": "They want a report.",
}  # fmt: skip


def page_of(schedule):
    """The address of its page."""
    return f"{LIST}{schedule.pk}/change/"


def do(client, name, *rows, **data):
    """Confirms an act; the page that follows."""
    query = urlencode([("id", row.pk) for row in rows])
    return client.post(f"{LIST}act/{name}/?{query}", {"reason": "Because.", **data}, follow=True)


@pytest.fixture
def schedule(transactional_db):
    """One that fires each morning."""
    return schedules.create("scheduled.plain", cron="0 9 * * *", timezone="Europe/Paris")


@pytest.mark.parametrize("role", [None, *EVERYBODY])
def test_who_may_look_at_schedules(schedule, role):
    client = member(role)
    expected = 200 if role else 403
    for url in (LIST, page_of(schedule), "/admin/triggers/schedulefire/"):
        assert client.get(url).status_code == expected
    assert client.get(f"{LIST}add/").status_code == (200 if role == "admin" else 403)


def test_each_group_has_the_permissions_that_this_app_lists(db):
    ensure_groups()
    for name, wanted in permissions.ROLES.items():
        held = Group.objects.get(name=name).permissions.filter(content_type__app_label="triggers")
        assert set(held.values_list("codename", flat=True)) == wanted
    assert permissions.ROLES["viewer"] < permissions.ROLES["operator"] < permissions.ROLES["admin"]


def test_who_may_do_what(schedule):
    allowed = {"pause": {"admin"}, "backfill": {"admin"}, "run": {"operator", "admin"}}
    for role in EVERYBODY:
        client = member(role)
        page = text_of(client.get(page_of(schedule)))
        for name, may in allowed.items():
            assert (f"/act/{name}/" in page) == (role in may)
            answer = client.get(f"{LIST}act/{name}/?id={schedule.pk}")
            assert answer.status_code == (200 if role in may else 403), (role, name)


def test_a_page_says_when_it_fires_and_what_became_of_it(engine):
    schedule = schedules.create(
        "scheduled.slow", every="4m", external_id=HOSTILE, payload={"of": HOSTILE}
    )
    engine.advance(minutes=21)
    text = text_of(member("viewer").get(page_of(schedule)))
    assert "every 4 minutes" in text
    assert "FIRED" in text
    assert "A run of this schedule was still open." in text
    assert Run.objects.earliest("id").id in text
    assert HOSTILE not in text
    assert SHOWN in text
    listed = text_of(member("operator").get(LIST))
    assert HOSTILE not in listed
    fires = text_of(member("admin").get(f"/admin/triggers/schedulefire/?schedule={schedule.pk}"))
    assert fires.count("SKIPPED") >= 2


def test_a_schedule_is_paused_and_goes_on_with_a_reason(schedule):
    client = member("admin")
    assert "Paused" in text_of(do(client, "pause", schedule))
    schedule.refresh_from_db()
    assert (schedule.is_active, schedule.pause_note) == (False, "Because.")
    assert "paused" in text_of(client.get(LIST))
    do(client, "unpause", schedule)
    schedule.refresh_from_db()
    assert schedule.is_active
    entries = AuditEntry.objects.order_by("number")
    assert [(entry.action, entry.reason, entry.actor) for entry in entries] == [
        ("schedule.pause", "Because.", "ms-admin"), ("schedule.unpause", "Because.", "ms-admin"),
    ]  # fmt: skip


def test_what_broke_a_schedule_is_shown_and_must_be_put_right(engine, schedule):
    CrontabSchedule.objects.filter(pk=schedule.crontab_id).update(hour="99")
    engine.run_until_idle()
    client = member("admin")
    text = text_of(client.get(page_of(schedule)))
    assert "broken" in text
    assert "lies between 0 and 23" in text
    query = urlencode({"id": schedule.pk})
    answer = client.post(f"{LIST}act/unpause/?{query}", {"reason": "Again."})
    assert answer.status_code == 400
    schedule.refresh_from_db()
    assert not schedule.is_active


def test_a_schedule_runs_now_and_fills_what_is_past(schedule):
    client = member("admin")
    answer = do(client, "run", schedule, overlap="ALLOW_ALL")
    run = Run.objects.get(source=schedule.pk)
    assert quote(run.id) in answer.redirect_chain[-1][0]
    now = ScheduleFire.objects.get().at
    wrong = {"start": "2026-13-01", "end": "", "overlap": "ALLOW_ALL"}
    assert "Enter a valid date/time." in text_of(do(client, "backfill", schedule, **wrong))
    given = {
        "start": f"{now - timedelta(days=3):%Y-%m-%d %H:%M}", "end": f"{now:%Y-%m-%d %H:%M}",
        "overlap": "ALLOW_ALL",
    }  # fmt: skip
    do(client, "backfill", schedule, **given)
    assert ScheduleFire.objects.filter(origin="BACKFILL", outcome="FIRED").count() == 3


def test_a_schedule_is_created_by_the_service(transactional_db):
    client = member("admin")
    made = client.post(f"{LIST}add/", {**NEW, "payload": '{"n": 1}'}, follow=True)
    [schedule] = Schedule.objects.all()
    assert quote(schedule.pk) in made.redirect_chain[-1][0]
    assert (schedule.expression, schedule.timezone) == ("0 9 * * *", "Europe/Paris")
    assert (schedule.overlap, schedule.catch_up_seconds, schedule.payload) == (
        "BUFFER_ONE", 7200, {"n": 1},
    )  # fmt: skip
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.reason) == ("schedule.create", "They want a report.")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"cron": "0 0 30 2 *"}, "never fires"),
        ({"cron": ""}, "one of cron, every, at and solar"),
        ({"every": "5m"}, "one of cron, every, at and solar"),
        ({"timezone": "Nowhere"}, "no time zone"),
        ({"payload": "[1]"}, "payload is an object"),
        ({"payload": "{"}, "This is not JSON"),
        ({"window": "5"}, "whole minutes or hours"),
        ({"spec": "crontab:0"}, "Select a valid choice"),
        ({"task": "nobody"}, "Select a valid choice"),
        ({"reason": ""}, "This field is required"),
    ],
)
def test_a_wrong_schedule_is_told_beside_its_field(transactional_db, change, told):
    answer = member("admin").post(f"{LIST}add/", {**NEW, **change})
    assert told in answer.content.decode()
    assert Schedule.objects.count() == 0


# ---- django-celery-beat's tables ----------------------------------------------------------------

SPECS = (CrontabSchedule, IntervalSchedule, ClockedSchedule, SolarSchedule)
FORMS = {
    "crontabschedule": {
        "minute": "0", "hour": "*/2", "day_of_month": "*", "month_of_year": "*",
        "day_of_week": "1-5", "timezone": "Asia/Tokyo",
    },
    "intervalschedule": {"every": "5", "period": "minutes"},
    "clockedschedule": {"clocked_time_0": "2099-01-01", "clocked_time_1": "09:00"},
    "solarschedule": {"event": "sunrise", "latitude": "48.85", "longitude": "2.35"},
}  # fmt: skip


def test_what_would_never_fire_is_not_offered(transactional_db):
    assert not admin.site.is_registered(PeriodicTask)
    assert not admin.site.is_registered(PeriodicTasks)
    assert all(admin.site.is_registered(model) for model in SPECS)
    assert member("admin").get("/admin/django_celery_beat/periodictask/").status_code == 404


@pytest.mark.parametrize("model", FORMS)
def test_a_saved_spec_is_made_looked_at_and_used(transactional_db, model):
    client = member("admin")
    base = f"/admin/django_celery_beat/{model}/"
    assert client.post(f"{base}add/", FORMS[model]).status_code == 302
    kind = model.removesuffix("schedule")
    [row] = next(m for m in SPECS if m._meta.model_name == model).objects.all()
    assert AuditEntry.objects.get().action == f"{kind}.create"
    client.post(
        f"{LIST}add/", {**NEW, "cron": "", "timezone": "", "spec": f"{kind}:{row.pk}"}, follow=True
    )
    schedule = Schedule.objects.get()
    assert getattr(schedule, f"{kind}_id") == row.pk
    page = reverse(f"admin:django_celery_beat_{model}_change", args=[row.pk])
    assert client.post(page, FORMS[model]).status_code == 403
    viewer = member("viewer")
    assert viewer.get(base).status_code == viewer.get(page).status_code == 200
    assert viewer.get(f"{base}add/").status_code == 403
    assert member(None).get(base).status_code == 403


def test_a_spec_that_never_fires_or_too_often_is_refused(transactional_db):
    client = member("admin")
    never = {**FORMS["crontabschedule"], "day_of_month": "30", "month_of_year": "2",
             "day_of_week": "*"}  # fmt: skip
    answer = client.post("/admin/django_celery_beat/crontabschedule/add/", never)
    assert "never fires" in answer.content.decode()
    often = {"every": "5", "period": "microseconds"}
    answer = client.post("/admin/django_celery_beat/intervalschedule/add/", often)
    assert "at least a second" in answer.content.decode()
    assert not CrontabSchedule.objects.exists()
    assert not IntervalSchedule.objects.exists()


def test_crontabs_that_beat_cannot_describe_are_listed(transactional_db):
    schedules.create("scheduled.plain", cron="0 0 L * 5L")
    assert "0 0 L * 5L" in text_of(
        member("viewer").get("/admin/django_celery_beat/crontabschedule/")
    )
