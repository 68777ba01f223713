"""Tests of reading documents: what is found, and that hostile ones harm nobody."""

from __future__ import annotations

import asyncio
import io
import time
import zipfile
import zlib

import pytest

from executions import documents
from executions.sandbox import samples


def read(operation: str, data: bytes, **asked):
    limits = {name: asked.pop(name) for name in ("seconds", "megabytes") if name in asked}
    asked = {"operation": operation, "maxChars": 1_000_000, **asked}
    return asyncio.run(documents.work("reading", asked, data, **limits))[0]


def raw_pdf(*objects: bytes, trailer: bytes = b"<</Root 1 0 R>>") -> bytes:
    data, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(data)
    data += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    data += b"".join(b"%010d 00000 n \n" % place for place in places)
    return data + b"trailer\n%s\nstartxref\n%d\n%%%%EOF" % (trailer, start)


CATALOG = b"<</Type/Catalog/Pages 2 0 R>>"
PAGES = b"<</Type/Pages/Kids[3 0 R]/Count 1>>"
FONT = b"<</Font<</F1<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"
PAGE = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Resources%s/Contents 4 0 R>>" % FONT


def test_a_pdf_gives_its_text_and_what_it_says_of_itself():
    found = read("pdf", samples.pdf())
    assert found["pages"] == [{"page": 1, "text": "word"}]
    assert found["pageCount"] == 1
    assert found["metadata"]["title"] == "sample"


def bomb() -> bytes:
    inner = zlib.compress(zlib.compress(b"\0" * 500_000_000, 9), 9)
    head = b"<</Filter[/FlateDecode/FlateDecode]/Length %d>>stream\n" % len(inner)
    return raw_pdf(CATALOG, PAGES, PAGE, head + inner + b"\nendstream")


@pytest.mark.parametrize(
    "make",
    [
        lambda: raw_pdf(CATALOG, b"<</Type/Pages/Kids[3 0 R]/Count 1000000>>", PAGE),
        lambda: raw_pdf(
            CATALOG, b"<</Type/Pages/Count 1/Kids[" + b"3 0 R " * 1_000_000 + b"]>>", PAGE
        ),
        lambda: raw_pdf(CATALOG, b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 2>>"),
        lambda: b"%PDF-1.7\nxref\n0 1\n0000000000 65535 f \ntrailer\n<</Root 1 0 R/Prev 9>>\n"
        b"startxref\n9\n%%EOF",
        lambda: raw_pdf(CATALOG, PAGES, PAGE, b"[" * 100_000 + b"]" * 100_000),
        bomb,
        lambda: samples.pdf()[:200],
        lambda: b"not a PDF at all",
        lambda: b"",
    ],
    ids=[
        "a million pages declared", "a million pages", "pages that hold themselves",
        "a table of objects that leads to itself", "deep nesting", "a bomb in a bomb", "cut off",
        "no PDF", "nothing",
    ],
)  # fmt: skip
def test_a_hostile_pdf_ends_as_an_error_in_time(make):
    data = make()
    begun = time.monotonic()
    try:
        found = read("pdf", data, seconds=3, megabytes=128)
    except documents.BadDocument as error:
        assert 10 < len(str(error)) < 600
    else:
        # A parser may also find nothing in it.
        assert not "".join(page["text"] for page in found["pages"])
    assert time.monotonic() - begun < 20
    assert read("pdf", samples.pdf())["pageCount"] == 1


def word(document: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", document)
    return target.getvalue()


NAMESPACE = b'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def test_a_word_document_gives_its_paragraphs():
    data = word(
        b"<w:document %s><w:body><w:p><w:r><w:t>One</w:t><w:tab/><w:t>two</w:t></w:r></w:p>"
        b"<w:p><w:r><w:t>Three</w:t></w:r></w:p></w:body></w:document>" % NAMESPACE
    )
    assert read("docx", data)["text"] == "One\ttwo\nThree"


@pytest.mark.parametrize(
    "data",
    [
        word(b"<w:document %s>%s</w:document>" % (NAMESPACE, b" " * 150_000_000)),
        word(
            b'<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
            b"<w:document %s>&b;</w:document>" % NAMESPACE
        ),
        word(b'<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/passwd">]><d>&a;</d>'),
        b"PK\x03\x04 no archive",
    ],
    ids=["a bomb", "entities that multiply", "an entity from outside", "no archive"],
)
def test_a_hostile_word_document_is_refused(data):
    with pytest.raises(documents.BadDocument):
        read("docx", data)


PAGE_HTML = """<html><head><title>A &amp; B</title><style>.x{}</style></head><body>
<nav>Home</nav><article><h1>Head</h1><p>One <b>b</b>old   word.</p><script>bad()</script>
<table><tr><th>k<th>v<tr><td>1<td>2</table><ul><li>x<li>y</ul></article>%s</body></html>"""


def test_a_page_gives_its_readable_text():
    found = read("html", (PAGE_HTML % "").encode(), mode="full")
    assert found["title"] == "A & B"
    assert found["text"] == "Home\nHead\nOne bold word.\nk\tv\n1\t2\nx\ny"


def test_an_article_is_taken_without_what_surrounds_it():
    page = PAGE_HTML % f"<main>{'Long text. ' * 20}<aside>ad</aside></main><footer>end</footer>"
    found = read("html", page.encode(), mode="article")
    assert found["text"] == ("Long text. " * 20).strip()


def test_a_deeply_nested_page_does_no_harm():
    data = b"<div>" * 200_000 + b"deep"
    try:
        assert read("html", data, mode="article", seconds=10)["text"] == "deep"
    except documents.BadDocument as error:
        assert "s; it may" in str(error) or "MB" in str(error)


@pytest.mark.parametrize(
    ("text", "delimiter", "rows"),
    [
        ('a,b\n1,"x, y"\n', ",", [{"a": "1", "b": "x, y"}]),
        ("a;b\n1,5;2\n\n3,5;4", ";", [{"a": "1,5", "b": "2"}, {"a": "3,5", "b": "4"}]),
        ("a\tb\n1\t2", "\t", [{"a": "1", "b": "2"}]),
        ("a\n1\n2", ",", [{"a": "1"}, {"a": "2"}]),
        ("a,a,\n1,2,3,4\n5", ",", [
            {"a": "1", "a_2": "2", "column3": "3", "column4": "4"},
            {"a": "5", "a_2": "", "column3": "", "column4": ""},
        ]),
    ],
)  # fmt: skip
def test_tables_are_read_whatever_parts_their_cells(text, delimiter, rows):
    found = read("csv", text.encode(), delimiter=None, header=True)
    assert (found["delimiter"], found["rows"]) == (delimiter, rows)


def test_a_table_may_come_from_windows():
    for data in ("\ufeffä,b\n1,2".encode(), "ä,b\n1,2".encode("utf-16"), b"\xe4,b\n1,2"):
        assert read("csv", data, delimiter=None, header=True)["columns"] == ["ä", "b"]


def test_a_hostile_table_is_read_in_time():
    data = b'"' * 500_000 + b'\n",' * 100_000
    begun = time.monotonic()
    found = read("csv", data, delimiter=None, header=True)
    assert found["truncated"] and len(found["columns"]) == 2
    with pytest.raises(documents.BadDocument, match="over the limit of 1,000"):
        read("csv", b"," * 5_000, delimiter=None, header=True)
    assert time.monotonic() - begun < 20


def test_a_document_that_takes_too_long_or_too_much_is_stopped():
    content = b"BT /F1 1 Tf (a) Tj ET\n" * 1_000_000
    stream = b"<</Length %d>>stream\n%s\nendstream" % (len(content), content)
    with pytest.raises(documents.BadDocument, match="takes longer than 1 s"):
        read("pdf", raw_pdf(CATALOG, PAGES, PAGE, stream), seconds=1)
    large = word(b"<w:document %s>%s</w:document>" % (NAMESPACE, b"<w:p/>" * 3_000_000))
    with pytest.raises(documents.BadDocument, match="more than 32 MB"):
        read("docx", large, megabytes=32)
    assert read("pdf", samples.pdf())["pageCount"] == 1
