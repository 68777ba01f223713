"""Lists of runs over HTTP: filters, pages, who sees what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from executions import runs
from executions.engine import sql
from executions.models import Run
from executions.rules.ids import first_id
from executions.rules.statuses import RunStatus


def listed(caller, **query):
    answer = caller.get("v1/runs", **query)
    assert answer.status_code == 200, answer.content
    return [item["id"] for item in answer.json()["data"]]


def backdate(run_id, days):
    """A run as one of that many days ago, with the id of such a one."""
    moment = datetime.now(UTC) - timedelta(days=days)
    old = first_id("run", moment)[:20] + run_id[20:]
    with connection.cursor() as cursor:
        for table, column in (
            ("executions_rundata", "run_id"),
            ("executions_runevent", "run_id"),
            ("executions_run", "id"),
        ):
            cursor.execute(f"UPDATE {table} SET {column} = %s WHERE {column} = %s", [old, run_id])
        cursor.execute("UPDATE executions_run SET created_at = %s WHERE id = %s", [moment, old])
    return old


def test_a_run_in_a_list_says_what_it_is(ada):
    run_id = ada.trigger("managed.echo", {"a": 1}, tags=["t"], idempotencyKey="k", delay="1h")
    (item,) = ada.get("v1/runs").json()["data"]
    run = runs.retrieve(run_id)
    assert item["id"] == run_id
    assert (item["status"], item["taskIdentifier"]) == ("DELAYED", "managed.echo")
    assert (item["tags"], item["idempotencyKey"], item["metadata"]) == (["t"], "k", {})
    assert item["env"] == {"id": ada.workspace, "name": "ada"}
    assert (item["isQueued"], item["isExecuting"], item["isCompleted"]) == (True, False, False)
    assert (item["isTest"], item["costInCents"], item["durationMs"]) == (False, 0, 0)
    assert datetime.fromisoformat(item["delayedUntil"]) - run.wake_at < timedelta(seconds=1)
    assert item["createdAt"].endswith("Z")
    assert "startedAt" not in item
    assert "payload" not in item


def test_filters_let_through_what_they_name(ada):
    echo = ada.trigger("managed.echo", 1, tags=["a", "b"])
    fail = ada.trigger("managed.fail", 1, tags=["b"], queue={"name": "special"})
    late = ada.trigger("managed.echo", 1, delay="1h")
    batch = ada.post("v2/tasks/batch", {"items": [{"task": "managed.echo"}]}).json()["id"]
    (of_batch,) = ada.get(f"v1/batches/{batch}").json()["runs"]
    everything = [of_batch, late, fail, echo]
    for query, expected in (
        ({}, everything),
        ({"filter[status]": "DELAYED"}, [late]),
        ({"filter[status]": "DELAYED,QUEUED"}, everything),
        ({"filter[status]": "DEQUEUED"}, []),
        ({"filter[taskIdentifier]": "managed.fail"}, [fail]),
        ({"filter[taskIdentifier]": "managed.fail,managed.echo"}, everything),
        ({"filter[tag]": "a"}, [echo]),
        ({"filter[tag]": "a,b"}, [fail, echo]),
        ({"filter[tag]": "z"}, []),
        ({"filter[queue]": "special"}, [fail]),
        ({"filter[queue]": "task/managed.echo"}, [of_batch, late, echo]),
        ({"filter[queue]": "task/managed.echo,special"}, everything),
        ({"filter[batch]": batch}, [of_batch]),
        ({"filter[schedule]": "sched_x"}, []),
        ({"filter[batch]": batch, "filter[schedule]": "sched_x"}, []),
        ({"filter[isTest]": "false"}, everything),
        ({"filter[isTest]": "true"}, []),
        ({"filter[status]": "", "filter[tag]": ""}, everything),
        ({"filter[tag]": "b", "filter[taskIdentifier]": "managed.echo"}, [echo]),
    ):
        assert listed(ada, **query) == expected, query


def test_runs_of_a_schedule_are_those_that_it_started(ada):
    ada.trigger("managed.echo", 1)
    fired = runs.trigger(
        "managed.echo", 1, owner=ada.user.pk, workspace=ada.workspace, source="sched_1"
    ).id
    assert listed(ada, **{"filter[schedule]": "sched_1"}) == [fired]


def test_statuses_of_ours_are_found_by_the_public_names(ada):
    paused, stuck = ada.trigger("managed.echo", 1), ada.trigger("managed.echo", 1)
    runs.pause(paused)
    with connection.cursor() as cursor:
        change = "status = 'EXECUTING', claim = gen_random_uuid(), started_at = flowmaestro_now()"
        cursor.execute(sql.MOVE.format(changes=change), [stuck, "run.started", "{}"])
        change = "status = 'NEEDS_ATTENTION', claim = NULL"
        cursor.execute(sql.MOVE.format(changes=change), [stuck, "run.stuck", "{}"])
    assert listed(ada, **{"filter[status]": "WAITING"}) == [paused]
    assert listed(ada, **{"filter[status]": "PAUSED"}) == [paused]
    assert listed(ada, **{"filter[status]": "PENDING_VERSION"}) == [stuck]
    assert listed(ada, **{"filter[status]": "NEEDS_ATTENTION"}) == [stuck]
    shown = {item["id"]: item for item in ada.get("v1/runs").json()["data"]}
    assert (shown[paused]["status"], shown[paused]["isWaiting"]) == ("WAITING", True)
    assert (shown[stuck]["status"], shown[stuck]["isQueued"]) == ("PENDING_VERSION", True)


def test_every_status_has_a_public_name(ada):
    known = (
        "PENDING_VERSION,QUEUED,DEQUEUED,EXECUTING,WAITING,COMPLETED,CANCELED,FAILED,CRASHED,"
        "SYSTEM_FAILURE,DELAYED,EXPIRED,TIMED_OUT"
    )
    assert listed(ada, **{"filter[status]": known}) == []
    from executions.api.management import shapes

    for status in RunStatus:
        assert shapes.status_of(Run(status=status)) in known.split(",")


def test_without_a_time_the_last_seven_days_are_listed(ada):
    new = ada.trigger("managed.echo", 1)
    old = backdate(ada.trigger("managed.echo", 1), days=8)
    older = backdate(ada.trigger("managed.echo", 1), days=20)
    assert listed(ada) == [new]
    past = int((datetime.now(UTC) - timedelta(days=10)).timestamp() * 1000)
    assert listed(ada, **{"filter[createdAt][from]": past}) == [new, old]
    assert listed(ada, **{"filter[createdAt][to]": past}) == [older]
    assert listed(ada, **{"filter[createdAt][period]": "30d"}) == [new, old, older]
    assert listed(ada, **{"filter[createdAt][period]": "1h"}) == [new]
    both = {"filter[createdAt][period]": "30d", "filter[createdAt][from]": past}
    assert listed(ada, **both) == [new, old]
    day = (datetime.now(UTC) - timedelta(days=15)).date().isoformat()
    assert listed(ada, **{"filter[createdAt][from]": day}) == [new, old]


def test_pages_follow_one_another_both_ways(ada):
    mine = [ada.trigger("managed.echo", number) for number in range(7)][::-1]

    def page(**query):
        found = ada.get("v1/runs", **{"page[size]": 3, **query}).json()
        return [item["id"] for item in found["data"]], found["pagination"]

    first, pages = page()
    assert (first, pages) == (mine[:3], {"next": f"{mine[2]}.1"})
    second, pages = page(**{"page[after]": pages["next"]})
    assert (second, pages) == (mine[3:6], {"next": f"{mine[5]}.2", "previous": f"{mine[3]}.2"})
    third, pages = page(**{"page[after]": pages["next"]})
    assert (third, pages) == (mine[6:], {"previous": f"{mine[6]}.3"})
    back, pages = page(**{"page[before]": pages["previous"]})
    assert (back, pages) == (mine[3:6], {"next": f"{mine[5]}.4", "previous": f"{mine[3]}.4"})
    begin, pages = page(**{"page[before]": pages["previous"]})
    assert (begin, pages) == (mine[:3], {"next": f"{mine[2]}.5"})
    assert page(**{"page[before]": mine[0]}) == ([], {})
    assert page(**{"page[after]": mine[6]}) == ([], {})


def test_of_two_cursors_the_younger_one_counts(ada):
    mine = [ada.trigger("managed.echo", number) for number in range(4)][::-1]
    sent = {"page[size]": 2}

    def turn(name, pages):
        """As the SDK does it: what was sent before is sent again."""
        sent["page[after]" if name == "next" else "page[before]"] = pages[name]
        found = ada.get("v1/runs", **sent).json()
        return [item["id"] for item in found["data"]], found["pagination"]

    _, pages = turn("next", ada.get("v1/runs", **sent).json()["pagination"])
    for _ in range(2):
        shown, pages = turn("previous", pages)
        assert shown == mine[:2]
        shown, pages = turn("next", pages)
        assert shown == mine[2:]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"filter[status]": "SLEEPING"}, "filter[status]"),
        ({"filter[version]": "1"}, "filter[version]"),
        ({"filter[bulkAction]": "bulk_1"}, "filter[bulkAction]"),
        ({"filter[machine]": "micro"}, "filter[machine]"),
        ({"filter[region]": "eu"}, "filter[region]"),
        ({"filter[env]": "prod"}, "filter[env]"),
        ({"filter[nonsense]": "1"}, "filter[nonsense]"),
        ({"limit": "5"}, "limit"),
        ({"filter[isTest]": "maybe"}, "filter[isTest]"),
        ({"filter[createdAt][from]": "yesterday"}, "filter[createdAt][from]"),
        ({"filter[createdAt][to]": "9" * 17}, "filter[createdAt][to]"),
        ({"filter[createdAt][from]": "2026-01-01T00:00"}, "filter[createdAt][from]"),
        ({"filter[createdAt][period]": "forever"}, "filter[createdAt][period]"),
        ({"filter[tag]": "x\0"}, "filter[tag]"),
        ({"page[size]": "0"}, "page[size]"),
        ({"page[size]": "101"}, "page[size]"),
        ({"page[size]": "x"}, "page[size]"),
        ({"page[after]": "x"}, "page[after]"),
        ({"page[before]": "run_" + "0" * 26 + ".x"}, "page[before]"),
        ({"page[after]": "batch_" + "0" * 26}, "page[after]"),
    ],
)
def test_a_filter_that_cannot_be_kept_is_refused_by_name(ada, query, field):
    answer = ada.get("v1/runs", **query)
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": field})


def test_everybody_sees_the_runs_of_their_workspace(ada, bo, staff):
    mine, theirs = ada.trigger("managed.echo", 1), bo.trigger("managed.echo", 1)
    nobodys = runs.trigger("managed.echo", 1).id
    assert listed(ada) == [mine]
    assert listed(bo) == [theirs]
    assert listed(staff) == [nobodys, theirs, mine]
    env = {item["id"]: item["env"] for item in staff.get("v1/runs").json()["data"]}
    assert env[nobodys] == {"id": "installation", "name": "installation"}


def test_the_list_costs_few_statements_however_long_it_is(ada, django_assert_max_num_queries):
    for number in range(10):
        ada.trigger("managed.echo", number, idempotencyKey=str(number))
    # The key and its note of use, the clock, the runs, their idempotency keys.
    with django_assert_max_num_queries(6):
        assert len(listed(ada)) == 10
