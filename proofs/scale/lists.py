"""The lists of runs, by each of their filters, on a million rows: how long, and by which plan."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from statistics import median
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from executions import runs
from executions.models import Run
from executions.rules.ids import first_id
from proofs.scale import Proof, plans

TIMES = 5
PAGE = 25
BOUND_MS = 1000.0
"""What a page may take on a busy machine; the rows looked at are the stricter bound."""
MOST_TOUCHED = 20_000
"""Rows that a page of a list may look at; with more, it grows slower with the table."""
ADMIN = "/admin/executions/run/"


def prove(*, patience: float = 1.0) -> Proof:
    """Every filter of `runs.list_runs`, and the pages of the admin."""
    count = Run.objects.count()
    proof = Proof(f"lists of {count:,} runs", patience=patience)
    for name, filters in _filters().items():
        _look(proof, f"list_runs {name}", partial(runs.list_runs, **filters))
    for name, conditions in _conditions().items():
        _look(proof, f"runs by {name}", partial(_page, conditions))
    client = Client(headers={"host": "localhost"})
    users = get_user_model().objects
    user = users.filter(username="scale").first() or users.create_superuser("scale")
    client.force_login(user)
    for query in _admin_queries():
        _look(proof, f"admin ?{query}", partial(_get, client, query))
    return proof


def _filters() -> dict[str, dict[str, Any]]:
    middle = Run.objects.order_by("id").values_list("id", flat=True)[Run.objects.count() // 2]
    found: dict[str, dict[str, Any]] = {
        "": {},
        "after the middle": {"after": middle},
        "status of most": {"status": "COMPLETED"},
        "status of few": {"status": "CRASHED"},
        "status of none": {"status": "NEEDS_ATTENTION"},
        "two statuses": {"status": ["CRASHED", "COMPLETED"]},
        "task of some": {"task": "scale.task-3"},
        "task of few": {"task": "scale.rare"},
        "task of none": {"task": "scale.none"},
        "tag of some": {"tag": "team-7"},
        "tag of few, long ago": {"tag": "once"},
        "tag of none": {"tag": "nobody"},
        "task of some, status of few": {"task": "scale.task-1", "status": "CRASHED"},
        "tag of some, status of few": {"tag": "team-7", "status": "FAILED"},
    }
    return found


def _conditions() -> dict[str, dict[str, Any]]:
    """What the admin filters by beside."""
    begin, end = _a_day_long_ago()
    return {
        "queue of some": {"queue": "queue-1"},
        "queue of few, long ago": {"queue": "forgotten"},
        "the ids of a day long ago": {
            "id__gte": first_id("run", begin),
            "id__lt": first_id("run", end),
        },
    }


def _page(conditions: dict[str, Any]) -> list[Run]:
    return list(Run.objects.filter(**conditions).order_by("-id")[:PAGE])


def _a_day_long_ago() -> tuple[datetime, datetime]:
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=61), today - timedelta(days=60)


def _admin_queries() -> list[str]:
    begin, end = _a_day_long_ago()
    keys = Run.objects.order_by("id").values_list("id", flat=True)
    return [
        "",
        f"older_than={keys[Run.objects.count() // 2]}",
        "status=COMPLETED",
        "status=CRASHED",
        "task=scale.task-3",
        "task=scale.rare",
        "tag=team-7",
        "tag=once",
        "queue=queue-1",
        "queue=forgotten",
        "task=scale.task-1&status=CRASHED",
        f"created_from={begin:%Y-%m-%dT%H:%M}&created_to={end:%Y-%m-%dT%H:%M}",
        f"q={keys[500][:-2]}",
    ]


def _get(client: Client, query: str) -> None:
    answer = client.get(f"{ADMIN}?{query}")
    if answer.status_code != 200 or b"/executions/run/run_" not in answer.content:
        raise LookupError(f"{answer.status_code} {answer.headers.get('location', '')}")


def _look(proof: Proof, name: str, action: Callable[[], object]) -> None:
    """Times it, and looks at the plan of each of its statements about runs."""
    try:
        with CaptureQueriesContext(connection) as captured:
            action()
        # The next request would empty the log.
        statements = [query["sql"] for query in captured.captured_queries]
    except LookupError as error:
        proof.figures[name] = f"not possible: {error}"
        return
    most, how = 0, ""
    for statement in statements:
        if statement.startswith("SELECT") and "executions_run" in statement:
            explained = plans.plan(statement)
            if plans.touched(explained) >= most:
                most = plans.touched(explained)
                how = ", ".join((*plans.indexes(explained), *plans.scanned(explained)))
    taken = median(_timed(action))
    proof.figures[name] = f"{taken:7.1f} ms, {most:9,} rows by {how}"
    proof.require(taken < proof.patience * BOUND_MS, f"{name} takes {taken:.0f} ms")
    proof.require(most <= MOST_TOUCHED, f"{name} looks at {most:,} rows")


def _timed(action: Callable[[], object]) -> list[float]:
    spent = []
    for _ in range(TIMES):
        started = time.perf_counter()
        action()
        spent.append(1000 * (time.perf_counter() - started))
    return spent
