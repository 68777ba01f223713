"""One look at a cluster under load: its memory, its connections, its tables, how fast it claims."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection

from benchmarks import usage
from executions.models import Run
from proofs.ground import Cluster
from proofs.soak.growth import Sample

FEW_ROWS = 1000
SMALL = 4 * 2**20
"""A table with few rows has no size per row to speak of, unless it is larger than this."""
_TABLES = """
SELECT relname, pg_total_relation_size(relid), n_live_tup, n_dead_tup
FROM pg_stat_user_tables WHERE relname LIKE 'executions\\_%'
"""
_CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
_CLAIMS = """
SELECT percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (
  ORDER BY extract(epoch FROM started_at - created_at)) FROM executions_run
WHERE id = ANY(%s) AND started_at IS NOT NULL
"""


def take(cluster: Cluster, at: float, fresh: Sequence[str]) -> Sample:
    """The figures of this moment; `fresh` are runs triggered a short while ago."""
    cluster.check()
    figures = {
        "memory: engine": usage.memory(cluster.engine()).shared_fairly,
        "memory: database": usage.memory(cluster.database()).private,
        "open runs": float(Run.objects.filter(finished_at=None).count()),
    }
    for pid in cluster.workers():
        figures[f"memory: worker {pid}"] = usage.memory([pid]).private
    with connection.cursor() as cursor:
        cursor.execute(_CONNECTIONS)
        figures["connections"] = float(cursor.fetchone()[0])
        cursor.execute(_TABLES)
        for table, size, live, dead in cursor.fetchall():
            name = table.removeprefix("executions_")
            if live >= FEW_ROWS or size > SMALL:
                figures[f"bloat: {name}"] = size / max(live, FEW_ROWS)
            if live + dead >= FEW_ROWS:
                figures[f"dead rows: {name}"] = dead / (live + dead)
        if fresh:
            cursor.execute(_CLAIMS, [list(fresh)])
            found = cursor.fetchone()[0]
            if found:
                figures["claim: p50"], figures["claim: p95"] = (1000 * part for part in found)
    return Sample(at=at, figures=figures)
