"""What the admin shows of API keys, and what it hides."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django_q.models import Failure, Schedule, Success

from flowmaestro.models import ApiKey

KEYS = "/admin/flowmaestro/apikey/"


@pytest.fixture
def key(admin_user):
    """One key of the administrator."""
    row, _ = ApiKey.issue(admin_user, name="ci", scopes=["*"])
    return row


def test_keys_are_listed_without_their_hash(admin_client, key):
    listed = admin_client.get(KEYS)
    assert listed.status_code == 200
    assert key.prefix in listed.text
    shown = admin_client.get(f"{KEYS}{key.pk}/change/")
    assert shown.status_code == 200
    assert key.key_hash not in listed.text + shown.text


def test_a_key_can_be_revoked_and_nothing_else(admin_client, key):
    assert admin_client.get(f"{KEYS}add/").status_code == 403
    assert admin_client.post(f"{KEYS}{key.pk}/delete/", {"post": "yes"}).status_code == 403
    admin_client.post(f"{KEYS}act/revoke/?id={key.pk}", {"reason": "Leaked."})
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_staff_without_the_permission_cannot_revoke(client, key):
    staff = get_user_model().objects.create_user("staff", is_staff=True)
    client.force_login(staff)
    client.post(f"{KEYS}act/revoke/?id={key.pk}", {"reason": "Leaked."})
    key.refresh_from_db()
    assert key.revoked_at is None


@pytest.mark.parametrize("model", [Failure, Schedule, Success])
def test_the_tables_of_django_q2_are_not_shown(model):
    assert not admin.site.is_registered(model)


def test_the_login_page_and_its_static_files_are_served(client):
    page = client.get("/admin/login/")
    assert page.status_code == 200
    style = client.get("/static/admin/css/base.css")
    assert style.status_code == 200
    assert b"".join(style.streaming_content)
