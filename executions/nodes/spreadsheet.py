"""spreadsheetGeneration: write tables as an Excel workbook or CSV of the run."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from datetime import UTC, datetime
from typing import Any, Literal

import xlsxwriter
from pydantic import Field

from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, node
from executions.nodes.rows import number, table, value_of
from executions.nodes.stored import blocking, put_new, run_started, safe_name, with_ending
from executions.rules.comparisons import to_text

Json = Any
Sheet = tuple[str, list[str], list[list[Json]]]

MAX_ROWS = 100_000
MAX_COLUMNS = 1_000
MAX_SHEETS = 100
_MAX_CELL = 32_767
# Above, a double no longer holds every whole number.
_MAX_WHOLE = 2**53
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
# How a cell begins that a spreadsheet program may take for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class SpreadsheetConfig(NodeConfig):
    """The tables, and what becomes of them."""

    data: Json = Field(None, title="Data", description="A list of objects, or of rows")
    sheets: Json = Field(None, title="Sheets", description="A list of {name, data}")
    format: Literal["xlsx", "csv"] = Field("xlsx", title="Format")
    file_name: str = Field("spreadsheet", title="Name")
    sheet_name: str = Field("Sheet1", title="Sheet")
    columns: tuple[str, ...] = Field((), title="Columns", description="Empty means all")
    delimiter: str = Field(",", title="Delimiter", description="Of CSV", min_length=1, max_length=1)


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    for name in ("dataSource", "rows", "input", "inputData", "source"):
        if config.get("data") in (None, ""):
            config["data"] = config.get(name)
    kind = str(config.get("format") or config.get("outputFormat") or "").lower().lstrip(".")
    for name in ("filename", "outputFileName", "outputPath"):
        if config.get("fileName") in (None, "") and isinstance(config.get(name), str):
            config["fileName"] = config[name]
    named = str(config.get("fileName") or "").lower()
    config["format"] = "csv" if kind == "csv" or (not kind and named.endswith(".csv")) else "xlsx"
    columns = config.get("columns", config.get("headers"))
    items = columns if isinstance(columns, list) else []
    names = [
        item.get("key", item.get("field", item.get("header"))) if isinstance(item, dict) else item
        for item in items
    ]
    config["columns"] = [name for name in names if isinstance(name, str)]
    for name in ("fileName", "sheetName", "delimiter"):
        if not isinstance(config.get(name), str) or not config[name]:
            config.pop(name, None)
    return config


@node(
    "spreadsheetGeneration",
    synonyms=("spreadsheet", "spreadsheet-generation", "excel", "generateSpreadsheet"),
    title="Make a spreadsheet",
    config=SpreadsheetConfig,
    effect=Effect.WRITES_OUTSIDE,
    icon="table",
    dialect=_dialect,
)
async def spreadsheet(call: NodeCall[SpreadsheetConfig]) -> NodeResult:
    """Write tables as a spreadsheet and keep it with the run."""
    config = call.config
    sheets = _sheets(call)
    if config.format == "csv":
        if len(sheets) > 1:
            raise BadConfig("A CSV file has one table; use xlsx for several.", field="format")
        data = await blocking(_csv, sheets[0], config.delimiter)
        media_type = "text/csv"
    else:
        data, media_type = await blocking(_workbook, sheets, run_started()), _TYPE
    name = safe_name(call.render.text(config.file_name)) or "spreadsheet"
    kept = await put_new(with_ending(name, config.format), data, media_type=media_type)
    output = {
        **kept.as_json(),
        "format": config.format,
        "rowCount": sum(len(rows) for _, _, rows in sheets),
        "sheets": [
            {"name": sheet, "rows": len(rows), "columns": columns}
            for sheet, columns, rows in sheets
        ],
    }
    return NodeResult(output=call.wrap(output))


def _sheets(call: NodeCall[SpreadsheetConfig]) -> list[Sheet]:
    config = call.config
    given: list[tuple[str, Json]] = []
    sheets = value_of(call, config.sheets) if config.sheets not in (None, "") else None
    if isinstance(sheets, dict):
        given = list(sheets.items())
    elif isinstance(sheets, list):
        for place, each in enumerate(sheets):
            if not isinstance(each, dict):
                raise BadConfig("A sheet is an object with a name and data.", field="sheets")
            inner = each.get("data", each.get("rows", each.get("dataSource")))
            given.append((to_text(each.get("name") or f"Sheet{place + 1}"), inner))
    elif config.data not in (None, ""):
        given = [(call.render.text(config.sheet_name), value_of(call, config.data))]
    if not given:
        raise BadConfig("There is no data for the spreadsheet.", field="data")
    if len(given) > MAX_SHEETS:
        raise BadConfig(f"{len(given)} sheets are more than {MAX_SHEETS}.", field="sheets")
    taken: set[str] = set()
    return [
        (_sheet_name(name, taken), *_table(call, value_of(call, data), len(given)))
        for name, data in given
    ]


def _table(
    call: NodeCall[SpreadsheetConfig], data: Json, sheets: int
) -> tuple[list[str], list[list[Json]]]:
    columns, rows = table(data, field="data")
    wanted = call.config.columns
    if wanted and columns and sheets == 1:
        at = {column: place for place, column in enumerate(columns)}
        rows = [
            [row[at[name]] if name in at and at[name] < len(row) else None for name in wanted]
            for row in rows
        ]
        columns = list(wanted)
    elif wanted and not columns:
        columns = list(wanted)
    width = max([len(columns), *map(len, rows)])
    if len(rows) > MAX_ROWS or width > MAX_COLUMNS:
        raise BadConfig(
            f"The table has {len(rows):,} rows and {width:,} columns; {MAX_ROWS:,} and "
            f"{MAX_COLUMNS:,} may be.",
            field="data",
        )
    return columns, rows


def _sheet_name(name: str, taken: set[str]) -> str:
    """A name that Excel allows, and that no other sheet of the workbook has."""
    plain = re.sub(r"[\[\]:*?/\\\x00-\x1f]", " ", name).strip().strip("'")[:31] or "Sheet"
    if plain.lower() == "history":
        plain = "History_"
    base, copy = plain, 2
    while plain.lower() in taken:
        plain, copy = f"{base[:27]} {copy}", copy + 1
    taken.add(plain.lower())
    return plain


def _workbook(sheets: list[Sheet], date: int) -> bytes:
    target = io.BytesIO()
    # The same tables give the same bytes, also when they are written again after a crash.
    options = {"in_memory": True, "default_date_format": "yyyy-mm-dd"}
    with xlsxwriter.Workbook(target, options) as book:
        book.set_properties({"created": datetime.fromtimestamp(date, UTC).replace(tzinfo=None)})
        head = book.add_format(
            {"bold": True, "bg_color": "#E5E7EB", "bottom": 1, "valign": "vcenter"}
        )
        for name, columns, rows in sheets:
            page = book.add_worksheet(name)
            for place, column in enumerate(columns):
                page.write_string(0, place, column[:_MAX_CELL], head)
            first = 1 if columns else 0
            for line, row in enumerate(rows, first):
                for place, cell in enumerate(row):
                    _write(page, line, place, cell)
            for place, width in enumerate(_widths(columns, rows)):
                page.set_column(place, place, width)
            if columns:
                page.freeze_panes(1, 0)
                if rows:
                    page.autofilter(0, 0, len(rows), len(columns) - 1)
    return target.getvalue()


def _write(page: Any, line: int, place: int, cell: Json) -> None:
    if cell is None:
        return
    if isinstance(cell, bool):
        page.write_boolean(line, place, cell)
    elif isinstance(cell, int | float) and abs(cell) <= _MAX_WHOLE and math.isfinite(cell):
        page.write_number(line, place, cell)
    else:
        # Text stays text: nothing in it becomes a formula or a link.
        page.write_string(line, place, _text(cell)[:_MAX_CELL])


def _text(cell: Json) -> str:
    if isinstance(cell, dict | list):
        return json.dumps(cell, ensure_ascii=False)
    return "" if cell is None else to_text(cell)


def _widths(columns: list[str], rows: list[list[Json]]) -> list[int]:
    count = max([len(columns), *map(len, rows)])
    widths = [len(column) + 4 for column in columns] + [8] * (count - len(columns))
    for row in rows[:200]:
        for place, cell in enumerate(row):
            widths[place] = max(widths[place], len(_text(cell)[:60]) + 2)
    return [min(60, max(8, width)) for width in widths]


def _csv(sheet: Sheet, delimiter: str) -> bytes:
    _, columns, rows = sheet
    target = io.StringIO(newline="")
    writer = csv.writer(target, delimiter=delimiter, lineterminator="\r\n")
    if columns:
        writer.writerow([_harmless(column) for column in columns])
    writer.writerows([[_harmless(cell) for cell in row] for row in rows])
    # Excel takes a file without this mark for one in the local encoding.
    return b"\xef\xbb\xbf" + target.getvalue().encode("utf-8", "replace")


def _harmless(cell: Json) -> str:
    """The cell's text; one that a program would take for a formula begins with an apostrophe."""
    text = _text(cell)
    if isinstance(cell, str) and text.startswith(_FORMULA) and number(text) is None:
        return "'" + text
    return text
