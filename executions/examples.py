"""The workflows shipped under `examples/`, and the inputs that each one asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from executions import nodes
from executions.errors import Invalid, NotFound
from executions.rules.definition import read
from executions.rules.graph import Graph

Json = Any

# Inputs of this name take this installation's own address, so that "Start" works as it is.
_OWN_ADDRESS = frozenset({"base_url", "baseUrl"})
_KINDS = frozenset({"text", "number", "boolean", "json"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One input of a workflow, as a form shows it; `value` is what it is filled with."""

    name: str
    label: str
    kind: str
    value: str
    description: str
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A workflow that can be started as it is. `problem` says why it cannot, when it cannot."""

    slug: str
    name: str
    description: str
    definition: Json
    category: str = ""
    tags: tuple[str, ...] = ()
    fields: tuple[Field, ...] = ()
    problem: str = ""


def load_all() -> list[Example]:
    """Every example, by file name."""
    return [_load(path) for path in sorted(Path(settings.EXAMPLES_DIR).glob("*.json"))]


def load(slug: str) -> Example:
    """The example of that file name, without its ending. Raises NotFound."""
    for example in load_all():
        if example.slug == slug:
            return example
    raise NotFound(f"There is no example {slug!r}.", field="example")


def search(
    *, category: str | None = None, tag: str | None = None, text: str | None = None
) -> list[Example]:
    """The examples of a category and with a tag, whose name, description or tags hold the text."""
    wanted = (text or "").casefold()
    return [
        example
        for example in load_all()
        if category in (None, example.category)
        and (tag is None or tag in example.tags)
        and any(
            wanted in part.casefold() for part in (example.name, example.description, *example.tags)
        )
    ]


def unwrap(document: Json) -> tuple[Json, dict[str, Json]]:
    """A definition and the wrapper around it, from a document that may be either.

    A definition without a name takes its wrapper's.
    """
    if not isinstance(document, dict) or "nodes" in document or "definition" not in document:
        return document, {}
    definition = document["definition"]
    if isinstance(definition, dict) and document.get("name") and not definition.get("name"):
        definition = {**definition, "name": document["name"]}
    return definition, document


def read_inputs(example: Example, answers: Mapping[str, str]) -> dict[str, Json]:
    """The inputs of a run from what a form holds. Raises Invalid naming the field at fault."""
    return {
        field.name: _value(field, answers[field.name])
        for field in example.fields
        # An empty field leaves the choice to the workflow's own default.
        if answers.get(field.name, "").strip()
    }


def _load(path: Path) -> Example:
    slug = path.stem
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return Example(
            slug=slug, name=slug, description="", definition=None, problem=f"{path.name}: {error}"
        )
    definition, wrapper = unwrap(document)
    graph, issues = read(definition, nodes.find)
    given = definition if isinstance(definition, dict) else {}
    return Example(
        slug=slug,
        name=str(wrapper.get("name") or given.get("name") or slug),
        description=str(wrapper.get("description") or given.get("description") or ""),
        definition=definition,
        category=str(wrapper.get("category") or given.get("category") or ""),
        tags=_tags(wrapper.get("tags") or given.get("tags")),
        fields=() if graph is None else _fields(graph, wrapper.get("inputs")),
        problem=" ".join(issue.message for issue in issues if issue.severity == "error"),
    )


def _tags(value: Json) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _fields(graph: Graph, samples: Json) -> tuple[Field, ...]:
    values = samples if isinstance(samples, dict) else {}
    found: dict[str, Field] = {}
    for node in graph.nodes.values():
        config = node.config
        name = getattr(config, "input_name", None)
        if node.type != "input" or not name or name in found:
            continue
        value = values.get(name, config.default_value)
        if name in _OWN_ADDRESS:
            value = settings.PUBLIC_URL
        found[name] = Field(
            name=name,
            label=node.name or name,
            kind=config.input_type if config.input_type in _KINDS else "text",
            value=_shown(value),
            description=config.description or "",
            required=config.required,
        )
    return tuple(found.values())


def _shown(value: Json) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _value(field: Field, text: str) -> Json:
    if field.kind == "text":
        return text
    try:
        value = json.loads(text)
    except ValueError as error:
        raise Invalid(f"{field.label}: not JSON: {error}.", field=field.name) from error
    if field.kind == "number" and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise Invalid(f"{field.label}: {text!r} is not a number.", field=field.name)
    if field.kind == "boolean" and not isinstance(value, bool):
        raise Invalid(f"{field.label}: {text!r} is neither true nor false.", field=field.name)
    return value
