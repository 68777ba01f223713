"""Node types that definitions use and that need something not built in here.

A definition with them parses, draws and runs with pins; run for real, the node fails with the
sentence given here until an app registers the type with a run.
"""

from __future__ import annotations

from typing import Any

from executions.nodes import Effect, NodeConfig, NodeSpec, register
from executions.rules.comparisons import to_text

Json = Any

_PROVIDER = "needs a model provider, and none is configured; add a connection for {provider!r}."
_CONNECTOR = "needs the connector {provider!r}, which is not installed."
_SANDBOX = "needs the code sandbox, which is not installed."
_NETWORK = "is not installed; use an http node to fetch the address."
_FILES = "needs file storage, which is not installed."


class RouterConfig(NodeConfig):
    """The routes a model chooses from."""

    routes: tuple[Any, ...] = ()
    default_route: str | None = None


def _read_routes(config: dict[str, Json]) -> dict[str, Json]:
    routes = config.get("routes")
    config["routes"] = (
        [item if isinstance(item, dict) else {"value": item} for item in routes]
        if isinstance(routes, list)
        else []
    )
    default = config.get("defaultRoute")
    config["defaultRoute"] = default if isinstance(default, str) else None
    return config


def _route_ways(config: RouterConfig | None, handle: str) -> frozenset[str]:
    names = {handle, f"case-{handle}", f"route-{handle}"}
    if config is not None:
        for index, route in enumerate(config.routes):
            value, label = to_text(route.get("value", "")), route.get("label")
            own = {value, f"case-{value}", f"route-{value}", f"case-{index}", f"route-{index}"}
            if isinstance(label, str) and label:
                own.add(label)
            if handle in own:
                return frozenset(own | ({"default"} if handle == "default" else set()))
        if handle in ("default", config.default_route):
            names.add("default")
    return frozenset(names)


def _route_of(config: RouterConfig | None, output: Json) -> str | None:
    """The route a router's output names: under its variable, or in the usual keys."""
    if isinstance(output, dict):
        name = getattr(config, "output_variable", None)
        for key in (name, "selectedRoute", "route", "value", "category"):
            if key and key in output:
                return _route_of(config, output[key])
        return getattr(config, "default_route", None)
    return to_text(output) if isinstance(output, str | int | float | bool) else None


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


_declare(
    "router",
    "Router",
    _PROVIDER,
    "Let a model choose one of several ways.",
    "route",
    config=RouterConfig,
    routes=True,
    handles=("default",),
    dialect=_read_routes,
    all_ways=_route_ways,
    derive=_route_of,
)
_declare("llm", "Model", _PROVIDER, "Ask a language model.", "sparkles")
_declare("vision", "Vision", _PROVIDER, "Look at an image with a model.", "eye")
_declare("embeddings", "Embeddings", _PROVIDER, "Turn text into vectors.", "binary")
_declare("agent", "Agent", _PROVIDER, "Let an agent work on a task.", "bot")
_declare(
    "knowledgeBaseQuery",
    "Knowledge base",
    "needs the knowledge app and an embedding provider, and they are not configured.",
    "Find passages in a knowledge base.",
    "library",
    synonyms=("kbQuery", "knowledge-base-query", "knowledgeBase"),
)
for _name, _synonyms in (
    ("audio", ()),
    ("audioInput", ()),
    ("audioOutput", ()),
    ("audioTranscription", ("transcription",)),
    ("imageGeneration", ()),
    ("videoGeneration", ()),
):
    _declare(
        _name, _name, _PROVIDER, "Work on sound or pictures with a model.", "audio-lines",
        synonyms=_synonyms,
    )  # fmt: skip
_declare("integration", "Integration", _CONNECTOR, "Call an operation of a connector.", "plug")
_declare("action", "Action", _CONNECTOR, "Call an operation of a connector.", "plug")
_declare("database", "Database", _CONNECTOR, "Query a database.", "database")
_declare("webSearch", "Web search", _CONNECTOR, "Search the web.", "search")
_declare("code", "Code", _SANDBOX, "Run a short program.", "code")
for _name in ("url", "webBrowse", "fileDownload", "screenshotCapture"):
    _declare(_name, _name, _NETWORK, "Fetch a page or file.", "globe", effect=Effect.READS_OUTSIDE)
for _name, _synonyms in (
    ("fileRead", ()),
    ("fileWrite", ()),
    ("fileOperations", ("file",)),
    ("pdfExtract", ()),
    ("pdfGeneration", ("pdf",)),
    ("chartGeneration", ("chart",)),
    ("spreadsheetGeneration", ("spreadsheet",)),
    ("ocrExtraction", ("ocr",)),
):
    _declare(_name, _name, _FILES, "Read or make a file.", "file", synonyms=_synonyms)
_declare("files", "Files", _FILES, "Take uploaded files.", "files", is_entry=True)
_declare(
    "subworkflow",
    "Workflow",
    "is not installed; start the other workflow by its own trigger.",
    "Run another workflow and wait for it.",
    "workflow",
    synonyms=("subWorkflow", "workflow"),
)
