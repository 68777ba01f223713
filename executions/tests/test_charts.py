"""Tests of drawing: the pictures are opened again."""

from __future__ import annotations

import asyncio
import io
import json
import struct
from xml.etree import ElementTree

import pytest
from PIL import Image

from executions import documents
from executions.sandbox.charts import _SAMPLE


def drawn(**asked) -> bytes:
    data = json.dumps(_SAMPLE | asked).encode()
    return asyncio.run(documents.work("charts", {"operation": "chart"}, data, seconds=20))[1]


@pytest.mark.parametrize("kind", ["bar", "line", "area", "scatter", "pie", "doughnut", "histogram"])
def test_each_kind_is_drawn_in_the_size_asked_for(kind):
    data = drawn(type=kind, width=640, height=360)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (640, 360)
    colors = Image.open(io.BytesIO(data)).convert("RGB").getcolors(100_000) or []
    assert len(colors) > 10
    if kind in ("bar", "line", "pie", "doughnut"):
        assert (37, 99, 235) in {color for _, color in colors}


def test_an_svg_is_xml_with_the_texts_in_it():
    root = ElementTree.fromstring(drawn(format="svg", title="Größe <b> $x^2$ & more"))
    texts = ["".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Größe <b> $x^2$ & more", "a", "b", "s", "t"} <= set(texts)
    assert root.get("width") == "216pt"


def test_the_same_chart_gives_the_same_bytes():
    for kind in ("png", "svg"):
        assert drawn(format=kind) == drawn(format=kind)


@pytest.mark.parametrize(
    "asked",
    [
        {"stacked": True},
        {"horizontal": True},
        {"horizontal": True, "stacked": True},
        {"dark": True, "colors": ["#ff0000", "no colour", "green"]},
        {"type": "area", "stacked": True},
        {"type": "line", "xs": [1.5, 2.5]},
        {"labels": [f"a long label {n}" for n in range(500)],
         "series": [{"name": "s", "values": [float(n) for n in range(500)]}]},
        {"series": [{"name": "_hidden", "values": [1e300, -1e300]}]},
        {"series": [{"name": "漢字", "values": [None, None]}], "title": "漢字 \ue000"},
        {"labels": ["$\\frac{", "}$"]},
    ],
)  # fmt: skip
def test_odd_charts_are_drawn(asked):
    assert drawn(**asked)[:4] == b"\x89PNG"


def test_a_pie_of_nothing_is_refused():
    with pytest.raises(documents.BadDocument, match="above zero"):
        drawn(type="pie", series=[{"name": "s", "values": [0.0, 0.0]}])
