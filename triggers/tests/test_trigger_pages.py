"""Triggers and deliveries in the admin: who looks, who switches, and that no secret is shown."""

from __future__ import annotations

import pytest
from django.urls import reverse

from executions.models import AuditEntry
from executions.tests.admin_pages import HOSTILE, SHOWN, member, text_of
from triggers import triggers
from triggers.models import Delivery
from triggers.tests.senders import event_trigger, send, webhook

pytestmark = pytest.mark.django_db

LISTS = {name: f"/admin/triggers/{name}/" for name in ("trigger", "delivery")}


def page_of(row):
    name = row._meta.model_name
    return reverse(f"admin:triggers_{name}_change", args=[row.pk.replace("_", "_5F")])


def act(name, *rows):
    ids = "&".join(f"id={row.pk}" for row in rows)
    return f"/admin/triggers/trigger/act/{name}/?{ids}"


@pytest.mark.parametrize("role", [None, "viewer", "operator", "admin"])
def test_who_looks_and_who_switches(role):
    trigger = event_trigger()
    client = member(role)
    seen = 403 if role is None else 200
    assert {client.get(url).status_code for url in LISTS.values()} == {seen}
    assert client.get(page_of(trigger)).status_code == seen
    switched = client.post(act("disable", trigger), {"reason": "Too loud."})
    assert switched.status_code == (302 if role == "admin" else 403)
    assert triggers.retrieve(trigger.id, workspace=None).enabled is (role != "admin")


def test_triggers_are_switched_with_a_reason_that_is_written_down():
    rows = [event_trigger(), event_trigger()]
    client = member("admin")
    assert client.post(act("disable", *rows), {"reason": ""}).status_code == 200
    client.post(act("disable", *rows), {"reason": "Too loud."})
    client.post(act("enable", rows[0]), {"reason": "Quiet again."})
    assert [triggers.retrieve(row.id, workspace=None).enabled for row in rows] == [True, False]
    entries = AuditEntry.objects.order_by("number").values_list("action", "reason")
    assert list(entries) == [
        ("trigger.disable", "Too loud."), ("trigger.disable", "Too loud."),
        ("trigger.enable", "Quiet again."),
    ]  # fmt: skip
    page = text_of(client.get(page_of(rows[0])))
    assert act("disable", rows[0]) in page
    assert act("enable", rows[0]) not in page


def test_pages_show_what_came_and_no_secret():
    trigger, secret = webhook(authType="bearer", secret="canary-4711-of-the-page")
    triggers.update(trigger.id, name=HOSTILE)
    send(trigger, {"note": HOSTILE}, {"Authorization": f"Bearer {secret}"}, query=f"?q={HOSTILE}")
    client = member("admin")
    delivery = Delivery.objects.get()
    pages = [
        text_of(client.get(url)) for url in (*LISTS.values(), page_of(trigger), page_of(delivery))
    ]
    assert all("<script>alert(1)" not in page for page in pages)
    assert SHOWN in pages[0]
    assert all("canary" not in page for page in pages)
    assert bytes(trigger.sealed).hex() not in "".join(pages)
    assert delivery.run in pages[3]
    assert "/webhooks/" in pages[2]


def test_deliveries_are_found_by_their_trigger():
    first, second = webhook()[0], webhook()[0]
    for trigger in (first, second):
        send(trigger)
    client = member("viewer")
    found = text_of(client.get(LISTS["delivery"], {"trigger": first.id}))
    own, other = (Delivery.objects.get(trigger=row).id for row in (first, second))
    assert own in found
    assert other not in found


def test_a_list_of_triggers_takes_the_same_few_queries_however_long(django_assert_max_num_queries):
    client = member("viewer")
    event_trigger()
    client.get(LISTS["trigger"])
    for _ in range(5):
        event_trigger()
    with django_assert_max_num_queries(12):
        text_of(client.get(LISTS["trigger"]))
