"""The operations that an OpenAPI document describes, ready to be called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from executions.connectors.openapi.document import BadDocument, follow, inlined

Json = Any

METHODS = ("get", "post", "put", "patch", "delete", "head", "options")
MAX_OPERATIONS = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A value in the path, the query, a header or a cookie."""

    name: str
    place: str
    is_required: bool
    schema: Json
    style: str
    explode: bool
    is_json: bool
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What may be sent, by media type; the first that can be made is sent."""

    kinds: Mapping[str, Json]
    is_required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiOperation:
    """One path and method. `security` lists alternatives; None: the document says nothing."""

    name: str
    method: str
    path: str
    title: str
    description: str
    parameters: tuple[Parameter, ...]
    body: Body | None
    server: str
    security: tuple[tuple[str, ...], ...] | None

    @property
    def label(self) -> str:
        """The method and path: its name where it has none of its own."""
        return f"{self.method} {self.path}"


def operations_of(document: Mapping[str, Json]) -> dict[str, ApiOperation]:
    """Every operation by its operationId, or by method and path. Raises BadDocument."""
    found: dict[str, ApiOperation] = {}
    for path, item in document["paths"].items():
        item = follow(document, item)
        if not isinstance(item, Mapping) or not path.startswith("/"):
            continue
        for method in METHODS:
            entry = item.get(method)
            if isinstance(entry, Mapping):
                operation = _operation(document, path, method.upper(), item, entry)
                # A second one of a name is still there under its method and path.
                name = operation.label if operation.name in found else operation.name
                found[name] = operation
        if len(found) > MAX_OPERATIONS:
            raise BadDocument(f"The document has more than {MAX_OPERATIONS:,} operations.")
    if not found:
        raise BadDocument("The document has no operation that can be called.")
    return found


def _operation(
    document: Mapping[str, Json],
    path: str,
    method: str,
    item: Mapping[str, Json],
    entry: Mapping[str, Json],
) -> ApiOperation:
    label = f"{method} {path}"
    name = entry.get("operationId")
    servers = entry.get("servers") or item.get("servers") or document.get("servers")
    listed = [*(item.get("parameters") or ()), *(entry.get("parameters") or ())]
    merged = {(each.name, each.place): each for each in _parameters(document, listed)}
    return ApiOperation(
        name=name if isinstance(name, str) and name.strip() else label,
        method=method,
        path=path,
        title=str(entry.get("summary") or label),
        description=str(entry.get("description") or ""),
        parameters=tuple(merged.values()),
        body=_body(document, entry.get("requestBody")),
        server=_server(servers),
        security=_security(entry.get("security", document.get("security"))),
    )


def _parameters(document: Mapping[str, Json], listed: list[Json]) -> Iterator[Parameter]:
    for given in listed:
        each = follow(document, given)
        if not isinstance(each, Mapping) or not isinstance(each.get("name"), str):
            continue
        place = each.get("in")
        if place not in ("path", "query", "header", "cookie"):
            continue
        content = each.get("content")
        schema = each.get("schema", {})
        if isinstance(content, Mapping) and content:
            schema = next(iter(content.values())).get("schema", {})
        style = str(each.get("style") or ("form" if place in ("query", "cookie") else "simple"))
        yield Parameter(
            name=each["name"],
            place=place,
            is_required=bool(each.get("required")) or place == "path",
            schema=schema,
            style=style,
            explode=bool(each.get("explode", style == "form")),
            is_json=isinstance(content, Mapping) and any("json" in kind for kind in content),
            description=str(each.get("description") or ""),
        )


def _body(document: Mapping[str, Json], given: Json) -> Body | None:
    body = follow(document, given)
    content = body.get("content") if isinstance(body, Mapping) else None
    if not isinstance(content, Mapping) or not content:
        return None
    kinds = {
        kind.partition(";")[0].strip().lower(): media.get("schema", {})
        for kind, media in content.items()
        if isinstance(media, Mapping)
    }
    return Body(kinds=kinds, is_required=bool(body.get("required"))) if kinds else None


def _server(servers: Json) -> str:
    """The first server's address, its variables at their defaults."""
    first = servers[0] if isinstance(servers, list) and servers else None
    if not isinstance(first, Mapping):
        return ""
    url = str(first.get("url") or "")
    variables = first.get("variables")
    for name, variable in variables.items() if isinstance(variables, Mapping) else ():
        if isinstance(variable, Mapping):
            url = url.replace(f"{{{name}}}", str(variable.get("default", "")))
    return url.rstrip("/")


def _security(given: Json) -> tuple[tuple[str, ...], ...] | None:
    if not isinstance(given, list):
        return None
    return tuple(tuple(each) for each in given if isinstance(each, Mapping))


def schema_of(document: Mapping[str, Json], operation: ApiOperation) -> dict[str, Json]:
    """What an operation takes, as JSON Schema: its parameters, and the body under `body`."""
    properties: dict[str, Json] = {}
    required = []
    for each in operation.parameters:
        schema = inlined(document, each.schema)
        described = {"description": each.description} if each.description else {}
        properties[each.name] = {**(schema if isinstance(schema, dict) else {}), **described}
        if each.is_required:
            required.append(each.name)
    if operation.body is not None:
        properties["body"] = inlined(document, next(iter(operation.body.kinds.values())))
        if operation.body.is_required:
            required.append("body")
    return {"type": "object", "properties": properties, "required": required}
