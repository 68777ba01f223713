"""An OpenAPI document from its text: bounded, plain JSON, and without references to elsewhere."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

import yaml

from executions.errors import Invalid

Json = Any

MAX_BYTES = 15_000_000
# The YAML parser is a hundred times slower than the one for JSON.
MAX_YAML_BYTES = 5_000_000
MAX_VALUES = 2_000_000
MAX_DEPTH = 100
MAX_HOPS = 30


class BadDocument(Invalid):
    """The text is no OpenAPI document that can be used; the message says why."""

    code = "bad_api_description"

    def __init__(self, message: str) -> None:
        super().__init__(message, field="document")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML's plain values; a date stays the text that it is in JSON."""


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:timestamp"]
    for letter, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(text: str) -> dict[str, Json]:
    """The document of a JSON or YAML text. Raises BadDocument."""
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise BadDocument(f"The document is over {MAX_BYTES:,} bytes.")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = _yaml(text)
    return check(document)


def check(document: Json) -> dict[str, Json]:
    """A document as plain JSON, within bounds, of a version that is known. Raises BadDocument."""
    budget = [MAX_VALUES]
    plain = _plain(document, 0, budget)
    if not isinstance(plain, dict) or not isinstance(plain.get("paths", {}), dict):
        raise BadDocument("An OpenAPI document is an object with `openapi` and `paths`.")
    version = str(plain.get("openapi", ""))
    if not version.startswith(("3.0", "3.1")):
        said = f"OpenAPI {version}" if version else "no OpenAPI version"
        if "swagger" in plain:
            said = f"Swagger {plain['swagger']}"
        raise BadDocument(f"The document says {said}; 3.0 and 3.1 are read. Convert it first.")
    if not plain.get("paths"):
        raise BadDocument("The document has no paths, so there is nothing to call.")
    return plain


def _yaml(text: str) -> Json:
    if len(text.encode(errors="replace")) > MAX_YAML_BYTES:
        raise BadDocument(f"A YAML document has at most {MAX_YAML_BYTES:,} bytes; give it as JSON.")
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadDocument(f"The document is neither JSON nor YAML: {error}.") from error


def _plain(value: Json, depth: int, budget: list[int]) -> Json:
    """A copy of plain JSON values. What YAML's aliases repeat counts each time."""
    budget[0] -= 1
    if budget[0] < 0:
        raise BadDocument(f"The document has more than {MAX_VALUES:,} values.")
    if depth > MAX_DEPTH:
        raise BadDocument(f"The document is nested deeper than {MAX_DEPTH} levels.")
    if isinstance(value, Mapping):
        reference = value.get("$ref")
        if isinstance(reference, str) and not reference.startswith("#"):
            raise BadDocument(
                f"The document refers to {reference[:200]!r}, which is not in it; bundle it into "
                "one file first."
            )
        return {str(key): _plain(item, depth + 1, budget) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1, budget) for item in value]
    if isinstance(value, str):
        if "\0" in value:
            raise BadDocument("The document holds a NUL character.")
        return value
    if isinstance(value, bool | int | None):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, datetime.date | datetime.datetime):
        return value.isoformat()
    raise BadDocument(f"The document holds a {type(value).__name__}, which is not JSON.")


def follow(document: Mapping[str, Json], value: Json) -> Json:
    """The value itself, or what its `$ref` leads to in the document. Raises BadDocument."""
    for _ in range(MAX_HOPS):
        if not isinstance(value, Mapping) or not isinstance(value.get("$ref"), str):
            return value
        value = _at(document, value["$ref"])
    raise BadDocument("A reference in the document leads in a circle.")


def _at(document: Mapping[str, Json], reference: str) -> Json:
    found: Json = document
    for part in reference.removeprefix("#").split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~").replace("%7B", "{").replace("%7D", "}")
        if isinstance(found, Mapping) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        else:
            raise BadDocument(f"The reference {reference[:200]!r} leads nowhere in the document.")
    return found


def inlined(document: Mapping[str, Json], schema: Json, depth: int = 5) -> Json:
    """A schema with its references replaced, down to a depth; deeper ones allow anything."""
    try:
        schema = follow(document, schema)
    except BadDocument:
        return {}
    if isinstance(schema, Mapping):
        if depth <= 0:
            return {key: schema[key] for key in ("type", "title") if key in schema}
        return {key: inlined(document, item, depth - 1) for key, item in schema.items()}
    if isinstance(schema, list):
        return [inlined(document, item, depth - 1) for item in schema]
    return schema
