"""Statements of the hot path on Django's own connection, in the caller's transaction."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from django.db import connection

# Connections that plan a prepared statement once and for all.
_generic: weakref.WeakSet[psycopg.Connection[Any]] = weakref.WeakSet()


def execute(statement: str, parameters: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The rows of a statement that a lasting connection plans once.

    Django binds on the client, so that each call would be planned anew: longer than it runs.
    """
    connection.validate_no_broken_transaction()
    connection.ensure_connection()
    raw: psycopg.Connection[Any] = connection.connection
    with connection.wrap_database_errors, psycopg.Cursor(raw) as cursor:
        if raw not in _generic:
            cursor.execute("SET plan_cache_mode = force_generic_plan", prepare=False)
            # Django switches preparing off. A connection that lives for one request gains nothing
            # by it; one that stays does from the fifth time on.
            raw.prepare_threshold = 5
            _generic.add(raw)
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []
