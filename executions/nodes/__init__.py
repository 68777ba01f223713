"""The node types: what each one is (NodeSpec) and the registry that holds them.

One module per type registers itself with @node; higher apps register theirs the same way. What a
type is called in other dialects is said beside the type.
"""

from __future__ import annotations

import enum
import os
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Generic, TypeVar, get_args

from django.conf import settings
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from executions.errors import Invalid, Unavailable
from executions.rules.definition import ConfigError
from executions.rules.graph import Node
from executions.rules.scope import Scope
from executions.rules.templates import Renderer

Json = Any

BUILTIN = (
    "chart",
    "code",
    "conditional",
    "connectors",
    "declared",
    "file_download",
    "file_operations",
    "files",
    "http",
    "human_review",
    "input",
    "loop",
    "models",
    "output",
    "passthrough",
    "pdf_extract",
    "pdf_generation",
    "shared_memory",
    "spreadsheet",
    "subworkflow",
    "switch",
    "template_output",
    "transform",
    "trigger",
    "url",
    "variable",
    "wait",
)


class Effect(enum.Enum):
    """What running a node does beyond computing; it decides how its step is stored."""

    PURE = "pure"
    READS_OUTSIDE = "reads_outside"
    WRITES_OUTSIDE = "writes_outside"
    # The node is no single step: it waits, through the run's context.
    WAITS = "waits"


class NodeConfig(BaseModel):
    """The base of all config models; unknown keys are kept, names are camel case in JSON."""

    model_config = ConfigDict(
        extra="allow", populate_by_name=True, alias_generator=to_camel, frozen=True
    )

    output_variable: str | None = Field(None, title="Output variable")


class BadConfig(Invalid):
    """A node is configured, or given data, so that it can never succeed."""

    code = "bad_node_config"
    non_retryable = True


class NotAvailable(Unavailable):
    """The node's type, connector or setting is not there; the message says what is missing."""

    code = "node_not_available"
    non_retryable = True


C = TypeVar("C", bound=NodeConfig)


@dataclass(slots=True, kw_only=True)
class NodeResult:
    """What a node gives back: its output, the way out it chose, variables for the run."""

    output: Json
    handle: str | None = None
    variables: Mapping[str, Json] = field(default_factory=dict)
    shared: Mapping[str, Json] = field(default_factory=dict)
    # (variables or shared, name, append or increment, by what): worked out when the node settles,
    # so that nodes that run at the same time lose nothing of each other's.
    changes: Sequence[tuple[str, str, str, Json]] = ()


@dataclass(slots=True, kw_only=True)
class NodeCall(Generic[C]):
    """One run of one node: its typed config, the context it sees, and where it stands."""

    node: Node
    config: C
    scope: Scope
    render: Renderer
    # What the direct predecessors gave, in definition order.
    incoming: Sequence[Json] = ()
    # Whose connections the node may use, beside the shared ones.
    workspace: str | None = None
    # The run's context, for nodes that wait; steps get None.
    ctx: Any = None
    # Tells the run's watchers of a pause and of its end; for nodes that wait.
    pauses: Any = None

    def wrap(self, value: Json) -> Json:
        """The value under the config's outputVariable, or bare when there is none."""
        name = self.config.output_variable
        return {name: value} if name else value


ConfigModel = type[NodeConfig]
Run = Callable[[NodeCall[Any]], Awaitable[NodeResult]]
Dialect = Callable[[dict[str, Json]], dict[str, Json]]


def _one_way(config: Any, handle: str) -> frozenset[str]:
    return frozenset({handle})


def _nothing_instead(config: Any, handle: str) -> tuple[str, ...]:
    return ()


def _no_effects(config: Any, output: Json) -> Mapping[str, Mapping[str, Json]]:
    return {}


def _no_choice(config: Any, output: Json) -> str | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """A node type. `run` is None for a type that is known but not built in here."""

    type: str
    title: str
    description: str
    config: ConfigModel
    effect: Effect
    run: Run | None = None
    synonyms: tuple[str, ...] = ()
    icon: str = "box"
    handles: tuple[str, ...] = ()
    routes: bool = False
    is_loop: bool = False
    is_output: bool = False
    is_entry: bool = False
    # The type reads `timeout` from its config itself, in its own unit.
    own_timeout: bool = False
    missing: str = ""
    dialect: Dialect | None = None
    all_ways: Callable[[Any, str], frozenset[str]] = _one_way
    derive: Callable[[Any, Json], str | None] = _no_choice
    # What takes the place of a way out that the node does not have.
    unknown_way: Callable[[Any, str], tuple[str, ...]] = _nothing_instead
    # The `variables` and the `shared` values that an output stands for, when a pin gives it.
    effects: Callable[[Any, Json], Mapping[str, Mapping[str, Json]]] = _no_effects

    def read(self, config: dict[str, Json]) -> NodeConfig:
        """The typed config, from either dialect. Raises ConfigError with a sentence per field."""
        normal = self.dialect(dict(config)) if self.dialect is not None else dict(config)
        normal.pop("__type", None)
        _drop_blanks(self.config, normal)
        try:
            return self.config.model_validate(normal)
        except ValidationError as error:
            raise ConfigError([_problem(item) for item in error.errors()]) from error

    def ways(self, config: Any, handle: str) -> frozenset[str]:
        """All names that edges may give the way out `handle`."""
        return self.all_ways(config, handle)

    def instead(self, config: Any, handle: str) -> tuple[str, ...]:
        """Ways to try, in order, when `handle` is none that the node has and no edge bears it."""
        return self.unknown_way(config, handle)


def _drop_blanks(model: ConfigModel, config: dict[str, Json]) -> None:
    """Takes away what a form left empty: null, and empty text where text means nothing."""
    for name, info in model.model_fields.items():
        if info.annotation is Any:
            continue
        takes_text = info.annotation is str or str in get_args(info.annotation)
        for key in (name, info.alias or name):
            if key in config and (config[key] is None or (config[key] == "" and not takes_text)):
                del config[key]


def _problem(item: Any) -> tuple[str, str]:
    where = ".".join(str(part) for part in item["loc"]) or "config"
    if item["type"] == "missing":
        return where, f"{where} is missing; fill it in."
    message = str(item["msg"]).removeprefix("Value error, ")
    if not item["loc"]:
        return where, message
    message = message.removesuffix(".")
    return where, f"{where}: {message[:1].lower()}{message[1:]}."


_specs: dict[str, NodeSpec] = {}
_names: dict[str, NodeSpec] = {}
_loaded = _is_loading = False
_load_lock = threading.RLock()


def register(spec: NodeSpec) -> NodeSpec:
    """Add a type; one that is only declared gives way to the one that runs."""
    present = _specs.get(spec.type)
    if present is not None and present.run is not None:
        if spec.run is None:
            return present
        raise RuntimeError(f"The node type {spec.type!r} is registered twice.")
    _specs[spec.type] = spec
    for name in (spec.type, *spec.synonyms):
        _names[name.lower()] = spec
    return spec


def node(type_: str, *, config: type[NodeConfig], effect: Effect, **options: Any) -> Any:
    """Register the decorated coroutine function as the run of a node type.

    Its docstring's first line describes the type wherever types are listed.
    """

    def decorate(run: Run) -> Run:
        description = (run.__doc__ or "").strip().partition("\n")[0]
        options.setdefault("title", type_[:1].upper() + type_[1:])
        register(
            NodeSpec(
                type=type_,
                config=config,
                effect=effect,
                run=run,
                description=description,
                **options,
            )
        )
        return run

    return decorate


def load() -> None:
    """Import the built-in types; others register when their app starts."""
    global _loaded, _is_loading
    if _loaded:
        return
    # The first requests of a web process come at once: none may see a part of the types.
    with _load_lock:
        # A module that is being imported may ask for a type itself.
        if _loaded or _is_loading:
            return
        _is_loading = True
        try:
            for module in BUILTIN:
                import_module(f"executions.nodes.{module}")
            _loaded = True
        finally:
            _is_loading = False


def find(name: str) -> NodeSpec | None:
    """The type of this name, which may be a synonym in any case."""
    load()
    return _names.get(name.lower())


def catalogue() -> list[NodeSpec]:
    """All types, by name."""
    load()
    return sorted(_specs.values(), key=lambda spec: spec.type.lower())


def setting(name: str, default: Any) -> Any:
    """A value of settings.FLOWMAESTRO, or the default where it is not set."""
    options = getattr(settings, "FLOWMAESTRO", None)
    if isinstance(options, Mapping):
        return options.get(name, default)
    return getattr(options, name, default)


def allowed_environment() -> dict[str, str]:
    """The environment variables that templates may read: those an operator listed."""
    listed = setting("TEMPLATE_ENV", ())
    return {name: os.environ[name] for name in listed if name in os.environ}
