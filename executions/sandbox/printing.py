"""Makes PDF documents from text, Markdown or HTML; used in a document's process only."""

from __future__ import annotations

import base64
import html
import io
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fpdf import FPDF, FontFace, TextStyle
from markdown_it import MarkdownIt
from PIL import Image

from executions.sandbox.answers import Answer, Unreadable, evaluator, load_codecs

Json = Any

MAX_PAGES = 2_000
MAX_PIXELS = 40_000_000
FORMATS = {"a3": "a3", "a4": "a4", "a5": "a5", "letter": "letter", "legal": "legal"}
_BODY, _CODE = "Body", "Code"
_FACES = {
    (_BODY, ""): "DejaVuSans",
    (_BODY, "B"): "DejaVuSans-Bold",
    (_BODY, "I"): "DejaVuSans-Oblique",
    (_BODY, "BI"): "DejaVuSans-BoldOblique",
    (_CODE, ""): "DejaVuSansMono",
    (_CODE, "B"): "DejaVuSansMono-Bold",
    (_CODE, "I"): "DejaVuSansMono-Oblique",
    (_CODE, "BI"): "DejaVuSansMono-BoldOblique",
}
_SIZE = 11
_HEADINGS = {"h1": 22, "h2": 17, "h3": 14, "h4": 12, "h5": 11, "h6": 10}
_KEPT = frozenset(
    "a b blockquote br center code dd dl dt em h1 h2 h3 h4 h5 h6 hr i img li ol p pre s strong sub "
    "sup table tbody td tfoot th thead tr u ul".split()
)
_DROPPED = frozenset({"script", "style", "head", "title", "template", "noscript", "svg", "iframe"})
_RENAMED = {"del": "s", "ins": "u", "strike": "s", "div": "p", "section": "p", "article": "p"}
_ALIGNMENTS = frozenset({"left", "right", "center", "justify"})
_TEXT_BLOCK = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "td", "th"})


class _Sheet(FPDF):
    """A document with fonts for Latin, Greek, Cyrillic and more; with page numbers if asked for."""

    numbered = False

    def __init__(self, orientation: str = "portrait", size: str = "a4") -> None:
        super().__init__(orientation=orientation, unit="mm", format=size)
        found = find_spec("matplotlib")
        assert found is not None and found.origin is not None
        folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"
        for (family, style), name in _FACES.items():
            self.add_font(family, style, folder / f"{name}.ttf")
        self.set_margin(20)
        self.set_auto_page_break(True, margin=20)

    def footer(self) -> None:
        """The page's number, where asked for."""
        if self.page > MAX_PAGES:
            raise Unreadable(f"The document has more than {MAX_PAGES:,} pages.")
        if self.numbered:
            self.set_y(-15)
            self.set_font(_BODY, size=8)
            self.cell(0, 10, f"{self.page_no()}", align="C")


def preload() -> None:
    """Make a document with everything in it, so that what is loaded late is loaded once."""
    logging.disable(logging.CRITICAL)
    image = io.BytesIO()
    Image.new("RGB", (2, 2)).save(image, "PNG")
    sample = (
        "# H\n\n## H\n\na **b** *c* ***d*** `e` [f](https://example.com)\n\n- a\n- b\n\n1. a\n\n"
        "> q\n\n```\ncode\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n---\n\n![i](i.png)"
    )
    asked = {"format": "markdown", "title": "x", "date": 0, "numbered": True}
    asked["images"] = {"i.png": base64.b64encode(image.getvalue()).decode()}
    _print({**asked, "size": "a4", "orientation": "portrait"}, sample.encode(), _Sheet())
    load_codecs()


def prepare() -> Callable[[dict[str, Json], bytes], bytes]:
    """The function makes one document; its fonts are opened here, while files can be."""
    sheet = _Sheet()
    return evaluator({"pdf": lambda asked, data: _print(asked, data, sheet)})


def _print(asked: dict[str, Json], data: bytes, sheet: _Sheet) -> Answer:
    """{pageCount} and the document."""
    text = data.decode()
    sheet.numbered = asked["numbered"]
    sheet.set_title(asked["title"])
    sheet.set_producer("FlowMaestro")
    # The same request gives the same bytes, also when it is made again after a crash.
    sheet.set_creation_date(datetime.fromtimestamp(asked["date"], UTC))
    sheet.add_page(orientation=asked["orientation"], format=FORMATS[asked["size"]])
    sheet.set_font(_BODY, size=_SIZE)
    if asked["format"] == "text":
        sheet.multi_cell(0, 5.5, _printable(text), align="L")
    else:
        if asked["format"] == "markdown":
            markdown = MarkdownIt("commonmark", {"html": False})
            text = markdown.enable(["table", "strikethrough"]).render(text)
        images = _Images(asked["images"])
        _write(sheet, _Allowed(images.names).of(_printable(text)), images)
    return {"pageCount": sheet.pages_count}, bytes(sheet.output())


def _write(sheet: _Sheet, page: str, images: _Images) -> None:
    styles: dict[str, TextStyle | FontFace] = {
        name: TextStyle(
            font_family=_BODY, font_style="B", font_size_pt=size, color="#111111", t_margin=4,
            b_margin=1.5,
        )
        for name, size in _HEADINGS.items()
    }  # fmt: skip
    styles["code"] = FontFace(family=_CODE, size_pt=_SIZE - 1)
    styles["pre"] = TextStyle(font_family=_CODE, font_size_pt=_SIZE - 1, t_margin=2, b_margin=2)
    styles["blockquote"] = TextStyle(color="#555555", t_margin=2, b_margin=2, l_margin=8)
    styles["a"] = FontFace(color="#1d4ed8", emphasis="UNDERLINE")
    sheet.write_html(
        page,
        tag_styles=styles,
        image_map=images.open,
        font_family=_BODY,
        li_prefix_color="#111111",
        ul_bullet_char="\u2022",
        table_line_separators=True,
        warn_on_tags_not_matching=False,
    )


def _printable(text: str) -> str:
    """Text without control characters; letters that no font has are shown as a box."""
    return "".join(each for each in text if each >= " " or each in "\n\t").replace("\t", "    ")


class _Images:
    """The pictures that came with the request; others are not to be had."""

    def __init__(self, encoded: dict[str, str]) -> None:
        self._data = {name: base64.b64decode(content) for name, content in encoded.items()}
        self.names = frozenset(self._data)

    def open(self, name: str) -> Any:
        """The picture of this name, not larger than a page takes."""
        image = Image.open(io.BytesIO(self._data[name]), formats=("PNG", "JPEG", "GIF", "WEBP"))
        if image.width * image.height > MAX_PIXELS:
            raise Unreadable(f"The picture {name!r} has more than {MAX_PIXELS:,} pixels.")
        image.load()
        return image.convert("RGBA" if "A" in image.getbands() else "RGB")


class _Allowed(HTMLParser):
    """Keeps the elements that can be printed, balanced, and the text of all others."""

    def __init__(self, images: frozenset[str]) -> None:
        super().__init__(convert_charrefs=True)
        self._images = images
        self._parts: list[str] = []
        self._open: list[str] = []
        self._dropping: list[str] = []

    def of(self, page: str) -> str:
        """The page with what can be printed."""
        self.feed(page)
        self.close()
        return "".join(self._parts) + "".join(f"</{tag}>" for tag in reversed(self._open))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep it, rename it, or leave it out."""
        if self._dropping or tag in _DROPPED:
            if tag in _DROPPED:
                self._dropping.append(tag)
            return
        tag = _RENAMED.get(tag, tag)
        if tag not in _KEPT:
            return
        given = {key: value or "" for key, value in attrs}
        if tag == "img":
            self._image(given)
            return
        if len(self._open) > 100:
            raise Unreadable("The page is nested too deeply.")
        self._parts.append(f"<{tag}{_attributes(tag, given)}>")
        if tag not in ("br", "hr"):
            self._open.append(tag)

    def _image(self, given: dict[str, str]) -> None:
        source = given.get("src", "")
        if source not in self._images:
            self.handle_data(given.get("alt", ""))
            return
        width = given.get("width", "").removesuffix("px")
        size = f' width="{width}"' if width.isascii() and width.isdigit() else ""
        self._parts.append(f'<img src="{html.escape(source)}"{size}>')

    def handle_endtag(self, tag: str) -> None:
        """Close it, and what is open inside."""
        if self._dropping:
            if tag == self._dropping[-1]:
                self._dropping.pop()
            return
        tag = _RENAMED.get(tag, tag)
        if tag in self._open:
            while True:
                last = self._open.pop()
                self._parts.append(f"</{last}>")
                if last == tag:
                    return

    def handle_data(self, data: str) -> None:
        """Text stays text."""
        if not self._dropping:
            self._parts.append(html.escape(data))


def _attributes(tag: str, given: dict[str, str]) -> str:
    kept: dict[str, str] = {}
    if tag == "a" and given.get("href", "").lower().startswith(("http://", "https://", "mailto:")):
        kept["href"] = given["href"]
    align = given.get("align", "").lower()
    for declaration in given.get("style", "").lower().split(";"):
        name, _, value = declaration.partition(":")
        if name.strip() == "text-align":
            align = value.strip()
    if tag in _TEXT_BLOCK and align in _ALIGNMENTS:
        kept["align"] = align
    for name in ("colspan", "rowspan", "start"):
        value = given.get(name, "")
        if tag in ("td", "th", "ol") and value.isascii() and value.isdigit() and len(value) < 4:
            kept[name] = value
    return "".join(f' {name}="{html.escape(value)}"' for name, value in kept.items())
