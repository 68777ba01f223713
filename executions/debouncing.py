"""Debounced triggers: a burst of them becomes one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.backends.utils import CursorWrapper

from executions.engine import sql
from executions.errors import Invalid
from executions.rules import durations
from executions.rules.values import plain_text

_MODES = ("leading", "trailing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How triggers of one key are gathered. Times are seconds."""

    key: str
    delay: float
    is_trailing: bool
    max_delay: float | None


def parse(options: Mapping[str, Any]) -> Wanted:
    """The option `debounce` of a trigger. Raises Invalid naming the field."""
    if not isinstance(options, Mapping):
        raise Invalid("debounce is an object with key and delay.", field="debounce")
    unknown = options.keys() - {"key", "delay", "mode", "max_delay"}
    if unknown:
        raise Invalid(f"debounce has no {min(unknown)!r}.", field=f"debounce.{min(unknown)}")
    mode = options.get("mode", "leading")
    if mode not in _MODES:
        raise Invalid(f"debounce.mode is leading or trailing, not {mode!r}.", field="debounce.mode")
    delay = _seconds(options.get("delay"), "delay")
    if not delay:
        raise Invalid("debounce needs a delay of more than nothing.", field="debounce.delay")
    max_delay = _seconds(options.get("max_delay"), "max_delay")
    if max_delay is not None and max_delay < delay:
        raise Invalid(
            f"debounce.max_delay is not shorter than the delay, {delay:g} s.",
            field="debounce.max_delay",
        )
    return Wanted(
        key=plain_text(options.get("key"), field="debounce.key", limit=512),
        delay=delay,
        is_trailing=mode == "trailing",
        max_delay=max_delay,
    )


def _seconds(value: Any, name: str) -> float | None:
    return None if value is None else durations.seconds(value, field=f"debounce.{name}")


_TAKE_KEY = """
INSERT INTO executions_debounce AS d (task, scope, key, run_id, first_at)
VALUES (%s, %s, %s, %s, flowmaestro_now())
ON CONFLICT (task, scope, key) DO UPDATE SET key = excluded.key
RETURNING run_id, first_at
"""
_BEGIN_BURST = """
UPDATE executions_debounce SET run_id = %s, first_at = flowmaestro_now()
WHERE task = %s AND scope = %s AND key = %s
"""
_LOCK = "SELECT status FROM executions_run WHERE id = %s FOR UPDATE"
_PUT_OFF = sql.MOVE.format(
    changes="wake_at = x.at, due_at = x.at - make_interval(secs => r.priority), "
    "expires_at = r.expires_at + (x.at - r.wake_at), "
    "deadline_at = r.deadline_at + (x.at - r.wake_at)"
).replace(
    "WHERE r.id",
    "FROM (SELECT least(flowmaestro_now() + make_interval(secs => %s), "
    "%s::timestamptz + make_interval(secs => %s)) AS at) x WHERE r.id",
)
_REPLACE = """
UPDATE executions_rundata SET payload = x.payload, metadata = coalesce(x.metadata, '{}'),
  first_metadata = coalesce(x.metadata, '{}')
FROM json_to_record(%s::json) AS x(payload json, metadata json) WHERE run_id = %s
"""


def gather(task: str, scope: str, wanted: Wanted, run_id: str, document: str) -> str | None:
    """The run of the burst under way, put off; None when this trigger begins one, as `run_id`.

    The key's row is locked until the caller's commit, so that one burst is one run.
    """
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_KEY, [task, scope, wanted.key, run_id])
        known, first_at = cursor.fetchone()
        if known == run_id:
            return None
        cursor.execute(_LOCK, [known])
        if cursor.fetchone() != ("DELAYED",):
            cursor.execute(_BEGIN_BURST, [run_id, task, scope, wanted.key])
            return None
        _put_off(cursor, known, wanted, first_at)
        if wanted.is_trailing:
            cursor.execute(_REPLACE, [document, known])
    return str(known)


def _put_off(cursor: CursorWrapper, run_id: str, wanted: Wanted, first_at: Any) -> None:
    limit = 1e9 if wanted.max_delay is None else wanted.max_delay
    cursor.execute(_PUT_OFF, [wanted.delay, first_at, limit, run_id, "run.debounced", "{}"])
