"""Continuing as new: the same run, with a fresh journal; the old one is kept apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from executions.engine import sql

_KEEP_STEPS = """
WITH old AS (DELETE FROM executions_step WHERE run_id = ANY(%s) RETURNING *)
INSERT INTO executions_paststep (
  run_id, generation, key, kind, status, seq, attempt, input, output, error, started_at,
  finished_at)
SELECT old.run_id, r.generation, old.key, old.kind, old.status, old.seq, old.attempt, old.input,
       old.output, old.error, old.started_at, old.finished_at
FROM old JOIN executions_run r ON r.id = old.run_id
"""
# A token of the new generation may be made under the same key.
_RENAME_TOKENS = """
UPDATE executions_waittoken t SET step_key = '@' || r.generation || '/' || t.step_key
FROM executions_run r WHERE r.id = t.run_id AND r.id = ANY(%s) AND t.step_key NOT LIKE '@%%'
"""
_FORGET_WAITS = "DELETE FROM executions_tokenwaiter WHERE run_id = ANY(%s)"
# Nobody waits for the children that are still open; their end must not count for the new journal.
_LEAVE_CHILDREN = """
UPDATE executions_run SET parent_step = NULL WHERE id IN (
  SELECT id FROM executions_run
  WHERE parent_id = ANY(%s) AND parent_step IS NOT NULL AND finished_at IS NULL
  ORDER BY id FOR UPDATE)
"""
_COUNT = "UPDATE executions_run SET generation = generation + 1, active_ms = 0 WHERE id = ANY(%s)"
_SET_PAYLOADS = f"""
UPDATE executions_rundata d SET payload = x.payload
FROM unnest({sql.array()}, {sql.array("json")}) AS x(run, payload) WHERE d.run_id = x.run
"""


async def begin(conn: psycopg.AsyncConnection[Any], payloads: Mapping[str, str]) -> None:
    """The next generation of each run, in the flush that ends the present one."""
    runs = list(payloads)
    for statement in (_KEEP_STEPS, _RENAME_TOKENS, _FORGET_WAITS, _LEAVE_CHILDREN, _COUNT):
        await conn.execute(statement, (runs,))
    await conn.execute(_SET_PAYLOADS, (sql.column(runs), sql.column(payloads.values())))
