"""Reads PDF, Word, HTML and CSV documents; used in a document's process only."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree.ElementTree import Element

import pypdf
from defusedxml import ElementTree
from selectolax.lexbor import LexborHTMLParser, LexborNode

from executions.sandbox.answers import Answer, Unreadable, evaluator, load_codecs

Json = Any

MAX_PAGES = 5_000
MAX_ENTRIES = 10_000
MAX_UNPACKED = 100_000_000
MAX_ROWS = 100_000
MAX_COLUMNS = 1_000
MAX_NAME = 200
_SAMPLE = 8_192
_DELIMITERS = ",;\t|"


def preload() -> None:
    """Read one document of each kind, so that what is loaded late is loaded once."""
    from executions.sandbox.samples import docx, pdf

    _pdf({"maxChars": 100}, pdf())
    _html({"maxChars": 100, "mode": "article"}, b"<title>x</title><article>y</article>")
    _csv({"delimiter": None, "header": True, "maxChars": 100}, b"a;b\n1;2")
    _docx({"maxChars": 100}, docx())
    load_codecs()


def prepare() -> Callable[[dict[str, Json], bytes], bytes]:
    """The function reads one document."""
    return evaluator({"pdf": _pdf, "docx": _docx, "html": _html, "csv": _csv})


# ---- PDF ----------------------------------------------------------------------------------------


def _pdf(asked: dict[str, Json], data: bytes) -> Answer:
    """{text, pages, pageCount, metadata, truncated} of the pages asked for, from 1."""
    reader = pypdf.PdfReader(io.BytesIO(data), strict=False)
    if reader.is_encrypted and not reader.decrypt(str(asked.get("password") or "")):
        raise Unreadable("The PDF is encrypted; give its password.")
    pages_of = reader.root_object["/Pages"].get_object()
    declared = pages_of.get("/Count", 0) if isinstance(pages_of, dict) else 0
    if isinstance(declared, int) and declared > MAX_PAGES:
        raise Unreadable(f"The PDF has {declared:,} pages, over the limit of {MAX_PAGES:,}.")
    count = len(reader.pages)
    if count > MAX_PAGES:
        raise Unreadable(f"The PDF has {count:,} pages, over the limit of {MAX_PAGES:,}.")
    first = max(1, asked.get("first") or 1)
    last = min(count, asked.get("last") or count)
    left = asked["maxChars"]
    pages: list[dict[str, Json]] = []
    for number in range(first, last + 1):
        text = _plain(reader.pages[number - 1].extract_text())
        pages.append({"page": number, "text": text[:left]})
        left -= len(text)
        if left < 0:
            break
    found = {
        "pages": pages,
        "pageCount": count,
        "metadata": _metadata(reader),
        "truncated": left < 0,
    }
    return found, b""


def _metadata(reader: pypdf.PdfReader) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in list((reader.metadata or {}).items())[:50]:
        name = str(key).lstrip("/")
        found[name[:1].lower() + name[1:]] = _plain(str(value))[:1_000]
    return found


def _plain(text: str) -> str:
    """Text that JSON and the database can hold."""
    return text.encode("utf-8", "replace").decode().replace("\0", "").strip()


# ---- Word ---------------------------------------------------------------------------------------

_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"


def _docx(asked: dict[str, Json], data: bytes) -> Answer:
    """{text, truncated}: the paragraphs of the main part, a line each."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if len(entries) > MAX_ENTRIES:
            raise Unreadable(f"The document has {len(entries):,} parts; {MAX_ENTRIES:,} may be.")
        try:
            part = archive.getinfo("word/document.xml")
        except KeyError:
            raise Unreadable("The file is no Word document.") from None
        if part.file_size > MAX_UNPACKED:
            raise Unreadable(
                f"The document unpacks to {part.file_size:,} bytes, which is too much."
            )
        with archive.open(part) as stream:
            # The size that the archive names may be a lie.
            content = stream.read(MAX_UNPACKED + 1)
    if len(content) > MAX_UNPACKED:
        raise Unreadable(f"The document unpacks to more than {MAX_UNPACKED:,} bytes.")
    root = ElementTree.fromstring(content, forbid_dtd=True)
    text = _plain("\n".join(_paragraphs(root)))
    limit = asked["maxChars"]
    return {"text": text[:limit], "truncated": len(text) > limit}, b""


def _paragraphs(root: Element) -> Iterator[str]:
    marks = {_WORD + "tab": "\t", _WORD + "br": "\n", _WORD + "cr": "\n"}
    for paragraph in root.iter(_WORD + "p"):
        yield "".join(
            (each.text or "") if each.tag == _WORD + "t" else marks.get(each.tag, "")
            for each in paragraph.iter()
        )


# ---- HTML ---------------------------------------------------------------------------------------

_DROPPED = ["script", "style", "noscript", "template", "svg", "iframe", "object", "canvas"]
_FURNITURE = ["nav", "header", "footer", "aside", "form", "button", "dialog"]
_MAIN = ("article", "main", "[role=main]", "#content", ".content", "#main")
_BLOCKS = frozenset(
    "address article aside blockquote body br dd div dl dt fieldset figcaption figure footer form "
    "h1 h2 h3 h4 h5 h6 header hr li main nav ol option p pre section table tr ul".split()
)
_CELLS = frozenset({"td", "th"})
_MAIN_LEAST = 100


def _html(asked: dict[str, Json], data: bytes) -> Answer:
    """{title, text, truncated}: the readable text; `article` leaves out what surrounds it."""
    tree = LexborHTMLParser(_page_text(asked.get("charset"), data))
    title = tree.css_first("head > title")
    tree.strip_tags(_DROPPED)
    body = tree.body or tree.root
    whole = "" if body is None else _text(body)
    if asked["mode"] == "article" and body is not None:
        tree.strip_tags(_FURNITURE)
        candidates = (node for name in _MAIN for node in tree.css(name)[:5])
        found = max((_text(node) for node in candidates), key=len, default="")
        whole = found if len(found) > _MAIN_LEAST else _text(body) or whole
    limit = asked["maxChars"]
    text = _plain(whole)
    name = "" if title is None else " ".join(_plain(title.text()).split())[:500]
    return {"title": name, "text": text[:limit], "truncated": len(text) > limit}, b""


def _page_text(charset: str | None, data: bytes) -> str:
    """The page in the encoding that its server, else the page itself names, else UTF-8."""
    named = re.search(rb"<meta[^>]{0,200}charset=[\"']?([\w-]{1,40})", data[:4096], re.IGNORECASE)
    for name in (charset, named.group(1).decode() if named else None):
        if name:
            try:
                return data.decode(name, "replace")
            except (LookupError, UnicodeError):
                continue
    return data.decode("utf-8-sig", "replace")


def _text(node: LexborNode) -> str:
    """The text of a node; blocks begin a new line, cells are a tab apart."""
    parts: list[str] = []
    for each in node.traverse(include_text=True):
        if each.tag == "-text":
            parts.append(re.sub(r"\s+", " ", each.text_content or ""))
        elif each.tag in _BLOCKS:
            parts.append("\n")
        elif each.tag in _CELLS:
            parts.append("\t")
    even = re.sub(r" ?\t ?", "\t", re.sub(r" {2,}", " ", "".join(parts)))
    lines = (line.strip() for line in even.split("\n"))
    return "\n".join(line for line in lines if line)


# ---- CSV ----------------------------------------------------------------------------------------


def _csv(asked: dict[str, Json], data: bytes) -> Answer:
    """{rows, columns, rowCount, delimiter, truncated}; with a header, rows are objects."""
    text = _decoded(data).replace("\0", "")
    delimiter = asked["delimiter"] or _sniffed(text[:_SAMPLE])
    csv.field_size_limit(1_000_000)
    rows: list[list[str]] = []
    # Each row of objects repeats the names.
    left, names, truncated = asked["maxChars"], 0, False
    for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
        if len(row) > MAX_COLUMNS:
            raise Unreadable(f"A row has {len(row):,} cells, over the limit of {MAX_COLUMNS:,}.")
        left -= sum(map(len, row)) + 4 * len(row) + names
        if left < 0 or len(rows) >= MAX_ROWS:
            truncated = True
            break
        if any(cell.strip() for cell in row):
            rows.append(row)
            if asked["header"] and not names:
                names = sum(min(len(cell), MAX_NAME) for cell in row)
    columns: list[str] = []
    found: list[Json] = list(rows)
    if asked["header"] and rows:
        columns = _names(rows[0], max(map(len, rows)))
        found = [dict(zip(columns, [*row, *[""] * len(columns)], strict=False)) for row in rows[1:]]
    answer = {
        "rows": found,
        "columns": columns,
        "rowCount": len(found),
        "delimiter": delimiter,
        "truncated": truncated,
    }
    return answer, b""


def _decoded(data: bytes) -> str:
    for encoding in ("utf-8-sig", "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("cp1252", "replace")


def _sniffed(sample: str) -> str:
    """The delimiter that parts the first lines into equally many cells, as most as possible."""
    lines = sample.splitlines()
    # The last line of the sample may be cut.
    lines = lines[: max(1, len(lines) - 1)][:20] if len(sample) == _SAMPLE else lines[:20]
    best, delimiter = (0, 0), ","
    for candidate in _DELIMITERS:
        try:
            counts = [len(row) for row in csv.reader(lines, delimiter=candidate) if row]
        except csv.Error:
            continue
        if counts and max(counts) > 1:
            usual = max(set(counts), key=counts.count)
            score = (counts.count(usual) if usual > 1 else 0, usual)
            if score > best:
                best, delimiter = score, candidate
    return delimiter


def _names(row: list[str], width: int) -> list[str]:
    """A name per column: those of the header, told apart, and numbers where it has none."""
    names: list[str] = []
    for number in range(width):
        name = row[number].strip()[:MAX_NAME] if number < len(row) else ""
        name = name or f"column{number + 1}"
        base, copy = name, 2
        while name in names:
            name, copy = f"{base}_{copy}", copy + 1
        names.append(name)
    return names
