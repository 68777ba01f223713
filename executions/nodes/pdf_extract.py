"""pdfExtract: the text of a PDF, page by page, and what it says of itself."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field

from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, node
from executions.nodes.extracting import pdf
from executions.nodes.stored import load
from executions.rules.comparisons import to_text

Json = Any

# The text goes out twice, whole and by page.
MAX_TEXT = 400_000
_SOURCES = ("file", "pdf", "filePath", "pdfSource", "source", "input", "url", "pdfUrl", "document")


class PdfExtractConfig(NodeConfig):
    """The PDF, and what of it to take."""

    path: Json = Field(..., title="PDF", description="A path, reference, address or content")
    pages: Json = Field(None, title="Pages", description="Such as 3 or 1-5; empty means all")
    password: str | None = Field(None, title="Password")
    extract_text: bool = Field(True, title="Text")
    extract_metadata: bool = Field(True, title="What it says of itself")


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    for key in _SOURCES:
        if config.get("path") in (None, "") and config.get(key):
            config["path"] = config[key]
    for key in ("fileVariable", "inputVariable", "inputName"):
        if config.get("path") in (None, "") and isinstance(config.get(key), str):
            config["path"] = f"{{{{{config[key]}}}}}"
    if config.get("pages") is None:
        config["pages"] = config.get("pageRange")
    for key in ("extractText", "extractMetadata"):
        if not isinstance(config.get(key), bool):
            config.pop(key, None)
    return config


@node(
    "pdfExtract",
    synonyms=("pdf-extract", "pdfExtraction", "parsePdf"),
    title="Read a PDF",
    config=PdfExtractConfig,
    effect=Effect.READS_OUTSIDE,
    icon="file-search",
    dialect=_dialect,
)
async def pdf_extract(call: NodeCall[PdfExtractConfig]) -> NodeResult:
    """Take the text of a PDF."""
    config, render = call.config, call.render
    found = await load(render.value(config.path), field="path")
    first, last = _range(render.value(config.pages))
    password = None if config.password is None else render.text(config.password)
    read = await pdf(found.data, most=MAX_TEXT, first=first, last=last, password=password)
    output: dict[str, Json] = {"pageCount": read["pageCount"]}
    if config.extract_text:
        output["text"] = "\n\n".join(page["text"] for page in read["pages"])
        output["pages"] = read["pages"]
        output["truncated"] = read["truncated"]
        if read["truncated"]:
            call.render.warnings.append(f"The text was cut after {MAX_TEXT:,} characters.")
    if config.extract_metadata:
        output["metadata"] = read["metadata"]
    if found.stored is not None:
        output["file"] = found.stored.as_json()
    return NodeResult(output=call.wrap(output))


def _range(pages: Json) -> tuple[int | None, int | None]:
    """The first and last page of `3`, `1-5`, `2-` or {start, end}."""
    if isinstance(pages, dict):
        pages = f"{pages.get('start') or pages.get('from') or 1}-" + to_text(
            pages.get("end") or pages.get("to") or ""
        )
    text = "" if pages in (None, "all") else to_text(pages).strip()
    if not text:
        return None, None
    match = re.fullmatch(r"(\d{1,6})(?:\s*-\s*(\d{0,6}))?", text)
    if match is None:
        raise BadConfig(f"{text[:80]!r} is no range of pages; write 3 or 1-5.", field="pages")
    first, last = int(match.group(1)), match.group(2)
    return first, first if last is None else (int(last) if last else None)
