"""Checks values against the schemas of an OpenAPI document, of version 3.0 or 3.1."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import (  # type: ignore[import-untyped]
    Draft202012Validator,
    ValidationError,
    validators,
)
from jsonschema.exceptions import best_match  # type: ignore[import-untyped]
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from executions.connectors import CallRefused
from executions.rules.comparisons import to_text

Json = Any

_URI = "urn:flowmaestro:api"
_STANDARD = Draft202012Validator.VALIDATORS


def _nullable(keyword: str) -> Any:
    """3.0 says `nullable` where 3.1 lists the type null."""

    def check(validator: Any, value: Json, instance: Json, schema: Json) -> Iterator[Any]:
        if instance is None and schema.get("nullable") is True:
            return
        yield from _STANDARD[keyword](validator, value, instance, schema) or ()

    return check


def _exclusive(keyword: str, limit: str) -> Any:
    """3.0 says whether the limit itself counts, 3.1 says the limit."""

    def check(validator: Any, value: Json, instance: Json, schema: Json) -> Iterator[Any]:
        if isinstance(value, bool):
            if value and validator.is_type(instance, "number") and instance == schema.get(limit):
                yield ValidationError(f"{instance!r} is at the limit, which is excluded")
            return
        yield from _STANDARD[keyword](validator, value, instance, schema) or ()

    return check


def _unchecked(validator: Any, value: Json, instance: Json, schema: Json) -> Iterator[Any]:
    """Patterns may take for ever on a text, and the other side checks them in any case."""
    return iter(())


def _required(validator: Any, value: Json, instance: Json, schema: Json) -> Iterator[Any]:
    """What only responses have is not required of a request."""
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    names = [
        name
        for name in (value if isinstance(value, list) else ())
        if not (isinstance(properties.get(name), Mapping) and properties[name].get("readOnly"))
    ]
    yield from _STANDARD["required"](validator, names, instance, schema) or ()


_Validator: Any = validators.extend(
    Draft202012Validator,
    {
        "type": _nullable("type"),
        "enum": _nullable("enum"),
        "exclusiveMinimum": _exclusive("exclusiveMinimum", "minimum"),
        "exclusiveMaximum": _exclusive("exclusiveMaximum", "maximum"),
        "pattern": _unchecked,
        "patternProperties": _unchecked,
        "required": _required,
    },
)


class Schemas:
    """The schemas of one document; references lead into the document and nowhere else."""

    def __init__(self, document: Mapping[str, Json]) -> None:
        resource = DRAFT202012.create_resource(_within(document))
        self._registry: Registry[Any] = Registry().with_resource(_URI, resource)

    def check(self, schema: Json, value: Json, *, what: str) -> None:
        """Raises CallRefused with a sentence about the first thing that does not fit."""
        if not isinstance(schema, Mapping | bool):
            return
        validator = _Validator(_within(schema), registry=self._registry)
        try:
            error = best_match(validator.iter_errors(value))
        except (Unresolvable, RecursionError) as problem:
            raise CallRefused(f"The description of {what} cannot be followed: {problem}.") from None
        except Exception as problem:
            # A schema that is none; whoever described the API has to correct it.
            raise CallRefused(f"The description of {what} is no schema: {problem}.") from problem
        if error is not None:
            where = "".join(f"[{part!r}]" for part in error.absolute_path)
            raise CallRefused(f"{what}{where}: {error.message[:500]}.", field=what)


def _within(schema: Json) -> Json:
    """The schema with references to its own document made absolute."""
    if isinstance(schema, Mapping):
        return {
            key: _URI + item
            if key == "$ref" and isinstance(item, str) and item.startswith("#")
            else _within(item)
            for key, item in schema.items()
        }
    if isinstance(schema, list):
        return [_within(item) for item in schema]
    return schema


def coerced(schema: Json, value: Json) -> Json:
    """A text as the number or truth value that its schema asks for: addresses hold texts only."""
    wanted = schema.get("type") if isinstance(schema, Mapping) else None
    kinds = wanted if isinstance(wanted, list) else [wanted]
    if isinstance(value, str) and "string" not in kinds:
        text = value.strip()
        if "integer" in kinds and re.fullmatch(r"[+-]?\d{1,18}", text):
            return int(text)
        if "number" in kinds and re.fullmatch(r"[+-]?\d{1,18}(\.\d{1,18})?", text):
            return float(text)
        if "boolean" in kinds and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if "array" in kinds:
            return [part.strip() for part in text.split(",")]
    if kinds == ["string"] and isinstance(value, int | float) and not isinstance(value, bool):
        return to_text(value)
    return value
