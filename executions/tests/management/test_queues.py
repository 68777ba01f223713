"""Queues over HTTP: look, pause, limit; and that they belong to everybody."""

from __future__ import annotations

import pytest

from executions import queues
from executions.models import AuditEntry, Queue


def test_a_queue_says_how_it_stands_for_the_caller(ada, bo):
    ada.trigger("managed.echo", 1)
    bo.trigger("managed.echo", 1)
    queues.set_limit("managed", 5)
    assert ada.get("v1/queues/managed", type="custom").json() == {
        "id": "managed",
        "name": "managed",
        "type": "custom",
        "running": 0,
        # What others have in it is theirs to know.
        "queued": 1,
        "paused": False,
        "concurrencyLimit": 5,
        "version": "V1",
        "concurrency": {
            "current": 5,
            "base": None,
            "override": 5,
            "overriddenAt": None,
            "overriddenBy": None,
        },
    }


def test_a_queue_is_found_by_name_by_task_and_escaped(ada):
    for path, kind in (
        ("managed", "id"),
        ("managed", None),
        ("managed.echo", "task"),
        ("task%2Fmanaged.echo", "custom"),
        ("task%252Fmanaged.echo", "id"),
    ):
        query = {} if kind is None else {"type": kind}
        assert ada.get(f"v1/queues/{path}", **query).json()["name"] == "managed", path
    own = ada.get("v1/queues/managed.fail", type="task").json()
    assert (own["name"], own["type"]) == ("managed.fail", "task")
    ada.trigger("managed.echo", 1, queue={"name": "of a run only"})
    assert ada.get("v1/queues/of%20a%20run%20only").json()["queued"] == 1
    assert ada.get("v1/queues/nowhere").status_code == 404
    assert ada.get("v1/queues/managed", type="odd").status_code == 400


def test_queues_are_listed_page_by_page(ada):
    first = ada.get("v1/queues", perPage=2).json()
    count = first["pagination"]["count"]
    assert first["pagination"] == {
        "currentPage": 1, "totalPages": -(-count // 2), "count": count,
    }  # fmt: skip
    names = []
    for number in range(1, first["pagination"]["totalPages"] + 1):
        names += [
            item["name"] for item in ada.get("v1/queues", perPage=2, page=number).json()["data"]
        ]
    assert names == sorted(names)
    assert {"managed", "managed.fail"} <= set(names)
    assert len(names) == len(set(names)) == count
    assert ada.get("v1/queues", page=9999).json()["data"] == []
    for wrong in ({"page": 0}, {"perPage": 101}, {"page": "x"}):
        assert ada.get("v1/queues", **wrong).status_code == 400


def test_staff_pauses_resumes_and_limits(staff):
    for _ in range(2):
        paused = staff.post("v1/queues/managed/pause", {"type": "custom", "action": "pause"})
        assert (paused.status_code, paused.json()["paused"]) == (200, True)
    assert AuditEntry.objects.filter(action="queue.pause").count() == 1
    resumed = staff.post("v1/queues/managed/pause", {"action": "resume"})
    assert resumed.json()["paused"] is False
    limited = staff.post("v1/queues/managed/concurrency/override", {"concurrencyLimit": 2})
    assert limited.json()["concurrencyLimit"] == 2
    reset = staff.post("v1/queues/managed/concurrency/reset", {"type": "custom"})
    assert reset.json()["concurrencyLimit"] is None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("pause", {}),
        ("pause", {"action": "explode"}),
        ("pause", {"action": "pause", "more": 1}),
        ("concurrency/override", {}),
        ("concurrency/override", {"concurrencyLimit": 0}),
        ("concurrency/override", {"concurrencyLimit": "2"}),
        ("concurrency/override", {"concurrencyLimit": 1.5}),
        ("concurrency/reset", {"type": "odd"}),
    ],
)
def test_what_no_queue_can_be_is_refused(staff, path, body):
    answer = staff.post(f"v1/queues/managed/{path}", body)
    assert answer.status_code == 400, answer.content
    assert not Queue.objects.filter(name="managed", is_gated=True).exists()


def test_a_queue_nobody_knows_is_not_made(staff):
    for path, body in (
        ("pause", {"action": "pause"}),
        ("concurrency/override", {"concurrencyLimit": 1}),
        ("concurrency/reset", {}),
    ):
        assert staff.post(f"v1/queues/nowhere/{path}", body).status_code == 404
    assert not Queue.objects.filter(name="nowhere").exists()
