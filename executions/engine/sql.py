"""The hot path's statements, written for sets of runs. Everything else is the ORM.

Columns of a set travel as one text each, joined by the unit separator: JSON and keys never hold a
raw control character, and PostgreSQL splits such a text several times faster than psycopg dumps
an array. `flowmaestro_now()` is the engine's only clock.
"""

from __future__ import annotations

from collections.abc import Iterable

SEPARATOR = "\x1f"
NULL = "\x1e"

CHANNEL = "flowmaestro_runs"


def column(values: Iterable[str | None]) -> str:
    """One set column as text; NULL stands for itself."""
    return SEPARATOR.join([NULL if value is None else value for value in values])


def array(cast: str = "text") -> str:
    """A set column, split by PostgreSQL."""
    values = "string_to_array(%s, chr(31), chr(30))"
    return values if cast == "text" else f"{values}::{cast}[]"


def _unnest(alias: str, **columns: str) -> str:
    arrays = ", ".join(array(cast) for cast in columns.values())
    return f"unnest({arrays}) AS {alias}({', '.join(columns)})"


# ---- trigger: rows for new runs, from one JSON document (a list of objects) --------------------

INSERT_RUNS = """
WITH x AS MATERIALIZED (
  SELECT x.*, x.id AS run_id,
         coalesce(x.start_at, flowmaestro_now() + make_interval(secs => coalesce(x.delay, 0)))
           AS starts
  FROM json_to_recordset(%s::json) AS x(
    id text, task text, payload json, metadata json, queue text, concurrency_key text,
    priority int, delay float8, start_at timestamptz, ttl float8, run_timeout float8,
    max_duration float8, max_attempts int, tags jsonb, parent_id text, parent_step text,
    parent_close text, root_id text, definition_id text, owner_id int, workspace_id text,
    source text, forked_from text, hook_run text)
), r AS (
  INSERT INTO executions_run (
    id, task, status, queue, concurrency_key, priority, due_at, wake_at, expires_at, deadline_at,
    max_duration, max_attempts, tags, parent_id, parent_step, parent_close, root_id,
    definition_id, owner_id, workspace_id, source, forked_from, hook_run, is_gated, event_seq,
    active_ms, attempt, stalls, wakes, flush_no, op_seq)
  SELECT id, task, CASE WHEN starts > flowmaestro_now() THEN 'DELAYED' ELSE 'QUEUED' END,
         queue, concurrency_key, priority, starts - make_interval(secs => priority),
         CASE WHEN starts > flowmaestro_now() THEN starts END,
         starts + make_interval(secs => ttl), starts + make_interval(secs => run_timeout),
         max_duration, max_attempts,
         coalesce((SELECT array_agg(t) FROM jsonb_array_elements_text(tags) t), '{}'),
         parent_id, parent_step, parent_close, root_id, definition_id, owner_id, workspace_id,
         source, forked_from, hook_run,
         EXISTS (SELECT FROM executions_queue q WHERE q.name = x.queue AND q.is_gated), 1,
         0, 1, 0, 0, 0, 0
  FROM x
), d AS (
  INSERT INTO executions_rundata (run_id, payload, metadata, first_metadata)
  SELECT id, payload, coalesce(metadata, '{}'), coalesce(metadata, '{}') FROM x
)
, e AS (
  INSERT INTO executions_runevent (run_id, seq, type, data)
  SELECT id, 1, CASE WHEN starts > flowmaestro_now() THEN 'run.delayed' ELSE 'run.queued' END,
         json_build_object('task', task) FROM x
)
SELECT pg_notify('flowmaestro_runs', %s)
"""

NOTIFY = f"SELECT pg_notify('{CHANNEL}', %s)"

# ---- claim and load -----------------------------------------------------------------------------

# Suspects (runs whose worker died) are claimed one at a time, so that a poison run convicts
# itself and not the hundred innocents beside it. Runs of gated queues are claimed by `gates.py`;
# the mark on the run keeps a long line of them out of this index, and the look at the queues
# catches those that were triggered while their queue became gated.
_CANDIDATES = """
  SELECT id FROM executions_run
  WHERE status = 'QUEUED' AND stalls {comparison} 0 AND NOT is_gated
    AND (queue <> ALL (ARRAY(SELECT name FROM executions_queue WHERE is_gated))
      OR cancel_requested_at IS NOT NULL)
    AND (expires_at IS NULL OR expires_at > flowmaestro_now() OR started_at IS NOT NULL)
  ORDER BY due_at{tie} LIMIT %s FOR UPDATE SKIP LOCKED
"""
# What a cancelled run has to clean up waits for no slot of its queue, and for no pause of it. A
# suspect among them comes by way of its queue, one at a time like any other.
_CLEAN_UPS = """
  SELECT id FROM executions_run
  WHERE status = 'QUEUED' AND stalls = 0 AND is_gated AND cancel_requested_at IS NOT NULL
  ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED
"""
# Makes the candidates this worker's, and says what it must know of them. The array
# leaves the planner no other way than one look at an index each, whatever it thinks of the numbers.
TAKE = """
c AS (
  UPDATE executions_run SET
    status = 'EXECUTING', claim = %s::uuid, worker = %s, wake_at = NULL,
    started_at = coalesce(started_at, flowmaestro_now())
  WHERE id = ANY (ARRAY(SELECT id FROM candidates))
  RETURNING id, task, claim, wakes, flush_no, op_seq, attempt, max_attempts, active_ms,
            max_duration, deadline_at, stalls, generation,
            cancel_requested_at IS NOT NULL AS cancel_requested,
            pause_requested_at IS NOT NULL AS pause_requested,
            parent_id, parent_step, root_id, owner_id, workspace_id, tags, definition_id
)
SELECT c.*, flowmaestro_now() AS now FROM c
"""
CLAIM = f"""
WITH fresh AS MATERIALIZED ({_CANDIDATES.format(comparison="=", tie=", id")}),
suspect AS MATERIALIZED ({_CANDIDATES.format(comparison=">", tie="")}),
clean_up AS MATERIALIZED ({_CLEAN_UPS}),
candidates AS (
  SELECT id FROM clean_up UNION ALL SELECT id FROM fresh UNION ALL SELECT id FROM suspect),
{TAKE}
"""

# What the runs just claimed were given, and their journals with how the token of each open wait
# stands. Sent together with the claim, as statements of their own: their snapshots must know what
# the run's last holder committed while the claim waited for the row.
LOAD_DATA = """
SELECT d.run_id, d.payload, d.first_metadata
FROM executions_run r CROSS JOIN LATERAL (
  SELECT run_id, payload, first_metadata FROM executions_rundata WHERE run_id = r.id LIMIT 1) d
WHERE r.worker = %s AND r.status = 'EXECUTING' AND r.claim = %s::uuid
"""
LOAD_STEPS = """
SELECT s.run_id, s.key, s.kind, s.status, s.seq, s.pending, s.attempt, s.run_attempt, s.input,
       s.output, s.error, s.heartbeat, s.wake_at, s.started_at,
       t.status AS token_status, t.output AS token_output
FROM executions_run r JOIN executions_step s ON s.run_id = r.id
LEFT JOIN executions_waittoken t
  ON s.kind = 'wait' AND s.status = 'WAITING' AND t.id = s.input ->> 'token'
WHERE r.worker = %s AND r.status = 'EXECUTING' AND r.claim = %s::uuid AND r.flush_no > 0
ORDER BY s.run_id, s.seq
"""

# What the waits of some runs have come to, read after `wakes`.
LOAD_TOKENS = """
SELECT id, status, output FROM executions_waittoken WHERE id = ANY(%s) FOR SHARE
"""
# A run of no workspace is the installation's own code, which may wait for any.
TOKEN_TO_JOIN = """
SELECT id FROM executions_waittoken
WHERE id = %s AND (%s::text IS NULL OR workspace_id IS NULL OR workspace_id = %s) FOR SHARE
"""
LOAD_CHILDREN = """
SELECT c.parent_id, c.parent_step, c.id, c.status, c.output, c.error
FROM executions_step s JOIN executions_run c ON c.parent_id = s.run_id AND c.parent_step = s.key
WHERE s.run_id = ANY(%s) AND s.kind = 'children' AND s.status = 'WAITING' AND s.pending = 0
"""
LOAD_SIGNALS = """
SELECT run_id, id, name, data FROM executions_signal
WHERE run_id = ANY(%s) AND consumed_by IS NULL ORDER BY id
"""
LOAD_WAKES = """
SELECT id, wakes, cancel_requested_at IS NOT NULL, flowmaestro_now(), claim::text,
       pause_requested_at IS NOT NULL
FROM executions_run WHERE worker = %s AND status = 'EXECUTING'
"""

# ---- flush --------------------------------------------------------------------------------------

_HEADS = _unnest(
    "h",
    id="text",
    claim="uuid",
    no="int",
    events="int",
    ops="int",
    active="bigint",
    progress="bool",
    family="text",
    status="text",
    seen="int",
    wait="float8",
    attempt="int",
    output="json",
    error="jsonb",
)
_STEPS = _unnest(
    "s",
    run="text",
    key="text",
    kind="text",
    status="text",
    seq="int",
    pending="int",
    attempt="int",
    run_attempt="int",
    input="json",
    output="json",
    error="jsonb",
    heartbeat="jsonb",
    wait="float8",
    lasted="float8",
)
_EVENTS = _unnest("e", run="text", n="int", type="text", data="json", of_move="bool")

# One statement: take the rows, check the fence, write. A row that somebody else holds is passed
# over and its items go into the next flush. `seen` makes a park conditional on no wake since.
FLUSH = f"""
WITH h AS MATERIALIZED (SELECT * FROM {_HEADS}),
l AS MATERIALIZED (
  SELECT id, claim, flush_no, event_seq, wakes FROM executions_run
  WHERE id = ANY({array()}) ORDER BY id FOR UPDATE SKIP LOCKED
),
o AS MATERIALIZED (
  SELECT h.*, l.event_seq AS base,
         h.status IS NOT NULL AND (h.seen IS NULL OR h.seen = l.wakes) AS moved
  FROM h JOIN l ON l.id = h.id
  WHERE l.claim = h.claim AND l.flush_no < h.no
    AND (h.family IS NULL OR NOT EXISTS (
      SELECT FROM unnest(string_to_array(h.family, ',')) f(id)
      WHERE NOT EXISTS (SELECT FROM l WHERE l.id = f.id)
        AND EXISTS (SELECT FROM executions_run r WHERE r.id = f.id)))
),
u AS (
  UPDATE executions_run r SET
    flush_no = o.no, active_ms = o.active,
    event_seq = o.base + o.events - CASE WHEN o.moved OR o.status IS NULL THEN 0 ELSE 1 END,
    op_seq = CASE WHEN o.moved AND o.attempt IS NOT NULL THEN 0 ELSE o.ops END,
    stalls = CASE WHEN o.progress THEN 0 ELSE r.stalls END,
    status = CASE WHEN o.moved THEN o.status ELSE r.status END,
    claim = CASE WHEN o.moved THEN NULL ELSE r.claim END,
    worker = CASE WHEN o.moved AND o.status IN ('WAITING', 'QUEUED', 'PAUSED')
      THEN NULL ELSE r.worker END,
    due_at = CASE WHEN o.moved AND o.status = 'QUEUED'
      THEN flowmaestro_now() - make_interval(secs => r.priority) ELSE r.due_at END,
    wake_at = CASE WHEN o.moved AND o.status = 'WAITING'
      THEN flowmaestro_now() + make_interval(secs => o.wait) ELSE r.wake_at END,
    attempt = CASE WHEN o.moved THEN coalesce(o.attempt, r.attempt) ELSE r.attempt END,
    output = CASE WHEN o.moved THEN o.output ELSE r.output END,
    error = CASE
      WHEN o.moved AND o.status = 'CANCELED' AND r.cancel_reason IS NOT NULL
      THEN jsonb_set(o.error, '{{message}}', to_jsonb(r.cancel_reason))
      WHEN o.moved THEN o.error ELSE r.error END,
    pause_requested_at = CASE WHEN o.moved AND o.status = 'PAUSED'
      THEN NULL ELSE r.pause_requested_at END,
    finished_at = CASE
      WHEN o.moved AND o.status NOT IN ('WAITING', 'QUEUED', 'PAUSED', 'NEEDS_ATTENTION')
      THEN flowmaestro_now() END
  FROM o WHERE r.id = o.id
  RETURNING r.id, o.moved, r.cancel_requested_at IS NOT NULL AS cancel_requested, r.wakes,
            r.pause_requested_at IS NOT NULL AS pause_requested
),
s AS (
  INSERT INTO executions_step AS t (
    run_id, key, kind, status, seq, pending, attempt, run_attempt, input, output, error,
    heartbeat, wake_at, started_at, finished_at)
  SELECT s.run, s.key, s.kind, s.status, s.seq, s.pending, s.attempt, s.run_attempt, s.input,
         s.output, s.error, s.heartbeat, flowmaestro_now() + make_interval(secs => s.wait),
         flowmaestro_now() - make_interval(secs => coalesce(s.lasted, 0)),
         CASE WHEN s.status IN ('COMPLETED', 'FAILED') THEN flowmaestro_now() END
  FROM {_STEPS} JOIN o ON o.id = s.run
  ON CONFLICT (run_id, key) DO UPDATE SET
    status = excluded.status, seq = excluded.seq, pending = excluded.pending,
    attempt = excluded.attempt, run_attempt = excluded.run_attempt,
    input = coalesce(excluded.input, t.input), output = excluded.output, error = excluded.error,
    heartbeat = coalesce(excluded.heartbeat, t.heartbeat), wake_at = excluded.wake_at,
    finished_at = excluded.finished_at
  WHERE t.status <> 'COMPLETED'
),
e AS (
  INSERT INTO executions_runevent (run_id, seq, type, data)
  SELECT e.run, o.base + e.n, e.type, e.data
  FROM {_EVENTS} JOIN o ON o.id = e.run
  WHERE NOT e.of_move OR o.moved
)
SELECT id, moved, cancel_requested, wakes, pause_requested FROM u
"""

# The same for one run with one step and nothing else: half the work when the machine is idle.
FLUSH_STEP = """
WITH u AS (
  UPDATE executions_run SET flush_no = %s, op_seq = %s, active_ms = %s, event_seq = event_seq + 1,
    stalls = 0
  WHERE id = (SELECT id FROM executions_run WHERE id = %s FOR UPDATE SKIP LOCKED)
    AND claim = %s::uuid AND flush_no < %s
  RETURNING id, event_seq, cancel_requested_at IS NOT NULL AS cancel_requested, wakes,
            pause_requested_at IS NOT NULL AS pause_requested
),
s AS (
  INSERT INTO executions_step AS t (
    run_id, key, kind, status, seq, attempt, run_attempt, input, output, error, started_at,
    finished_at)
  SELECT id, %s, %s, %s, %s::int, %s::int, %s::int, %s::json, %s::json, %s::jsonb,
         flowmaestro_now() - make_interval(secs => %s::float8), flowmaestro_now()
  FROM u
  ON CONFLICT (run_id, key) DO UPDATE SET
    status = excluded.status, seq = excluded.seq, attempt = excluded.attempt,
    run_attempt = excluded.run_attempt, input = coalesce(excluded.input, t.input),
    output = excluded.output, error = excluded.error, wake_at = NULL,
    finished_at = excluded.finished_at
  WHERE t.status <> 'COMPLETED'
),
e AS (
  INSERT INTO executions_runevent (run_id, seq, type, data)
  SELECT id, event_seq, %s, %s::json FROM u
)
SELECT id, false, cancel_requested, wakes, pause_requested FROM u
"""

# What became of runs whose row a flush did not get: lost, locked for a moment, or written before.
LOOK_UP = """
SELECT id, claim::text, flush_no, wakes, cancel_requested_at IS NOT NULL,
       pause_requested_at IS NOT NULL
FROM executions_run WHERE id = ANY(%s)
"""


def _wake_set(*statuses: str) -> str:
    """Counts a resolution, and queues a run of one of the statuses."""
    waits = f"r.status IN ({', '.join(map(repr, statuses))})"
    return f"""
    wakes = r.wakes + 1,
    status = CASE WHEN {waits} THEN 'QUEUED' ELSE r.status END,
    wake_at = CASE WHEN {waits} THEN NULL ELSE r.wake_at END,
    due_at = CASE WHEN {waits}
      THEN flowmaestro_now() - make_interval(secs => r.priority) ELSE r.due_at END
"""


_WAKE_SET = _wake_set("WAITING")
# Every resolution of a wait counts, whatever the status of the run: a completion that meets a
# still EXECUTING run must not be forgotten when that run parks. The caller holds the rows' locks
# or takes them here in id order by way of `ids`.
WAKE = f"""
WITH ids AS MATERIALIZED (
  SELECT id FROM executions_run WHERE id = ANY(%s) AND finished_at IS NULL
  ORDER BY id FOR UPDATE)
UPDATE executions_run r SET {_WAKE_SET} FROM ids WHERE r.id = ids.id RETURNING r.id
"""

EXPOSE = f"""
UPDATE executions_rundata d SET exposed = coalesce(d.exposed::jsonb, '{{}}') || x.exposed
FROM {_unnest("x", run="text", exposed="jsonb")} WHERE d.run_id = x.run
"""

# Children that ended: counted down under the parents' locks, which the flush holds; the one that
# reaches zero wakes its parent once. A parent that has continued as new waits for none of the
# children it had before, as their rows say; what the worker of a child knows is older.
CHILDREN_ENDED = f"""
WITH d AS (
  SELECT parent_id AS parent, parent_step AS step, count(*)::int AS n
  FROM executions_run WHERE id = ANY(%s) AND parent_step IS NOT NULL GROUP BY 1, 2
),
s AS (
  UPDATE executions_step t SET pending = t.pending - d.n FROM d
  WHERE t.run_id = d.parent AND t.key = d.step AND t.status = 'WAITING' AND t.pending > 0
  RETURNING t.run_id, t.pending
)
UPDATE executions_run r SET {_WAKE_SET}
FROM (SELECT DISTINCT run_id FROM s WHERE pending = 0) w
WHERE r.id = w.run_id AND r.finished_at IS NULL RETURNING r.id
"""

# Parents that ended: what becomes of the children that are still open.
REQUEST_CANCEL_OF_CHILDREN = f"""
WITH ids AS MATERIALIZED (
  SELECT id FROM executions_run
  WHERE parent_id = ANY(%s) AND finished_at IS NULL AND parent_close = 'REQUEST_CANCEL'
    AND started_at IS NOT NULL AND status <> 'NEEDS_ATTENTION'
  ORDER BY id FOR UPDATE)
UPDATE executions_run r SET
  cancel_requested_at = coalesce(r.cancel_requested_at, flowmaestro_now()),
  cancel_reason = coalesce(r.cancel_reason, 'its parent ended'), pause_requested_at = NULL,
  {_wake_set("WAITING", "PAUSED")}
FROM ids WHERE r.id = ids.id RETURNING r.id
"""
# A child that never began has nothing to clean up, and one that needs attention cannot; they end
# at once too.
TERMINATED_CHILDREN = """
SELECT id FROM executions_run
WHERE parent_id = ANY(%s) AND finished_at IS NULL
  AND (parent_close = 'TERMINATE'
    OR parent_close = 'REQUEST_CANCEL' AND (started_at IS NULL OR status = 'NEEDS_ATTENTION'))
ORDER BY id FOR UPDATE
"""

# A move made from outside the executor (cancel, expiry, crash, terminate): the same for a set.
END_RUNS = """
WITH ids AS MATERIALIZED (
  SELECT id FROM executions_run WHERE id = ANY(%s) AND finished_at IS NULL
    AND (%s::text[] IS NULL OR status = ANY(%s::text[]))
  ORDER BY id FOR UPDATE),
u AS (
  UPDATE executions_run r SET status = %s, error = %s::jsonb, finished_at = flowmaestro_now(),
    claim = NULL, wakes = r.wakes + 1, event_seq = r.event_seq + 1
  FROM ids WHERE r.id = ids.id
  RETURNING r.id, r.event_seq, r.parent_id, r.parent_step
),
e AS (
  INSERT INTO executions_runevent (run_id, seq, type, data)
  SELECT id, event_seq, %s, json_build_object('error', %s::json) FROM u
)
SELECT id, parent_id, parent_step FROM u
"""

# The same for a move that ends nothing: with its event.
MOVE = """
WITH u AS (
  UPDATE executions_run r SET {changes}, event_seq = r.event_seq + 1 WHERE r.id = %s
  RETURNING r.id, r.event_seq
)
INSERT INTO executions_runevent (run_id, seq, type, data)
SELECT id, event_seq, %s, %s::json FROM u
"""

_TOKENS = _unnest(
    "x",
    id="text",
    run="text",
    workspace="text",
    key="text",
    wait="float8",
    tags="jsonb",
    secret_key="text",
    digest="text",
)
INSERT_TOKENS = f"""
INSERT INTO executions_waittoken (
  id, run_id, workspace_id, step_key, status, timeout_at, tags, secret_key, secret_hash)
SELECT id, run, workspace, key, 'WAITING', flowmaestro_now() + make_interval(secs => wait),
       coalesce((SELECT array_agg(t) FROM jsonb_array_elements_text(tags) t), '{{}}'),
       secret_key, decode(digest, 'hex')
FROM {_TOKENS}
ON CONFLICT (run_id, step_key) WHERE run_id IS NOT NULL DO NOTHING
"""
# One outcome: the runs it concerns are locked first, then the token is compared and set. Whoever
# waited for such a lock finds the token as it is by then, and loses.
COMPLETE_TOKEN = f"""
WITH ids AS MATERIALIZED (
  SELECT r.id FROM executions_run r
  WHERE r.id IN (SELECT run_id FROM executions_waittoken WHERE id = %s
                 UNION SELECT run_id FROM executions_tokenwaiter WHERE token_id = %s)
    AND r.finished_at IS NULL
  ORDER BY r.id FOR UPDATE
),
c AS (
  UPDATE executions_waittoken SET status = 'COMPLETED', output = %s::json,
    completed_at = flowmaestro_now()
  WHERE id = %s AND status = 'WAITING' AND (SELECT count(*) FROM ids) >= 0
    AND (timeout_at IS NULL OR timeout_at > flowmaestro_now())
  RETURNING run_id, step_key, timeout_at, tags, created_at, completed_at
),
w AS (
  UPDATE executions_run r SET {_WAKE_SET} FROM ids, c WHERE r.id = ids.id RETURNING r.id
)
SELECT c.run_id, c.step_key, c.timeout_at, c.tags, c.created_at, c.completed_at,
       pg_notify('{CHANNEL}', coalesce((SELECT string_agg(w.id, ',') FROM w), '')) FROM c
"""
# Runs that joined a token while its completion was under way: nobody woke them yet.
TAKE_LATE_WAITERS = """
DELETE FROM executions_tokenwaiter w USING executions_waittoken t
WHERE t.id = w.token_id AND t.status <> 'WAITING' AND (%s::text IS NULL OR t.id = %s)
RETURNING w.run_id
"""
INSERT_TOKEN_WAITERS = f"""
INSERT INTO executions_tokenwaiter (token_id, run_id)
SELECT token, run FROM {_unnest("x", token="text", run="text")} ON CONFLICT DO NOTHING
"""
CONSUME_SIGNALS = f"""
UPDATE executions_signal g SET consumed_by = x.key
FROM {_unnest("x", id="text", key="text")} WHERE g.id = x.id
"""
APPEND_CHUNKS = f"""
INSERT INTO executions_streamchunk (run_id, stream, index, data)
SELECT x.run, x.stream, x.n + coalesce(
    (SELECT max(c.index) + 1 FROM executions_streamchunk c
     WHERE c.run_id = x.run AND c.stream = x.stream), 0), x.data
FROM {_unnest("x", run="text", stream="text", n="int", data="json")}
"""
LOCK_METADATA = """
SELECT run_id, metadata FROM executions_rundata WHERE run_id = ANY(%s) ORDER BY run_id FOR UPDATE
"""
# Events of runs that somebody else's flush concerns; their rows are locked by it.
COUNT_EVENTS = f"""
UPDATE executions_run r SET event_seq = r.event_seq + x.n
FROM {_unnest("x", run="text", n="int")} WHERE r.id = x.run AND r.finished_at IS NULL
RETURNING r.id, r.event_seq - x.n
"""
INSERT_EVENTS = f"""
INSERT INTO executions_runevent (run_id, seq, type, data)
SELECT * FROM {_unnest("x", run="text", seq="int", type="text", data="json")}
"""
WRITE_METADATA = f"""
UPDATE executions_rundata d SET metadata = x.metadata
FROM {_unnest("x", run="text", metadata="json")} WHERE d.run_id = x.run
"""

RELEASE_ONE = """
UPDATE executions_run SET status = 'QUEUED', claim = NULL, worker = NULL, wakes = wakes + 1,
  due_at = flowmaestro_now() - make_interval(secs => priority)
WHERE id = %s AND claim = %s::uuid AND status = 'EXECUTING' RETURNING id
"""
# The next attempt of a run tells its story anew: from the metadata as it is now.
RESTART_METADATA = """
UPDATE executions_rundata SET first_metadata = metadata WHERE run_id = ANY(%s)
"""
# A worker that stops gives its runs back; nothing is held against them.
RELEASE = """
UPDATE executions_run SET status = 'QUEUED', claim = NULL, worker = NULL,
  due_at = flowmaestro_now() - make_interval(secs => priority)
WHERE worker = %s AND status = 'EXECUTING' RETURNING id
"""
