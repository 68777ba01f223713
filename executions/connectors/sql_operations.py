"""The operations of a database node, and the statements that they become."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from executions.connectors import CallRefused, Operation
from executions.rules.comparisons import to_number, to_text
from executions.rules.sql_text import Sql, Statement, rendered_text, statement

Json = Any

Rows = list[dict[str, Json]]
MAX_INSERTED = 1_000
_COMPARISONS = {
    "=": "=", "==": "=", "!=": "<>", "<>": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">=",
    "eq": "=", "ne": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">=", "like": "LIKE",
    "ilike": "ILIKE",
}  # fmt: skip
_DIRECTIONS = {"asc": "ASC", "desc": "DESC"}

_TABLE = {"type": "string", "description": "A table, or schema.table"}
_ROW = {"type": "object", "description": "Values by column"}
_WHERE = {
    "type": ["object", "string"],
    "description": "Values by column, or SQL with $1, $2, … for `whereParameters`",
}
_RETURNING = {"type": ["array", "string"], "items": {"type": "string"}}
_QUERY = {
    "query": {"type": "string", "description": "SQL; {{…}} in it become parameters"},
    "parameters": {"type": ["array", "object"], "description": "For $1, %s, or :name"},
    "limit": {"type": "integer", "minimum": 1, "maximum": 10_000},
    "returnFormat": {"enum": ["array", "single", "count"]},
}


def _operation(
    name: str, title: str, properties: dict[str, Json], *required: str
) -> tuple[str, Operation]:
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return name, Operation(name=name, title=title, parameters=schema)


OPERATIONS: Mapping[str, Operation] = dict(
    (
        _operation("query", "Run SQL and go on with its rows", _QUERY, "query"),
        _operation("execute", "Run SQL and go on with how many rows it changed", _QUERY, "query"),
        _operation(
            "select", "Read rows of a table",
            {
                **_QUERY, "table": _TABLE, "columns": _RETURNING, "where": _WHERE,
                "orderBy": {"type": ["string", "object", "array"]}, "offset": {"type": "integer"},
            },
        ),
        _operation(
            "insert", "Add rows to a table",
            {"table": _TABLE, "data": {"type": ["object", "array"]}, "returning": _RETURNING},
            "table", "data",
        ),
        _operation(
            "update", "Change rows of a table",
            {"table": _TABLE, "data": _ROW, "where": _WHERE, "whereParameters": {"type": "array"},
             "returning": _RETURNING},
            "table", "data", "where",
        ),
        _operation(
            "delete", "Remove rows of a table",
            {"table": _TABLE, "where": _WHERE, "whereParameters": {"type": "array"},
             "returning": _RETURNING},
            "table", "where",
        ),
        _operation("listTables", "List the tables", {"schema": {"type": "string"}}),
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A statement, how many rows are wanted, and what its rows and their count come to."""

    statement: Statement
    limit: int | None
    data: Callable[[Rows, int], Json]


def call_of(operation: str, given: Mapping[str, Json]) -> Call:
    """The call of an operation with these parameters. Raises CallRefused or BadSql."""
    written = _first(given, "query", "sql", "statement")
    if written is not None and operation != "listTables":
        sql = written if isinstance(written, Sql) else rendered_text(to_text(written))
        values = _first(given, "parameters", "params", "queryParameters", "values")
        found = statement(sql, values)
    elif operation in ("query", "execute"):
        raise CallRefused(f"{operation} needs SQL in `query`.", field="query")
    else:
        found = _BUILDERS[operation](given)
    verb = operation if written is None else ""
    return Call(statement=found, limit=_limit(given), data=_shape(operation, verb, given))


def _shape(operation: str, verb: str, given: Mapping[str, Json]) -> Callable[[Rows, int], Json]:
    counted = {"insert": "inserted", "update": "updated", "delete": "deleted"}.get(verb)
    kind = given.get("returnFormat", "array")

    def shape(rows: Rows, count: int) -> Json:
        if counted is not None:
            changed: dict[str, Json] = {counted: count, "rowCount": count}
            return {**changed, "returning": rows} if given.get("returning") else changed
        if operation == "execute":
            return {"rowCount": count, **({"rows": rows} if rows else {})}
        if kind == "single":
            return {"result": rows[0] if rows else None, "rowCount": count}
        if kind == "count":
            return {"result": count, "rowCount": count}
        return {"result": rows, "rows": rows, "rowCount": count}

    return shape


def _first(given: Mapping[str, Json], *names: str) -> Json:
    return next((given[name] for name in names if given.get(name) not in (None, "")), None)


def _limit(given: Mapping[str, Json]) -> int | None:
    value = given.get("limit")
    if value in (None, ""):
        return None
    number = to_number(value)
    if not 1 <= number <= 10_000 or number != int(number):
        raise CallRefused("limit is a whole number from 1 to 10,000.", field="limit")
    return int(number)


# ---- statements over a table --------------------------------------------------------------------


def _select(given: Mapping[str, Json]) -> Statement:
    columns = _columns(given.get("columns")) or "*"
    where, values = _where(given, [], is_required=False)
    text = f"SELECT {columns} FROM {_table(given)}{where}{_order(given.get('orderBy'))}"
    limit, offset = _limit(given), to_number(given.get("offset") or 0)
    if limit is not None:
        text += f" LIMIT {limit}"
    if offset > 0:
        text += f" OFFSET {int(offset)}"
    return Statement(text=text, values=tuple(values), gives_rows=True, verb="select")


def _insert(given: Mapping[str, Json]) -> Statement:
    data = _first(given, "data", "values", "record", "records", "rows")
    rows = data if isinstance(data, list) else [data]
    if not rows or not all(isinstance(row, Mapping) and row for row in rows):
        raise CallRefused("insert needs `data`: values by column, or a list of them.", field="data")
    if len(rows) > MAX_INSERTED:
        raise CallRefused(f"insert takes at most {MAX_INSERTED:,} rows at once.", field="data")
    names = list(dict.fromkeys(str(key) for row in rows for key in row))
    values: list[Json] = []
    groups = []
    for row in rows:
        places = []
        for name in names:
            if name in row:
                values.append(row[name])
                places.append(f"${len(values)}")
            else:
                places.append("DEFAULT")
        groups.append(f"({', '.join(places)})")
    listed = ", ".join(quoted(name) for name in names)
    text = f"INSERT INTO {_table(given)} ({listed}) VALUES {', '.join(groups)}"
    return _changing(text, values, given, "insert")


def _update(given: Mapping[str, Json]) -> Statement:
    data = _first(given, "data", "set", "values")
    if not isinstance(data, Mapping) or not data:
        raise CallRefused("update needs `data`: the new values by column.", field="data")
    values = list(data.values())
    sets = ", ".join(f"{quoted(str(name))} = ${n}" for n, name in enumerate(data, 1))
    where, values = _where(given, values, is_required=True)
    return _changing(f"UPDATE {_table(given)} SET {sets}{where}", values, given, "update")


def _delete(given: Mapping[str, Json]) -> Statement:
    where, values = _where(given, [], is_required=True)
    return _changing(f"DELETE FROM {_table(given)}{where}", values, given, "delete")


def _list_tables(given: Mapping[str, Json]) -> Statement:
    return Statement(
        text="SELECT table_schema AS schema, table_name AS name, table_type AS type "
        "FROM information_schema.tables WHERE table_schema = $1 ORDER BY table_name",
        values=(to_text(given.get("schema") or "public"),),
        gives_rows=True,
        verb="select",
    )


_BUILDERS: dict[str, Callable[[Mapping[str, Json]], Statement]] = {
    "select": _select, "insert": _insert, "update": _update, "delete": _delete,
    "listTables": _list_tables,
}  # fmt: skip


def _changing(text: str, values: list[Json], given: Mapping[str, Json], verb: str) -> Statement:
    returning = _columns(given.get("returning"))
    if returning:
        text += f" RETURNING {returning}"
    return Statement(text=text, values=tuple(values), gives_rows=bool(returning), verb=verb)


def quoted(name: str) -> str:
    """A name as PostgreSQL takes any name."""
    if not name or "\0" in name or len(name) > 200:
        raise CallRefused(f"{name[:50]!r} is no name of a column or table.")
    return '"' + name.replace('"', '""') + '"'


def _table(given: Mapping[str, Json]) -> str:
    name = _first(given, "table", "tableName")
    if not isinstance(name, str):
        raise CallRefused("The name of the table is missing; fill in `table`.", field="table")
    return ".".join(quoted(part) for part in name.strip().split(".", 1))


def _columns(given: Json) -> str:
    if given in (None, "", []):
        return ""
    names = given if isinstance(given, list) else to_text(given).split(",")
    listed = [to_text(name).strip() for name in names]
    return ", ".join("*" if name == "*" else quoted(name) for name in listed)


def _order(given: Json) -> str:
    if given in (None, "", [], {}):
        return ""
    if isinstance(given, Mapping):
        pairs = [(str(name), to_text(way)) for name, way in given.items()]
    else:
        texts = given if isinstance(given, list) else to_text(given).split(",")
        pairs = [
            (name, way or "asc")
            for name, _, way in (to_text(text).strip().partition(" ") for text in texts)
        ]
    parts = []
    for name, way in pairs:
        direction = _DIRECTIONS.get(way.strip().lower())
        if direction is None:
            raise CallRefused(f"orderBy goes asc or desc, not {way[:20]!r}.", field="orderBy")
        parts.append(f"{quoted(name)} {direction}")
    return " ORDER BY " + ", ".join(parts)


def _where(
    given: Mapping[str, Json], values: list[Json], *, is_required: bool
) -> tuple[str, list[Json]]:
    """The condition, and all values up to its own."""
    where = _first(given, "where", "filter", "conditions")
    if isinstance(where, Sql | str):
        sql = where if isinstance(where, Sql) else rendered_text(where)
        own = _first(given, "whereParameters", "parameters", "params")
        found = statement(sql, own, before=values)
        return f" WHERE {found.text}", list(found.values)
    if not isinstance(where, Mapping) or not where:
        if is_required:
            raise CallRefused(
                "`where` is missing: without it every row would change. Give true as SQL if that "
                "is meant.",
                field="where",
            )
        return "", values
    parts: list[str] = []
    for name, wanted in where.items():
        pairs = wanted.items() if isinstance(wanted, Mapping) else [("=", wanted)]
        for sign, value in pairs:
            parts.append(_condition(quoted(str(name)), str(sign).lower(), value, values))
    return " WHERE " + " AND ".join(parts), values


def _condition(name: str, sign: str, value: Json, values: list[Json]) -> str:
    comparison = _COMPARISONS.get(sign)
    if value is None and comparison in ("=", "<>"):
        return f"{name} IS {'NOT ' if comparison == '<>' else ''}NULL"
    if isinstance(value, list) and (sign == "in" or comparison == "="):
        values.append(value)
        return f"{name} = ANY(${len(values)})"
    if comparison is None:
        raise CallRefused(
            f"{sign[:20]!r} is no comparison; there are {', '.join(_COMPARISONS)} and in.",
            field="where",
        )
    values.append(value)
    return f"{name} {comparison} ${len(values)}"
