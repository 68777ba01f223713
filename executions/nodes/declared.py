"""Node types that definitions use and that need something not built in here.

A definition with them parses, draws and runs with pins; run for real, the node fails with the
sentence given here until an app registers the type with a run.
"""

from __future__ import annotations

from typing import Any

from executions.nodes import Effect, NodeConfig, NodeSpec, register

Json = Any

_CONNECTOR = "needs the connector {provider!r}, which is not installed."
_BROWSER = "needs a browser, which is not installed; read the page's text with a url node."
_OCR = "needs a reader of text in pictures, which is not installed; let a vision node read it."


def _declare(
    name: str, title: str, missing: str, description: str, icon: str = "box", **more: Any
) -> None:
    register(
        NodeSpec(
            type=name,
            title=title,
            description=description,
            config=more.pop("config", NodeConfig),
            effect=more.pop("effect", Effect.WRITES_OUTSIDE),
            icon=icon,
            missing=f"The node type {name} {missing}",
            **more,
        )
    )


_declare("webSearch", "Web search", _CONNECTOR, "Search the web.", "search")
_declare(
    "screenshotCapture", "Screenshot", _BROWSER, "Take a picture of a page.", "camera",
    effect=Effect.READS_OUTSIDE, synonyms=("screenshot",),
)  # fmt: skip
_declare(
    "ocrExtraction", "Text in pictures", _OCR, "Read the text in a picture.", "scan-text",
    effect=Effect.READS_OUTSIDE, synonyms=("ocr",),
)  # fmt: skip
