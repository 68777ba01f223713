"""The data directory: one user at a time, credentials made once."""

from __future__ import annotations

import json
import os

import pytest
from django.contrib.auth import authenticate, get_user_model

from flowmaestro import datadir
from flowmaestro.models import ApiKey

URL = "http://127.0.0.1:8000"


def test_a_part_in_use_is_refused_until_it_is_released(tmp_path):
    first = datadir.PartLocks(tmp_path, ["database", "web"])
    with pytest.raises(datadir.InUse, match=rf"its web, process {os.getpid()}"):
        datadir.PartLocks(tmp_path, ["worker", "web"])
    other = datadir.PartLocks(tmp_path, ["worker"])
    other.release()
    first.release()
    datadir.PartLocks(tmp_path, ["database", "web", "worker"]).release()


@pytest.mark.django_db
def test_the_first_run_makes_a_login_and_a_key_that_work(tmp_path):
    found = datadir.first_run(tmp_path, URL)
    assert found is not None
    user = authenticate(username=found["admin_username"], password=found["admin_password"])
    assert user is not None and user.is_superuser
    key = ApiKey.find(found["api_key"])
    assert key is not None and key.user == user
    file = tmp_path / "credentials.json"
    assert json.loads(file.read_text()) == found
    assert list(found) == ["url", "admin_username", "admin_password", "api_key"]
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.django_db
def test_later_runs_keep_them_with_the_present_address(tmp_path):
    first = datadir.first_run(tmp_path, URL)
    later = datadir.first_run(tmp_path, "http://127.0.0.1:9000")
    assert first is not None
    assert later == {**first, "url": "http://127.0.0.1:9000"}
    assert json.loads((tmp_path / "credentials.json").read_text()) == later
    assert (get_user_model().objects.count(), ApiKey.objects.count()) == (1, 1)


@pytest.mark.django_db
def test_a_second_host_makes_nothing(tmp_path):
    datadir.first_run(tmp_path / "one", URL)
    assert datadir.first_run(tmp_path / "two", URL) is None
    assert not (tmp_path / "two" / "credentials.json").exists()
    assert get_user_model().objects.count() == 1


@pytest.mark.django_db
def test_an_empty_database_gets_the_login_and_the_key_of_the_file(tmp_path):
    first = datadir.first_run(tmp_path, URL)
    assert first is not None
    get_user_model().objects.all().delete()
    again = datadir.first_run(tmp_path, URL)
    assert again is not None
    assert again["admin_password"] == first["admin_password"]
    assert authenticate(username="admin", password=first["admin_password"]) is not None
    assert ApiKey.find(again["api_key"]) is not None
