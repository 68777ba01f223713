"""Node types that ask a model: declared here with their settings, run by whoever has providers.

Until an app registers their run, a node of these types fails with the sentence that says what
is missing. Settings stay as they are written; whoever runs a node checks what it is given.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from executions.nodes import Effect, NodeConfig, NodeSpec, register
from executions.rules.comparisons import to_text

Json = Any

_MISSING = (
    "needs a model provider, and none is configured; add a connection for {provider!r} and name it "
    "in connectionId."
)


def _range(low: float, high: float) -> dict[str, Json]:
    return {"minimum": low, "maximum": high}


class ModelConfig(NodeConfig):
    """Which model, and through which account."""

    provider: Json = Field(None, title="Provider", description="openai, anthropic, google, …")
    model: Json = Field(None, title="Model")
    connection_id: Json = Field(None, title="Connection", description="By id or name")


class LlmConfig(ModelConfig):
    """A question to a language model."""

    system_prompt: Json = Field(None, title="System prompt")
    prompt: Json = Field(None, title="Prompt")
    temperature: Json = Field(0.7, title="Temperature", json_schema_extra=_range(0, 2))
    max_tokens: Json = Field(1000, title="Tokens at most", json_schema_extra=_range(1, 200_000))
    top_p: Json = Field(1, title="Top p", json_schema_extra=_range(0, 1))
    enable_thinking: Json = Field(False, title="Let it think first")
    thinking_budget: Json = Field(
        4096, title="Tokens for thinking", json_schema_extra=_range(1024, 32_768)
    )


class RouterConfig(ModelConfig):
    """The routes a model chooses from."""

    system_prompt: Json = Field(None, title="System prompt")
    prompt: Json = Field(None, title="Prompt")
    routes: tuple[Any, ...] = Field((), title="Routes")
    default_route: str | None = Field(None, title="Route when it cannot tell")
    temperature: Json = Field(0, title="Temperature", json_schema_extra=_range(0, 1))


class VisionConfig(ModelConfig):
    """A picture to look at, or to make."""

    operation: Json = Field("analyze", title="Operation", json_schema_extra={
        "enum": ["analyze", "generate"]
    })  # fmt: skip
    image_input: Json = Field(None, title="Picture")
    prompt: Json = Field(None, title="Prompt")
    max_tokens: Json = Field(1000, title="Tokens at most")


class EmbeddingsConfig(ModelConfig):
    """Text to turn into vectors."""

    input: Json = Field(None, title="Text", description="A text, or a list of them")


class AgentConfig(ModelConfig):
    """An agent and what it is asked."""

    agent_id: Json = Field(None, title="Agent")
    prompt: Json = Field(None, title="Task")
    max_iterations: Json = Field(None, title="Rounds at most")


class KnowledgeBaseQueryConfig(NodeConfig):
    """A knowledge base and the question to find passages for."""

    knowledge_base_id: Json = Field(None, title="Knowledge base")
    query: Json = Field(None, title="Query")
    top_k: Json = Field(5, title="Passages", json_schema_extra=_range(1, 50))
    threshold: Json = Field(0.7, title="Least similarity", json_schema_extra=_range(0, 1))


class AudioConfig(ModelConfig):
    """Sound to hear or to speak."""

    audio_source: Json = Field(None, title="Sound")
    text_input: Json = Field(None, title="Text")
    voice: Json = Field(None, title="Voice")
    speed: Json = Field(1, title="Speed", json_schema_extra=_range(0.25, 4))
    output_format: Json = Field(None, title="Format")


class PictureConfig(ModelConfig):
    """A picture or a film to make."""

    prompt: Json = Field(None, title="Prompt")
    size: Json = Field(None, title="Size")


def _read_router(config: dict[str, Json]) -> dict[str, Json]:
    routes = config.get("routes")
    if isinstance(routes, dict):
        routes = [{"value": value, "description": text} for value, text in routes.items()]
    config["routes"] = (
        [_route(item) for item in routes if item is not None] if isinstance(routes, list) else []
    )
    default = config.get("defaultRoute")
    config["defaultRoute"] = default if isinstance(default, str) else None
    return config


def _route(item: Json) -> dict[str, Json]:
    """A route of the older dialect: a plain text, or named otherwise than by `value`."""
    if not isinstance(item, dict):
        return {"value": item}
    if item.get("value") not in (None, ""):
        return item
    names = (item[key] for key in ("id", "name", "route", "key", "label") if item.get(key))
    return {**item, "value": next(names, "")}


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


def _unknown_route(config: RouterConfig | None, handle: str) -> tuple[str, ...]:
    """A route that is none of the routes means the default route, else the first."""
    routes = () if config is None else config.routes
    known = {name for route in routes for name in _names_of(route)}
    if handle in known:
        return ()
    like = [to_text(route.get("value", "")) for route in routes if handle.strip().lower() in
            {name.lower() for name in _names_of(route)}]  # fmt: skip
    default = None if config is None else config.default_route
    first = [to_text(route.get("value", "")) for route in routes[:1]]
    return (*like, *([default] if default else ()), "default", *first)


def _names_of(route: Any) -> tuple[str, ...]:
    value, label = to_text(route.get("value", "")), route.get("label")
    return (value, label) if isinstance(label, str) and label else (value,)


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
    name: str, title: str, description: str, icon: str, config: type[NodeConfig],
    *, missing: str = _MISSING, **more: Any,
) -> None:  # fmt: skip
    register(
        NodeSpec(
            type=name, title=title, description=description, icon=icon, config=config,
            effect=Effect.WRITES_OUTSIDE, missing=f"The node type {name} {missing}", **more,
        )
    )  # fmt: skip


_declare(
    "router", "Router", "Let a model choose one of several ways.", "route", RouterConfig,
    routes=True, handles=("default",), dialect=_read_router, all_ways=_route_ways,
    derive=_route_of, unknown_way=_unknown_route,
)  # fmt: skip
_declare("llm", "Model", "Ask a language model.", "sparkles", LlmConfig)
_declare("vision", "Vision", "Look at a picture with a model.", "eye", VisionConfig)
_declare("embeddings", "Embeddings", "Turn text into vectors.", "binary", EmbeddingsConfig)
_declare("agent", "Agent", "Let an agent work on a task.", "bot", AgentConfig)
_declare(
    "knowledgeBaseQuery", "Knowledge base", "Find passages in a knowledge base.", "library",
    KnowledgeBaseQueryConfig,
    missing="needs the knowledge app and an embedding provider, and they are not configured.",
    synonyms=("kbQuery", "knowledge-base-query", "knowledgeBase"),
)  # fmt: skip
for _name, _title, _synonyms in (
    ("audio", "Sound", ()),
    ("audioInput", "Speech to text", ()),
    ("audioOutput", "Text to speech", ()),
    ("audioTranscription", "Transcription", ("transcription",)),
):
    _declare(
        _name, _title, "Work on sound with a model.", "audio-lines", AudioConfig,
        synonyms=_synonyms,
    )  # fmt: skip
_declare("imageGeneration", "Picture", "Make a picture with a model.", "image", PictureConfig)
_declare("videoGeneration", "Film", "Make a film with a model.", "film", PictureConfig)
