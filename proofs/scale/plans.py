"""How PostgreSQL carries out a statement: which tables it reads from end to end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.db import connection
from django.db.backends.utils import CursorWrapper


def generic_plan(statement: str, types: str, values: str) -> dict[str, Any]:
    """The plan of one of the engine's statements, as its connections make it, once for all values.

    The statement is carried out and rolled back.
    """
    numbers = iter(range(1, 100))
    text = re.sub("%s", lambda _: f"${next(numbers)}", statement)
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            cursor.execute(
                "SET LOCAL plan_cache_mode = force_generic_plan;"
                "SET LOCAL enable_seqscan = off; SET LOCAL jit = off"
            )
            cursor.execute(f"PREPARE proof ({types}) AS {text}")
            return _explain(cursor, f"EXECUTE proof ({values})")
        finally:
            cursor.execute("ROLLBACK; DEALLOCATE ALL")


def plan(statement: str) -> dict[str, Any]:
    """The plan of a statement that only reads, with its values in it."""
    with connection.cursor() as cursor:
        return _explain(cursor, statement)


def _explain(cursor: CursorWrapper, statement: str) -> dict[str, Any]:
    cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}")
    found: dict[str, Any] = cursor.fetchone()[0][0]
    return found


def nodes(explained: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a plan."""
    waiting = [explained["Plan"]]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.get("Plans", ())


def scanned(explained: dict[str, Any]) -> set[str]:
    """The tables that it reads from end to end."""
    return {
        node["Relation Name"]
        for node in nodes(explained)
        if node["Node Type"] in ("Seq Scan", "Parallel Seq Scan")
    }


def _rows(node: dict[str, Any]) -> float:
    looked_at = node.get("Actual Rows", 0) + node.get("Rows Removed by Filter", 0)
    return float(looked_at * node.get("Actual Loops", 1))


def indexes(explained: dict[str, Any]) -> list[str]:
    """The indexes that it uses."""
    return sorted({node["Index Name"] for node in nodes(explained) if "Index Name" in node})


def touched(explained: dict[str, Any]) -> int:
    """Rows read at the bottom of the plan, whether they were wanted or not."""
    return int(max(_rows(node) for node in nodes(explained) if "Plans" not in node))
