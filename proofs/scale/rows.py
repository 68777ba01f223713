"""Rows of runs by the million, written by PostgreSQL itself: no engine has touched them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import connection
from django.utils import timezone

from executions import runs
from executions.models import Run, RunData
from executions.rules import ids
from proofs.scale.tasks import probe

CHUNK = 100_000
SPAN = "interval '90 days'"
"""How long ago the oldest run was triggered."""
RARE = 10_000
"""One run in so many is of the rare task, and one in twenty thousand has CRASHED."""

_AT = f"(%(now)s::timestamptz - {SPAN} * (1 - n::float8 / %(rows)s))"
_MILLISECONDS = f"floor(extract(epoch FROM {_AT}) * 1000)::bigint"
_LETTERS = " || ".join(
    f"substr('{ids.ALPHABET}', ((ms >> {shift}) & 31)::int + 1, 1)" for shift in range(45, -1, -5)
)
# Like a real one: the moment, then what tells ids of one moment apart.
_ID = (
    f"(SELECT 'run_' || {_LETTERS} || lpad(n::text, 16, '0') FROM (SELECT {_MILLISECONDS} AS ms) m)"
)
_COMMON = {
    "id": _ID,
    "task": f"CASE WHEN n %% {RARE} = 7 THEN 'scale.rare' ELSE 'scale.task-' || n %% 20 END",
    "queue": "CASE WHEN n <= %(rows)s / 1000 THEN 'forgotten' ELSE 'queue-' || n %% 3 END",
    "tags": "CASE WHEN n %% 10 <> 0 THEN '{}'::text[] WHEN n <= 1000 THEN ARRAY['once'] "
    "ELSE ARRAY['team-' || n / 10 %% 50] END",
    "created_at": _AT,
    "event_seq": "2",
}
_STATUS = (
    "CASE WHEN n %% 4 = 0 THEN 'DELAYED' WHEN n %% (2 * 10000) = 1 THEN 'CRASHED' "
    "WHEN n %% 25 = 1 THEN 'FAILED' WHEN n %% 100 = 2 THEN 'CANCELED' ELSE 'COMPLETED' END"
)
_FUTURE = "%(now)s::timestamptz + interval '1 hour' + n * interval '1 second'"
PAST_AND_FUTURE = {
    **_COMMON,
    "status": _STATUS,
    "wake_at": f"CASE WHEN n %% 4 = 0 THEN {_FUTURE} END",
    "due_at": f"CASE WHEN n %% 4 = 0 THEN {_FUTURE} ELSE {_AT} END",
    "started_at": f"CASE WHEN n %% 4 <> 0 THEN {_AT} END",
    "finished_at": f"CASE WHEN n %% 4 <> 0 THEN {_AT} END",
    "output": "CASE WHEN n %% 4 <> 0 THEN '{\"number\": 1}'::json END",
}
QUEUED = {**_COMMON, "status": "'QUEUED'", "due_at": _AT, "event_seq": "1"}


def fill_with_past_and_future(rows: int) -> None:
    """Three quarters in final states, one quarter DELAYED until after an hour."""
    _fill(rows, PAST_AND_FUTURE)


def fill_with_queued(rows: int, *, after: int = 0) -> None:
    """All of them due; numbered on from `after`, so that others may be there already."""
    _fill(rows, QUEUED, after=after)


def empty() -> None:
    """No runs at all."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE executions_run, executions_rundata CASCADE")


def _fill(rows: int, columns: Mapping[str, str], *, after: int = 0) -> None:
    """Copies of one real run but for these columns: whatever else a run has, they have too."""
    template = runs.trigger(probe, {"number": 1}).id
    values: dict[str, Any] = {
        "rows": after + rows,
        "template": template,
        "now": timezone.now(),
    }
    with connection.cursor() as cursor:
        for first in range(after + 1, after + rows + 1, CHUNK):
            part = {"first": first, "last": min(first + CHUNK - 1, after + rows)}
            cursor.execute(_copy(Run, "id", columns), values | part)
            cursor.execute(_copy(RunData, "run_id", {"run_id": _ID}), values | part)
        cursor.execute("DELETE FROM executions_rundata WHERE run_id = %s", [template])
        cursor.execute("DELETE FROM executions_run WHERE id = %s", [template])
        cursor.execute("ANALYZE executions_run, executions_rundata")


def _copy(model: type[Run] | type[RunData], key: str, columns: Mapping[str, str]) -> str:
    names = [str(field.column) for field in model._meta.concrete_fields]
    table = model._meta.db_table
    values = ", ".join(columns.get(name, f"t.{name}") for name in names)
    return (
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} "
        f"FROM {table} t, generate_series(%(first)s::bigint, %(last)s::bigint) n "
        f"WHERE t.{key} = %(template)s"
    )
