"""Text out of documents of any kind; what parses them runs in a process of its own."""

from __future__ import annotations

import json
from typing import Any

from executions import documents
from executions.documents import BadDocument
from executions.nodes.stored import Document

Json = Any

_ENDINGS = {
    "pdf": "pdf", "docx": "docx", "html": "html", "htm": "html", "csv": "csv", "tsv": "csv",
    "json": "json", "txt": "text", "md": "text", "markdown": "text", "log": "text", "xml": "text",
    "yaml": "text", "yml": "text", "rst": "text", "text": "text",
}  # fmt: skip
_TYPES = {
    "application/pdf": "pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "text/html": "html",
    "application/xhtml+xml": "html",
    "text/csv": "csv",
    "application/json": "json",
}
SECONDS = 30.0
# Read on the worker's event loop, which others wait for.
MAX_JSON = 5_000_000


def kind_of(document: Document) -> str | None:
    """pdf, docx, html, csv, json or text; None for a kind that has no text here."""
    if document.data[:5] == b"%PDF-":
        return "pdf"
    ending = document.name.rpartition(".")[2].lower() if "." in document.name else ""
    media_type = document.media_type.partition(";")[0].strip().lower()
    known = _TYPES.get(media_type) or _ENDINGS.get(ending)
    if known is None and (media_type.startswith("text/") or media_type.endswith(("+json", "xml"))):
        return "text"
    return known


async def text_of(document: Document, *, most: int, mode: str = "full") -> tuple[str, bool]:
    """The text of a document, at most so many characters, and whether it was cut."""
    kind = kind_of(document)
    if kind is None:
        raise BadDocument(
            f"The file {document.name!r} ({document.media_type or 'of unknown type'}) has no text "
            "that can be read; PDF, Word (docx), HTML, CSV, JSON and plain text have."
        )
    if kind == "pdf":
        found = await pdf(document.data, most=most)
        return "\n\n".join(page["text"] for page in found["pages"]), found["truncated"]
    if kind in ("docx", "html"):
        asked = {"operation": kind, "maxChars": most, "mode": mode}
        found, _ = await documents.work("reading", asked, document.data, seconds=SECONDS)
        return found["text"], found["truncated"]
    text = plain(document.data)
    if kind == "json":
        text = "\n".join(_texts(parsed(text)))
    elif kind == "csv":
        return await _table_text(document, most)
    return text[:most], len(text) > most


async def pdf(
    data: bytes, *, most: int, first: int | None = None, last: int | None = None,
    password: str | None = None,
) -> dict[str, Json]:  # fmt: skip
    """The pages of a PDF, from 1, and what it says of itself."""
    asked = {
        "operation": "pdf", "maxChars": most, "first": first, "last": last, "password": password,
    }  # fmt: skip
    found, _ = await documents.work("reading", asked, data, seconds=SECONDS)
    return found


async def table(
    data: bytes, *, most: int, delimiter: str | None = None, header: bool = True
) -> dict[str, Json]:
    """The rows of a CSV document."""
    asked = {"operation": "csv", "maxChars": most, "delimiter": delimiter, "header": header}
    found, _ = await documents.work("reading", asked, data, seconds=SECONDS)
    return found


async def page(data: bytes, *, most: int, mode: str, charset: str | None = None) -> dict[str, Json]:
    """The title and the readable text of an HTML page, in the encoding that its server named."""
    asked = {"operation": "html", "maxChars": most, "mode": mode, "charset": charset}
    found, _ = await documents.work("reading", asked, data, seconds=SECONDS)
    return found


def plain(data: bytes) -> str:
    """Text of bytes in UTF-8, or what a Windows machine writes."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        text = data.decode("utf-16" if wide else "cp1252", "replace")
    return text.replace("\0", "")


def parsed(text: str) -> Json:
    """The value of a JSON text. Raises BadDocument."""
    if len(text) > MAX_JSON:
        raise BadDocument(f"The file has {len(text):,} characters of JSON; {MAX_JSON:,} may be.")
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BadDocument(f"The file is not JSON: {error or 'it is nested too deeply'}.") from error


def _refuse(name: str) -> Json:
    raise ValueError(f"{name} is no JSON value")


async def _table_text(document: Document, most: int) -> tuple[str, bool]:
    found = await table(document.data, most=most)
    lines = ["Headers: " + ", ".join(found["columns"])]
    lines += [", ".join(f"{key}: {cell}" for key, cell in row.items()) for row in found["rows"]]
    text = "\n".join(lines)
    return text[:most], found["truncated"] or len(text) > most


def _texts(value: Json) -> list[str]:
    """All texts of a value, in order."""
    found: list[str] = []
    work = [value]
    while work:
        item = work.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, dict):
            work.extend(reversed(list(item.values())))
        elif isinstance(item, list):
            work.extend(reversed(item))
    return found
