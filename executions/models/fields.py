"""Columns of the engine's tables that Django has no field for."""

from __future__ import annotations

import json
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.types.json import Json


class IdField(models.TextField):
    """A TypeID column: text that compares byte by byte, so that order is creation order."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("db_collation", "C")
        super().__init__(**options)


class OrderedJSONField(models.JSONField):
    """A `json` column: what comes out has its keys in the order in which they went in.

    `jsonb` sorts them, so that a replay would see another order than the first time did, and a
    workflow would lose the order of its nodes.
    """

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        """PostgreSQL's json, which keeps the text."""
        return "json"

    def select_format(self, compiler: Any, sql: str, params: Any) -> tuple[str, Any]:
        """Read as text: psycopg would turn json into values before Django's decoder sees it."""
        return f"{sql}::text", params

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Any:
        """The value of the text."""
        return None if value is None else json.loads(value, cls=self.decoder)

    def get_db_prep_value(
        self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> Any:
        """The value as PostgreSQL's json."""
        if value is None or hasattr(value, "as_sql"):
            return value
        return Json(value, dumps=lambda item: json.dumps(item, cls=self.encoder))
