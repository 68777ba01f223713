"""Tests of charts, spreadsheets and PDFs that nodes make: each is opened again."""

from __future__ import annotations

import asyncio
import csv
import io
import struct
import time
from xml.etree import ElementTree

import openpyxl
import pypdf
import pytest

from executions import files
from executions.engine import failpoints
from executions.nodes.pdf_generation import _pictures
from executions.nodes.rows import number, table
from executions.tests.flows import flow
from executions.tests.nodes.running import one, ran, refusal

SALES = [
    {"month": "Jan", "north": 3, "south": "1,204.5"},
    {"month": "Feb", "north": 5, "south": "n/a"},
]


def content(run_id: str, found) -> bytes:
    kept, data = files.read(run_id, found["path"])
    assert kept.sha256 == found["sha256"] and kept.size == found["size"] == len(data)
    return data


# ---- charts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["data", "dataSource", "inputData"])
def test_objects_become_a_chart_of_their_numbers(key, engine):
    config = {key: "{{sales}}", "chartType": "bar", "title": "{{t}}", "outputVariable": "c"}
    run_id, found = one(engine, "chart", config, sales=SALES, t="Sales")
    found = found["c"]
    assert (found["name"], found["mediaType"], found["dataPoints"]) == ("chart.png", "image/png", 2)
    data = content(run_id, found)
    assert struct.unpack(">II", data[16:24]) == (800, 500)


@pytest.mark.parametrize(
    ("config", "texts"),
    [
        ({"data": SALES, "xField": "month", "yFields": ["north", "south"]},
         {"Jan", "Feb", "north", "south"}),
        ({"data": '[{"k": "a", "v": {{n}}}, {"k": "b", "v": 2}]'}, {"a", "b"}),
        ({"data": {"labels": ["p", "q"], "datasets": [
            {"label": "s", "data": [1, 2]}, {"label": "t", "data": [3]}]}}, {"p", "q", "s", "t"}),
        ({"data": {"labels": ["p", "q"], "values": [1, 2]}, "type": "pie"}, {"p", "q"}),
        ({"data": {"tea": 3, "milk": 4}, "chartType": "doughnut"}, {"tea", "milk"}),
        ({"data": {"rows": [["k", "v"], ["u", 1], ["w", 2]]}}, {"u", "w"}),
        ({"data": [[1, 2], [3, 4]], "chartType": "scatter"}, set()),
        ({"data": [3, 1, 2], "chartType": "line"}, {"1", "2", "3"}),
        ({"data": SALES, "chartType": "horizontal-bar", "xAxis": {"field": "month", "label": "m"},
          "yAxis": {"field": "north", "label": "n"}}, {"Jan", "m", "n"}),
        ({"data": "sales", "chartType": "area"}, {"Jan", "Feb"}),
    ],
)  # fmt: skip
def test_charts_are_drawn_from_every_shape_of_data(config, texts, engine):
    run_id, found = one(engine, "chartGeneration", {**config, "format": "svg"}, n=1, sales=SALES)
    root = ElementTree.fromstring(content(run_id, found))
    drawn = {"".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")}
    assert texts <= drawn
    assert (found["format"], found["mediaType"]) == ("svg", "image/svg+xml")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"data": "{{nothing}}"}, "no table"),
        ({"data": []}, "nothing to draw|no column of numbers"),
        ({"data": [{"a": "x"}]}, "no column of numbers"),
        ({"data": SALES, "yField": "west"}, "no column 'west'"),
        ({"data": [{"v": 1}] * 30_000}, "too many"),
    ],
)
def test_data_that_is_no_chart_is_refused(config, message, engine):
    said = refusal(engine, "chart", config)
    assert any(part in said for part in message.split("|"))


# ---- spreadsheets -------------------------------------------------------------------------------

HOSTILE = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", '=HYPERLINK("http://x")', "http://x", "\t=1"]


def test_a_workbook_has_its_tables_and_no_formula(engine):
    rows = [{"text": text, "n": 1.5, "yes": True, "none": None} for text in HOSTILE]
    config = {
        "sheets": [
            {"name": "A/B: 1", "data": "{{rows}}"},
            {"name": "a b  1", "data": [["x"], [2]]},
        ],
        "fileName": "report",
    }
    run_id, found = one(engine, "spreadsheet", config, rows=rows)
    book = openpyxl.load_workbook(io.BytesIO(content(run_id, found)))
    assert found["name"] == "report.xlsx"
    assert found["rowCount"] == len(HOSTILE) + 1
    assert len(set(book.sheetnames)) == 2
    sheet = book.worksheets[0]
    assert [cell.value for cell in sheet[1]] == ["text", "n", "yes", "none"]
    assert sheet["A1"].font.bold and sheet.freeze_panes == "A2"
    assert [cell.value for cell in sheet["A"][1:]] == HOSTILE
    assert {cell.data_type for cell in sheet["A"][1:]} == {"s"}
    assert all(cell.hyperlink is None for cell in sheet["A"])
    assert [cell.value for cell in sheet[2]][1:] == [1.5, True, None]


def test_a_csv_has_its_table_and_no_formula(engine):
    rows = [{"text": text, "n": -1} for text in [*HOSTILE, "-5", 'a "b", c']]
    config = {"data": "{{rows}}", "fileName": "t.csv", "outputVariable": "s"}
    run_id, found = one(engine, "spreadsheetGeneration", config, rows=rows)
    data = content(run_id, found["s"])
    assert data[:3] == b"\xef\xbb\xbf"
    read = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    assert read[0] == ["text", "n"]
    assert [row[0] for row in read[1:]] == [
        *("'" + text if text != "http://x" else text for text in HOSTILE), "-5", 'a "b", c',
    ]  # fmt: skip
    assert {row[1] for row in read[1:]} == {"-1"}


def test_numbers_that_a_cell_cannot_hold_stay_text(engine):
    run_id, found = one(engine, "excel", {"data": [{"id": 12345678901234567890, "o": {"a": 1}}]})
    sheet = openpyxl.load_workbook(io.BytesIO(content(run_id, found))).active
    assert [cell.value for cell in sheet[2]] == ["12345678901234567890", '{"a": 1}']


def test_columns_are_chosen_and_ordered(engine):
    config = {"data": SALES, "columns": ["north", {"key": "month"}, "west"]}
    _, found = one(engine, "spreadsheet", config)
    assert found["sheets"][0]["columns"] == ["north", "month", "west"]


def test_data_that_is_no_table_is_refused(engine):
    assert "no data" in refusal(engine, "spreadsheet", {})
    assert "no table" in refusal(engine, "spreadsheet", {"data": "just text"})
    assert "may be" in refusal(engine, "spreadsheet", {"data": [[1]] * 100_001})


# ---- PDF ----------------------------------------------------------------------------------------


def test_a_report_with_a_chart_is_printed_and_read_again(engine):
    run_id, result = ran(
        engine,
        {
            "c": ("chart", {"data": SALES, "fileName": "sales"}),
            "p": ("pdf", {"markdown": "# Größe {{n}}\n\n![sales](sales.png)", "fileName": "r",
                          "title": "Report", "options": {"format": "Letter"}}),
            "x": ("pdfExtract", {"file": "{{p}}", "outputVariable": "doc"}),
            "pages": ("pdfExtract", {"path": "r.pdf", "pages": "2-3", "extractMetadata": False}),
        },
        "c>p", "p>x", "x>pages", n=7,
    )  # fmt: skip
    nodes = result["nodes"]
    printed = nodes["p"]["output"]
    assert (printed["path"], printed["pageCount"]) == ("r.pdf", 1)
    reader = pypdf.PdfReader(io.BytesIO(content(run_id, printed)))
    assert len(reader.pages[0].images) == 1
    assert float(reader.pages[0].mediabox[2]) == 612
    document = nodes["x"]["output"]["doc"]
    assert document["text"] == "Größe 7"
    assert document["pages"] == [{"page": 1, "text": "Größe 7"}]
    assert document["metadata"]["title"] == "Report"
    assert document["file"] == {key: printed[key] for key in document["file"]}
    assert nodes["pages"]["output"]["pages"] == []


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"content": "<h1>A</h1><p>b</p>"}, "A b"),
        ({"html": "<p>{{v}}</p>"}, "<i>x</i> & y"),
        ({"content": "# not a heading", "format": "text"}, "# not a heading"),
        ({"template": "**{{v}}**"}, "<i>x</i> & y"),
    ],
)
def test_the_format_of_a_text_is_found_out(config, text, engine):
    run_id, found = one(engine, "pdfGeneration", config, v="<i>x</i> & y")
    page = pypdf.PdfReader(io.BytesIO(content(run_id, found))).pages[0]
    expected = text if "html" not in config else "x & y"
    assert " ".join(page.extract_text().split()) == expected


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("pdf", {"content": "# a"}),
        ("spreadsheet", {"data": SALES}),
        ("chart", {"data": SALES}),
        ("chart", {"data": SALES, "format": "svg"}),
        ("fileWrite", {"path": "a.txt", "content": "x", "overwrite": False}),
        ("files", {"inputName": "docs", "chunkSize": 100}),
    ],
)
def test_an_attempt_whose_end_was_lost_is_made_again_with_the_same_file(kind, config, engine):
    payload = {
        "workflowDefinition": flow({"n": (kind, {**config, "retry": 2})}),
        "inputs": {"docs": [{"name": "a.txt", "text": "x"}]},
    }
    failpoints.arm("step.after_body", action="error")
    try:
        run_id = engine.trigger("orchestrator", payload).id
        engine.run_until_idle(seconds=60)
        first = files.list_files(run_id)
    finally:
        failpoints.disarm()
    assert len(first) == 1
    entry = engine.result(run_id, timeout=60)["nodes"]["n"]
    assert (entry["status"], entry["attempts"]) == ("completed", 2)
    assert files.list_files(run_id) == first


def test_a_pdf_that_is_none_is_refused(engine):
    assert "broken" in refusal(engine, "pdfExtract", {"file": {"text": "not a PDF"}})
    assert "no range" in refusal(
        engine, "pdfExtract", {"file": "{{f}}", "pages": "x"}, f={"text": "x"}
    )
    assert "unknown name" in refusal(engine, "pdfExtract", {"inputVariable": "nothing"})


@pytest.mark.parametrize("text", ["<img " * 200_000, "![" * 500_000, "<img src=" * 100_000])
def test_pictures_are_looked_for_in_time(text):
    begun = time.monotonic()
    assert asyncio.run(_pictures(text)) == {}
    assert time.monotonic() - begun < 5


# ---- tables -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "columns", "rows"),
    [
        ([{"a": 1}, {"b": 2}], ["a", "b"], [[1, None], [None, 2]]),
        ([["a", "b"], [1, 2]], ["a", "b"], [[1, 2]]),
        ([[1, 2], [3]], [], [[1, 2], [3]]),
        ([1, "x"], ["value"], [[1], ["x"]]),
        ({"a": [1, 2], "b": [3]}, ["a", "b"], [[1, 3], [2, None]]),
        ({"x": 1, "y": 2}, ["name", "value"], [["x", 1], ["y", 2]]),
        ({"items": [{"a": 1}]}, ["a"], [[1]]),
        ([], [], []),
    ],
)
def test_tables_are_made_of_every_shape(data, columns, rows):
    assert table(data, field="data") == (columns, rows)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (1, 1.0), ("1,234.5", 1234.5), ("12 %", 12.0), ("$3", 3.0), ("-.5", -0.5), ("1e3", 1000.0),
        (True, None), ("", None), ("x", None), ("nan", None), ("inf", None), (None, None),
        (float("inf"), None), (10**400, None), ([1], None),
    ],
)  # fmt: skip
def test_numbers_are_found_in_cells(cell, expected):
    assert number(cell) == expected
