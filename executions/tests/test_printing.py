"""Tests of printing: the PDF is read again."""

from __future__ import annotations

import asyncio
import base64
import io

import pypdf
import pytest
from PIL import Image

from executions import documents

PLAIN = {
    "operation": "pdf", "title": "T", "date": 1_700_000_000, "numbered": False, "images": {},
    "size": "a4", "orientation": "portrait",
}  # fmt: skip


def printed(text: str, kind: str, **asked) -> bytes:
    request = {**PLAIN, "format": kind, **asked}
    return asyncio.run(documents.work("printing", request, text.encode(), seconds=20))[1]


def text_of(data: bytes) -> str:
    reader = pypdf.PdfReader(io.BytesIO(data))
    return "\n".join(page.extract_text() for page in reader.pages)


@pytest.mark.parametrize("kind", ["text", "markdown", "html"])
def test_letters_of_many_alphabets_come_back(kind):
    found = text_of(printed("Größe ✓ Привет Ελλάδα €", kind))
    assert found.split() == ["Größe", "✓", "Привет", "Ελλάδα", "€"]


def test_markdown_is_laid_out():
    source = (
        "# Report\n\nSome **bold**, *slanted* and `code`.\n\n- one\n- two\n\n"
        "| Name | Sum |\n|---|--:|\n| Ann | 12 |\n\n> said\n\n```\nx = 1\n```\n\n<b>raw</b>"
    )
    data = printed(source, "markdown")
    words = text_of(data).split()
    for word in ("Report", "bold,", "one", "Ann", "12", "said", "x", "<b>raw</b>"):
        assert word in words
    fonts = pypdf.PdfReader(io.BytesIO(data)).pages[0]["/Resources"]["/Font"]
    assert len(fonts) >= 4


def test_the_same_request_gives_the_same_bytes():
    assert printed("# a", "markdown") == printed("# a", "markdown")


def test_a_page_may_be_turned_sized_and_numbered():
    data = printed("word\n" * 200, "text", size="a5", orientation="landscape", numbered=True)
    reader = pypdf.PdfReader(io.BytesIO(data))
    assert [round(float(side)) for side in reader.pages[0].mediabox[2:]] == [595, 420]
    assert len(reader.pages) > 3
    assert reader.pages[1].extract_text().split()[-1] == "2"
    assert reader.metadata.title == "T"


def test_pictures_of_the_request_are_printed_and_others_are_not():
    target = io.BytesIO()
    Image.new("RGB", (40, 20), "red").save(target, "PNG")
    images = {"chart.png": base64.b64encode(target.getvalue()).decode()}
    source = "![my chart](chart.png)\n\n![secret](/etc/passwd)\n\n![far](http://127.0.0.1:1/x.png)"
    data = printed(source, "markdown", images=images)
    page = pypdf.PdfReader(io.BytesIO(data)).pages[0]
    assert [image.image.size for image in page.images] == [(40, 20)]
    assert page.extract_text().split() == ["secret", "far"]


@pytest.mark.parametrize(
    "page",
    [
        "<script>alert(1)</script><p>ok",
        "<style>p{}</style><p onclick='x()' style='background:url(http://127.0.0.1:1)'>ok</p>",
        "<table><tr><td><table><tr><td>ok</table></table>",
        "<li>ok</li></ul></ol></p>",
        "<p><b><i>ok</p></b>",
        "<a href='file:///etc/passwd'>ok</a>",
        "<td>ok</td>",
        "<font color='x' face='nowhere'>ok</font>",
        "<img src='x' alt='ok'>",
        "<h1><ul><li><p>ok</p></li></ul></h1>",
    ],
)
def test_odd_html_is_printed_or_refused_with_a_sentence(page):
    try:
        data = printed(page, "html")
    except documents.BadDocument as error:
        assert len(str(error)) > 10
    else:
        assert "ok" in text_of(data).split()
        assert b"/etc/passwd" not in data


def test_a_document_without_end_is_refused():
    with pytest.raises(documents.BadDocument, match=r"pages|longer than|MB"):
        printed("x\n" * 300_000, "text")
