"""Claiming from gated queues: those with a limit, and those that once had one or were paused.

Their rows are locked, what runs is counted in a new statement, and only the rest is claimed;
counting inside the claim would let two claimers each take the last slot.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from executions.engine import failpoints, sql

# Whether any gated queue has work: sent along with every claim.
PROBE = """
SELECT EXISTS (
  SELECT FROM executions_queue q WHERE q.is_gated AND q.paused_at IS NULL
    AND EXISTS (SELECT FROM executions_run r WHERE r.status = 'QUEUED' AND r.queue = q.name))
"""
_LOCK = """
SELECT q.name FROM executions_queue q
WHERE q.is_gated AND q.paused_at IS NULL
  AND EXISTS (SELECT FROM executions_run r WHERE r.status = 'QUEUED' AND r.queue = q.name)
ORDER BY q.name FOR NO KEY UPDATE SKIP LOCKED
"""
_KEY = "coalesce(r.concurrency_key, '')"
# Each queue and concurrency key is a line of its own: `lines` walks the index from key to key, so
# that a line of a hundred thousand costs one look, and lines take turns, so that it does not make
# the others wait.
_CLAIM = f"""
WITH RECURSIVE lines (queue, key) AS (
  SELECT q.name, (SELECT min({_KEY}) FROM executions_run r
                  WHERE r.status = 'QUEUED' AND r.queue = q.name)
  FROM executions_queue q WHERE q.name = ANY(%(queues)s)
  UNION ALL
  SELECT l.queue, (SELECT min({_KEY}) FROM executions_run r
                   WHERE r.status = 'QUEUED' AND r.queue = l.queue AND {_KEY} > l.key)
  FROM lines l WHERE l.key IS NOT NULL
),
busy AS MATERIALIZED (
  SELECT r.queue, {_KEY} AS key, count(*) AS n FROM executions_run r
  WHERE r.status = 'EXECUTING' AND r.queue = ANY(%(queues)s) GROUP BY 1, 2
),
first AS MATERIALIZED (
  SELECT x.id, x.due_at, x.stalls, x.place
  FROM lines l JOIN executions_queue q ON q.name = l.queue
  LEFT JOIN busy b ON b.queue = l.queue AND b.key = l.key
  CROSS JOIN LATERAL (
    SELECT c.*, row_number() OVER (ORDER BY c.due_at, c.id) AS place FROM (
      SELECT r.id, r.due_at, r.stalls FROM executions_run r
      WHERE r.status = 'QUEUED' AND r.queue = l.queue AND {_KEY} = l.key
        AND (r.expires_at IS NULL OR r.expires_at > flowmaestro_now() OR r.started_at IS NOT NULL)
        AND (r.stalls = 0 OR %(suspects)s > 0)
      ORDER BY r.due_at, r.id
      LIMIT greatest(0, least(coalesce(q.concurrency_limit - coalesce(b.n, 0), %(runs)s), %(runs)s))
      FOR UPDATE SKIP LOCKED) c) x
  WHERE l.key IS NOT NULL
),
ranked AS (
  SELECT id, place, due_at, stalls, row_number() OVER (
    PARTITION BY stalls > 0 ORDER BY place, due_at) AS of_kind FROM first
),
candidates AS (
  SELECT id FROM ranked WHERE stalls = 0 OR of_kind <= %(suspects)s
  ORDER BY place, due_at LIMIT %(runs)s
),
{sql.TAKE.replace("%s::uuid", "%(fence)s::uuid").replace("worker = %s", "worker = %(worker)s")}
"""


async def claim(
    conn: psycopg.AsyncConnection[Any], worker: str, fence: UUID, *, runs: int, suspects: int
) -> tuple[list[dict[str, Any]], bool]:
    """Takes due runs of gated queues within their limits; and whether another claimer was there.

    One claimer at a time has a queue's row; the others pass it over.
    """
    async with conn.transaction():
        cursor = await conn.execute(_LOCK)
        queues = [row[0] for row in await cursor.fetchall()]
        if not queues:
            return [], True
        parameters = {
            "queues": queues, "runs": runs, "suspects": suspects, "fence": fence, "worker": worker,
        }  # fmt: skip
        claims = await conn.cursor(row_factory=dict_row).execute(_CLAIM, parameters)
        rows = await claims.fetchall()
        failpoints.hit("claim.gated_before_commit")
    return rows, False
