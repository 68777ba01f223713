"""What `doctor` asks the database: a statement per invariant, each giving the ids that break it.

All are read in one snapshot, so whatever the engine writes in one transaction is there whole. What
needs a moment (a tick, a takeover) has `%(grace)s` seconds, and counts only while `%(alive)s` says
that somebody works.
"""

from __future__ import annotations

_NOW = "flowmaestro_now()"
_AGO = f"{_NOW} - make_interval(secs => %(grace)s)"

# ---- the log and the journal --------------------------------------------------------------------

EVENTS = """
SELECT r.id FROM executions_run r
LEFT JOIN (SELECT run_id, count(*) AS n, min(seq) AS first, max(seq) AS last
           FROM executions_runevent GROUP BY run_id) e ON e.run_id = r.id
WHERE coalesce(e.n, 0) <> r.event_seq OR e.first <> 1 OR e.last <> r.event_seq
"""
CHUNKS = """
SELECT run_id FROM executions_streamchunk GROUP BY run_id, stream
HAVING min(index) <> 0 OR max(index) <> count(*) - 1
"""
ORPHANS = " UNION ".join(
    f"SELECT DISTINCT x.run_id FROM executions_{table} x "
    "WHERE NOT EXISTS (SELECT FROM executions_run r WHERE r.id = x.run_id)"
    for table in ("step", "paststep", "runevent", "streamchunk", "rundata")
)
NO_DATA = """
SELECT r.id FROM executions_run r
WHERE NOT EXISTS (SELECT FROM executions_rundata d WHERE d.run_id = r.id)
"""
# Places are unique in a run's present journal. They may have gaps: a transactional step that fails
# gives its place up, and a later attempt ends a step anew.
PLACES = """
SELECT run_id FROM executions_step WHERE seq IS NOT NULL GROUP BY run_id HAVING
  count(*) <> count(DISTINCT seq) OR min(seq) < 1
"""
ENDED_STEPS = """
SELECT run_id || ' ' || key FROM executions_step
WHERE (status IN ('COMPLETED', 'FAILED')) <> (seq IS NOT NULL AND finished_at IS NOT NULL)
"""

# ---- who holds what -----------------------------------------------------------------------------

HOLDERS = f"""
SELECT r.id FROM executions_run r LEFT JOIN executions_worker w ON w.id = r.worker
WHERE r.status = 'EXECUTING' AND (w.id IS NULL OR %(alive)s AND (
  w.dead_at < {_AGO} OR w.seen_at < {_NOW} - make_interval(secs => 2 * %(lease)s + %(grace)s)))
"""
STALE_WORKERS = f"""
SELECT id FROM executions_worker WHERE dead_at IS NULL AND %(alive)s
  AND seen_at < {_NOW} - make_interval(secs => 2 * %(lease)s + %(grace)s)
"""
# The claim of a gated run goes through its queue's row.
GATED = """
SELECT r.id FROM executions_run r WHERE r.status = 'QUEUED' AND r.is_gated
  AND NOT EXISTS (SELECT FROM executions_queue q WHERE q.name = r.queue AND q.is_gated)
"""
OVER_LIMIT = """
SELECT q.name || CASE WHEN r.key = '' THEN '' ELSE ' ' || r.key END
FROM executions_queue q JOIN (
  SELECT queue, coalesce(concurrency_key, '') AS key, count(*) AS n FROM executions_run
  WHERE status = 'EXECUTING' GROUP BY 1, 2) r ON r.queue = q.name
WHERE r.n > q.concurrency_limit
"""

# ---- waits --------------------------------------------------------------------------------------

# A wait that its code has given up stays open in the journal, so an outcome that came before the
# run parked proves nothing: the run looked, and nobody wanted it. One that came after must have
# woken the run.
_PARKED = """
(SELECT max(e.at) FROM executions_runevent e
 WHERE e.run_id = r.id AND e.type IN ('run.waiting', 'run.attempt_failed'))
"""
LOST_TOKENS = f"""
SELECT r.id FROM executions_run r JOIN executions_step s ON s.run_id = r.id
JOIN executions_waittoken t ON t.id = s.input ->> 'token'
WHERE r.status = 'WAITING' AND s.kind = 'wait' AND s.status = 'WAITING' AND t.status <> 'WAITING'
  AND coalesce(t.completed_at, t.timeout_at) BETWEEN {_PARKED} AND {_AGO}
  AND (t.completed_at IS NOT NULL OR %(alive)s)
"""
LOST_CHILDREN = f"""
SELECT r.id FROM executions_run r JOIN executions_step s ON s.run_id = r.id
WHERE r.status = 'WAITING' AND s.kind = 'children' AND s.status = 'WAITING' AND s.pending = 0
  AND (SELECT max(c.finished_at) FROM executions_run c
       WHERE c.parent_id = r.id AND c.parent_step = s.key) BETWEEN {_PARKED} AND {_AGO}
"""
LOST_SIGNALS = f"""
SELECT r.id FROM executions_run r JOIN executions_step s ON s.run_id = r.id
JOIN executions_signal g ON g.run_id = r.id AND g.name = s.input ->> 'signal'
WHERE r.status = 'WAITING' AND s.kind = 'signal' AND s.status = 'WAITING'
  AND g.consumed_by IS NULL AND g.created_at BETWEEN {_PARKED} AND {_AGO}
"""
LOST_CANCELS = f"""
SELECT r.id FROM executions_run r
WHERE r.status = 'WAITING' AND r.cancel_requested_at < {_AGO}
  AND NOT EXISTS (SELECT FROM executions_step s WHERE s.run_id = r.id AND s.kind = 'cancel')
"""
PENDING = """
SELECT s.run_id || ' ' || s.key FROM executions_step s JOIN executions_run r ON r.id = s.run_id
WHERE r.finished_at IS NULL AND s.kind = 'children' AND s.status = 'WAITING'
  AND s.pending <> (SELECT count(*) FROM executions_run c
                    WHERE c.parent_id = s.run_id AND c.parent_step = s.key
                      AND c.finished_at IS NULL)
"""
LATE_TIMERS = f"""
SELECT id FROM executions_run WHERE status IN ('DELAYED', 'WAITING') AND %(alive)s
  AND wake_at < {_NOW} - make_interval(secs => %(late)s)
"""
NO_TIMER = "SELECT id FROM executions_run WHERE status = 'DELAYED' AND wake_at IS NULL"
LATE_TOKENS = f"""
SELECT id FROM executions_waittoken WHERE status = 'WAITING' AND %(alive)s
  AND timeout_at < {_NOW} - make_interval(secs => %(late)s)
"""
TOKEN_SHAPES = """
SELECT id FROM executions_waittoken WHERE (status = 'COMPLETED') <> (completed_at IS NOT NULL)
"""
LEFT_WAITERS = f"""
SELECT w.run_id FROM executions_tokenwaiter w JOIN executions_waittoken t ON t.id = w.token_id
WHERE t.status <> 'WAITING' AND %(alive)s
  AND coalesce(t.completed_at, t.timeout_at) < {_NOW} - make_interval(secs => %(late)s)
"""
OPEN_TOKENS_OF_ENDED = """
SELECT t.id FROM executions_waittoken t JOIN executions_run r ON r.id = t.run_id
WHERE t.status = 'WAITING' AND r.finished_at IS NOT NULL
"""

# ---- ends ---------------------------------------------------------------------------------------

LEFT_CHILDREN = f"""
SELECT c.id FROM executions_run c JOIN executions_run p ON p.id = c.parent_id
WHERE c.finished_at IS NULL AND p.finished_at < {_AGO} AND (
  c.parent_close = 'TERMINATE'
  OR c.parent_close = 'REQUEST_CANCEL' AND c.cancel_requested_at IS NULL)
"""
NO_HOOK_RUN = """
SELECT r.id FROM executions_run r WHERE r.finished_at IS NOT NULL AND r.hook_run IS NOT NULL
  AND NOT EXISTS (SELECT FROM executions_run h WHERE h.id = r.hook_run)
"""
WRONG_KEYS = """
SELECT k.task || ' ' || k.key FROM executions_idempotencykey k
LEFT JOIN executions_run r ON r.id = k.run_id WHERE r.id IS NULL OR r.task <> k.task
"""
# Priority moves `due_at`; what counts is how long a run has been due without it.
LATE_RUNS = f"""
SELECT r.id FROM executions_run r LEFT JOIN executions_queue q ON q.name = r.queue
WHERE r.status = 'QUEUED' AND %(alive)s AND q.paused_at IS NULL AND q.concurrency_limit IS NULL
  AND r.due_at + make_interval(secs => r.priority) < {_NOW} - make_interval(secs => %(late)s)
"""
ATTENTION = "SELECT id FROM executions_run WHERE status = 'NEEDS_ATTENTION'"

# ---- the database -------------------------------------------------------------------------------

SETTINGS = """
SELECT name, setting FROM pg_settings WHERE name IN (
  'fsync', 'full_page_writes', 'synchronous_commit', 'autovacuum', 'default_transaction_isolation')
"""
INVALID_INDEXES = """
SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE c.relnamespace = current_schema()::regnamespace AND NOT (i.indisvalid AND i.indisready)
"""
INDEXES = "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()"
CONSTRAINTS = """
SELECT conname FROM pg_constraint
WHERE connamespace = current_schema()::regnamespace AND convalidated
"""
TRIGGERS = """
SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D'
"""
ALIVE = """
SELECT count(*) FILTER (
    WHERE dead_at IS NULL AND seen_at > flowmaestro_now() - make_interval(secs => %(lease)s)),
  count(*) FILTER (
    WHERE dead_at IS NULL AND seen_at > flowmaestro_now() - make_interval(secs => %(lease)s)
      AND started_at < flowmaestro_now() - make_interval(secs => 2 * %(lease)s + %(grace)s))
FROM executions_worker
"""
OPEN_RUNS = "SELECT id FROM executions_run WHERE status IN ('QUEUED', 'EXECUTING') LIMIT 1"
