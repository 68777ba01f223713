"""How views describe themselves in OpenAPI: envelopes, lists, names of operations and tags.

    class Workflows(ApiView):
        tag = "Workflows"

        @extend_schema(
            parameters=[PageQuery],
            responses={200: enveloped(listed(WorkflowSummary))},
        )
        def get(self, request: Request) -> Response:
            \"\"\"The first sentence is the operation's summary.

            What follows is its description.
            \"\"\"

What an operation may answer beside its success is added to all of them: see flowmaestro/openapi.py.
"""

from __future__ import annotations

import re
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import get_doc
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

# No part of an operation's name or tag.
_PREFIX = "api"
_VERSION = re.compile(r"v\d+")

Kind = type[serializers.Serializer[Any]]
_made: dict[tuple[str, Kind], Kind] = {}


@extend_schema_field({"type": "boolean", "const": True})
class Yes(serializers.Field[Any, Any, Any, Any]):
    """Always true."""


class Anything(serializers.JSONField):
    """JSON of any kind, null as well."""

    def validate_empty_values(self, data: Any) -> tuple[bool, Any]:
        """Null is a value like any other; described as nullable, it would be two."""
        return (True, None) if data is None else super().validate_empty_values(data)


@extend_schema_field({"type": "object", "additionalProperties": True})
class AnyObject(serializers.JSONField):
    """A JSON object with whatever keys."""

    def to_internal_value(self, data: Any) -> Any:
        """The object. Raises ValidationError for another kind of value."""
        if not isinstance(data, dict):
            raise serializers.ValidationError("It is a JSON object.")
        return data


def enveloped(kind: Kind, *, many: bool = False) -> Kind:
    """`{success: true, data}` around what a serializer class describes, or around a list of it."""
    fields = {"success": Yes(), "data": kind(many=True) if many else kind()}
    return _once(f"{kind.__name__}{'s' if many else ''}Answer", kind, fields)


def listed(kind: Kind) -> Kind:
    """A part of a long list, which is read on with `after`: the `next` of the part before."""
    fields = {
        "items": kind(many=True),
        "pageSize": serializers.IntegerField(),
        "hasMore": serializers.BooleanField(),
        "next": serializers.CharField(allow_null=True),
    }
    return _once(f"{kind.__name__}List", kind, fields)


def paged(kind: Kind) -> Kind:
    """A page of a list that is counted."""
    fields = {
        "items": kind(many=True),
        "total": serializers.IntegerField(),
        "page": serializers.IntegerField(help_text="From 1."),
        "pageSize": serializers.IntegerField(),
        "hasMore": serializers.BooleanField(),
    }
    return _once(f"{kind.__name__}Page", kind, fields)


def _once(name: str, kind: Kind, fields: dict[str, Any]) -> Kind:
    """The class of that name for a kind: a name stands for one class in the whole description."""
    if (name, kind) not in _made:
        _made[name, kind] = type(name, (serializers.Serializer,), fields)
    return _made[name, kind]


class ApiSchema(AutoSchema):
    """Names an operation by its method and path, and describes it by its docstring.

    A view's `tag` groups it; else the first part of its path does.
    """

    def get_operation_id(self) -> str:
        """Such as `post_executions_by_run_cancel`: as unique as the path is."""
        parts = [self.method.lower()]
        for part in self._parts():
            name = re.sub(r"\W", "", part)
            parts.append(f"by_{name.removesuffix('_id')}" if part.startswith("{") else name)
        return "_".join(parts)

    def get_tags(self) -> list[str]:
        """The noun that the operation belongs to."""
        tag = getattr(self.view, "tag", None)
        nouns = [part for part in self._parts() if not _VERSION.fullmatch(part)]
        return [tag or nouns[0].capitalize()]

    def get_summary(self) -> str | None:
        """The first sentence of the method's docstring."""
        return _docstring(self)[0] or None

    def get_description(self) -> str:
        """The rest of it."""
        return _docstring(self)[1]

    def _parts(self) -> list[str]:
        found = [part.replace("-", "_") for part in self.path.strip("/").split("/") if part]
        return found[1:] if found[0] == _PREFIX else found


def _docstring(schema: AutoSchema) -> tuple[str, str]:
    text = get_doc(getattr(schema.view, str(schema.method).lower(), None))
    first, _, rest = text.partition("\n\n")
    return " ".join(first.split()), rest.strip()
