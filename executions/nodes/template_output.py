"""templateOutput: a text made from a template, as Markdown or HTML."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from markdown_it import MarkdownIt
from pydantic import Field

from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, node

Json = Any

MAX_HTML = 200_000
MAX_CELLS = 100_000
_BLANK_LINES = re.compile(r"\n[ \t]*\n")


class TemplateOutputConfig(NodeConfig):
    """A name, the template, and the format of the result."""

    output_name: str = Field("output", title="Name")
    template: str = Field(..., title="Template")
    output_format: str = Field("markdown", title="Format", description="markdown or html")


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    config["outputName"] = config.get("outputName") or config.get("outputVariable") or "output"
    if config.get("outputFormat") is None:
        config["outputFormat"] = config.get("format") or "markdown"
    return config


@node(
    "templateOutput",
    synonyms=("template-output",),
    title="Template output",
    config=TemplateOutputConfig,
    effect=Effect.PURE,
    icon="file-text",
    is_output=True,
    dialect=_dialect,
)
async def template_output(call: NodeCall[TemplateOutputConfig]) -> NodeResult:
    """Write a document from a template and make it a result of the run."""
    text = call.render.text(call.config.template)
    if call.config.output_format == "html":
        _check_size(text)
        # It can take seconds, in which the loop has other runs to see to.
        text = await asyncio.to_thread(_html, text)
    return NodeResult(output={call.config.output_name: text})


def _check_size(text: str) -> None:
    if len(text) > MAX_HTML:
        raise BadConfig(
            f"The text has {len(text):,} characters; at most {MAX_HTML:,} become HTML. Make it "
            "shorter, or choose the format markdown.",
            field="template",
        )
    # Each line of a table is filled up to the width of its head: few characters, many cells.
    blocks = (block.split("\n") for block in _BLANK_LINES.split(text))
    cells = sum(max(line.count("|") for line in lines) * len(lines) for lines in blocks)
    if cells > MAX_CELLS:
        raise BadConfig(
            f"Its tables may have {cells:,} cells; at most {MAX_CELLS:,} become HTML.",
            field="template",
        )


def _html(text: str) -> str:
    # Raw HTML in data is shown, not interpreted.
    return MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
