"""pdfGeneration: print Markdown, HTML or plain text as a PDF of the run."""

from __future__ import annotations

import base64
import re
from typing import Any, Literal

from pydantic import Field

from executions import documents
from executions.files import BadPath, NoSuchFile
from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, node
from executions.nodes.stored import load, put_new, run_started, safe_name, with_ending

Json = Any

MAX_TEXT = 2_000_000
MAX_PICTURES = 20
MAX_PICTURE_BYTES = 5_000_000
SECONDS = 60.0
MEGABYTES = 512
_TEXTS = (
    ("html", "html"), ("markdown", "markdown"), ("text", "text"), ("template", None),
    ("htmlContent", "html"), ("body", None), ("data", None), ("input", None), ("source", None),
)  # fmt: skip
_FORMATS = {"md": "markdown", "txt": "text", "plain": "text"}
# Pictures of the run: ![…](path), <img src="path">.
_PICTURE = re.compile(r"!\[[^\[\]\n]{0,500}\]\(\s{0,9}<?([^()\s<>]{1,500})")
_IMAGE = re.compile(r"<img\b[^<>]{0,1000}>", re.IGNORECASE)
_SOURCE = re.compile(r"\bsrc\s{0,9}=\s{0,9}[\"']([^\"']{1,500})", re.IGNORECASE)


class PdfGenerationConfig(NodeConfig):
    """The text, what it is written in, and the paper."""

    content: Json = Field(..., title="Content")
    format: Literal["markdown", "html", "text"] | None = Field(
        None, title="Format", description="Found out when empty: HTML, else Markdown"
    )
    title: str = Field("", title="Title")
    file_name: str = Field("document.pdf", title="Name")
    page_size: Literal["a3", "a4", "a5", "letter", "legal"] = Field("a4", title="Paper")
    orientation: Literal["portrait", "landscape"] = Field("portrait", title="Orientation")
    page_numbers: bool = Field(False, title="Page numbers")


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    given = config.get("format", config.get("inputFormat", config.get("contentType")))
    for key, kind in _TEXTS:
        if config.get("content") in (None, "") and config.get(key):
            config["content"] = config[key]
            given = kind or given
    kind = str(given or "").lower().rpartition("/")[2]
    kind = _FORMATS.get(kind, kind)
    config["format"] = kind if kind in ("markdown", "html", "text") else None
    for key in ("filename", "outputFileName", "name", "outputPath"):
        if config.get("fileName") in (None, "") and isinstance(config.get(key), str):
            config["fileName"] = config[key]
    options = config.get("options")
    for source in (config, options if isinstance(options, dict) else {}):
        size = source.get("pageSize") or source.get("format") or source.get("size")
        if str(size).lower() in ("a3", "a4", "a5", "letter", "legal"):
            config["pageSize"] = str(size).lower()
        turned = str(source.get("orientation") or "").lower()
        if turned in ("portrait", "landscape"):
            config["orientation"] = turned
    for key in ("fileName", "title", "pageSize", "orientation"):
        if not isinstance(config.get(key), str) or not config[key]:
            config.pop(key, None)
    if not isinstance(config.get("pageNumbers"), bool):
        config.pop("pageNumbers", None)
    return config


@node(
    "pdfGeneration",
    synonyms=("pdf", "pdf-generation", "generatePdf"),
    title="Make a PDF",
    config=PdfGenerationConfig,
    effect=Effect.WRITES_OUTSIDE,
    icon="file-output",
    dialect=_dialect,
)
async def pdf_generation(call: NodeCall[PdfGenerationConfig]) -> NodeResult:
    """Print text as a PDF and keep it with the run."""
    config, render = call.config, call.render
    text = render.text(config.content)
    if len(text) > MAX_TEXT:
        raise BadConfig(
            f"The content has {len(text):,} characters; {MAX_TEXT:,} may be.", field="content"
        )
    kind = config.format or ("html" if text.lstrip()[:1] == "<" else "markdown")
    title = render.text(config.title)
    asked = {
        "operation": "pdf",
        "format": kind,
        "title": title[:500],
        "date": run_started(),
        "numbered": config.page_numbers,
        "size": config.page_size,
        "orientation": config.orientation,
        "images": {} if kind == "text" else await _pictures(text),
    }
    found, data = await documents.work(
        "printing", asked, text.encode("utf-8", "replace"), seconds=SECONDS, megabytes=MEGABYTES
    )
    name = safe_name(render.text(config.file_name)) or "document"
    kept = await put_new(with_ending(name, "pdf"), data, media_type="application/pdf")
    return NodeResult(output=call.wrap({**kept.as_json(), "pageCount": found["pageCount"]}))


async def _pictures(text: str) -> dict[str, str]:
    """The run's pictures that the text names; addresses elsewhere are not fetched."""
    names = _PICTURE.findall(text)
    for tag in _IMAGE.findall(text):
        names += _SOURCE.findall(tag)[:1]
    found: dict[str, str] = {}
    left = MAX_PICTURE_BYTES
    for name in list(dict.fromkeys(names))[:MAX_PICTURES]:
        if "://" in name or name.startswith("data:"):
            continue
        try:
            picture = await load(name, field="content", most=left)
        except (NoSuchFile, BadPath):
            continue
        left -= len(picture.data)
        found[name] = base64.b64encode(picture.data).decode()
    return found
