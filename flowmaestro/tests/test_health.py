"""GET /healthz."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from executions.models import Worker


def seen(seconds_ago: float, **values: object) -> Worker:
    """A worker with a heartbeat that many seconds ago."""
    at = timezone.now() - timedelta(seconds=seconds_ago)
    return Worker.objects.create(
        id=f"worker_{Worker.objects.count()}",
        host="h",
        pid=1,
        process_started=1,
        seen_at=at,
        **values,
    )


@pytest.mark.django_db
def test_a_worker_seen_within_its_lease_makes_it_healthy(client):
    seen(1)
    answer = client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert answer.json()["workers"] == 1


@pytest.mark.django_db
def test_no_worker_at_all_is_unavailable(client):
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "unavailable",
        "reason": "No worker was seen in the last 30 seconds.",
    }


@pytest.mark.django_db
def test_workers_that_are_stale_or_dead_do_not_count(client):
    seen(31)
    seen(1, dead_at=timezone.now())
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert "; the last one at " in answer.json()["reason"]


def test_a_silent_database_is_unavailable_without_its_address(client, monkeypatch):
    def refuse(*args, **kwargs):
        raise OperationalError("connection to db.internal failed for user secret")

    monkeypatch.setattr(Worker.objects, "aggregate", refuse)
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["reason"] == "The database does not answer (OperationalError)."


def test_only_reading_is_allowed(client):
    assert client.post("/healthz").status_code == 405
