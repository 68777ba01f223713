"""templateOutput: a text made from a template, as Markdown or HTML."""

from __future__ import annotations

from typing import Any

from markdown_it import MarkdownIt
from pydantic import Field

from executions.nodes import Effect, NodeCall, NodeConfig, NodeResult, node

Json = Any


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
        # Raw HTML in data is shown, not interpreted.
        text = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    return NodeResult(output={call.config.output_name: text})
