"""What OpenAPI says of the whole API: who may call, what any operation may answer, where it is."""

from __future__ import annotations

import functools
from copy import deepcopy
from typing import Any, Final

from drf_spectacular import authentication
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.request import Request
from rest_framework.response import Response

Json = Any

DESCRIPTION: Final = """\
What succeeds answers `{"success": true, "data": ...}`, what does not
`{"success": false, "error": ..., "code": ..., "details": ...}`: a sentence for people, a stable
word for programs, and the field or the issues at fault. What belongs to another workspace is not
found. A signed-in user may name one of several workspaces with `X-Workspace-Id`; a key belongs to
one.
"""

ERROR: Final[Json] = {
    "type": "object",
    "description": "Why a request was refused.",
    "required": ["success", "error", "code", "details"],
    "properties": {
        "success": {"type": "boolean", "const": False},
        "error": {"type": "string", "description": "A sentence: what is wrong, what would help."},
        "code": {"type": "string", "description": "A word that stays the same between releases."},
        "details": {
            "type": "object",
            "description": "`field` or `issues`, or the complaints about each field.",
            "additionalProperties": True,
        },
    },
}
# The answers of any operation, and of those with a body or with something named in the path.
ALWAYS: Final = {
    "400": "Something in the request is wrong; `details` names the field.",
    "401": "No key, or one that is not valid.",
    "403": "The key or the member lacks the scope.",
    "404": "It is not there, or it belongs to another workspace.",
    "405": "The path does not take this method.",
    "406": "Answers are JSON.",
    "409": "It is not in a condition that allows this.",
    "429": "Too many requests; Retry-After says when to come back.",
    "503": "Something this depends on does not answer now.",
}
WITH_BODY: Final = {"413": "The body is too large.", "415": "Bodies are JSON."}


# No view of REST framework: a webhook is whatever its sender makes of it. It answers any method.
WEBHOOK: Final[Json] = {
    "operationId": "post_webhooks_by_trigger",
    "summary": "Takes in what another service sends, and starts the trigger's workflow.",
    "description": "Of any method that the trigger takes. What the sender has to show, such as a "
    "signature of the body, is the trigger's to say.",
    "tags": ["Webhooks"],
    "parameters": [
        {"in": "path", "name": "trigger_id", "required": True, "schema": {"type": "string"}}
    ],
    "requestBody": {"content": {"*/*": {"schema": {}}}},
    "security": [{}],
    "responses": {
        "200": {
            "description": "It had come before, or is a trial of the sender.",
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
        "202": {
            "description": "The run is there.",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["success", "executionId", "message"],
                        "properties": {
                            "success": {"type": "boolean", "const": True},
                            "executionId": {"type": "string"},
                            "message": {"type": "string"},
                        },
                    }
                }
            },
        },
    },
}


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """Keys and the public tokens signed with them."""

    target_class = "flowmaestro.api.ApiKeyAuthentication"
    name = ["apiKey", "publicToken"]

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[str]]]:
        """Either of the two; a public token only where the view lets one in."""
        found: list[dict[str, list[str]]] = [{"apiKey": []}]
        if _takes_public_tokens(auto_schema.view):
            found.append({"publicToken": []})
        return found

    def get_security_definition(self, auto_schema: AutoSchema) -> list[Json]:
        """Both travel in the same header."""
        return [
            {"type": "http", "scheme": "bearer", "description": "An API key: `fm_...`."},
            {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "A public token, signed with an API key, for what it was made for.",
            },
        ]


class SessionScheme(authentication.SessionScheme):
    """The cookie of a signed-in user, with the CSRF token in a header for what changes anything."""

    target_class = "flowmaestro.api.SessionAuthentication"
    name = "session"
    priority = 1


def _takes_public_tokens(view: Any) -> bool:
    from executions.api.base import ApiView

    return isinstance(view, ApiView) and type(view).public_access is not ApiView.public_access


def add_errors(result: Json, **_: Any) -> Json:
    """Adds what any operation may answer, where it does not describe it itself."""
    result["info"]["description"] = DESCRIPTION
    result["paths"]["/webhooks/{trigger_id}"] = {"post": deepcopy(WEBHOOK)}
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Error"] = ERROR
    responses = components.setdefault("responses", {})
    for status, text in {**ALWAYS, **WITH_BODY}.items():
        schema = {"$ref": "#/components/schemas/Error"}
        responses[f"Error{status}"] = {
            "description": text,
            "content": {"application/json": {"schema": schema}},
        }
    for path in result["paths"].values():
        for operation in path.values():
            own = operation["responses"]
            for status in (*ALWAYS, *(WITH_BODY if "requestBody" in operation else ())):
                own.setdefault(status, {"$ref": f"#/components/responses/Error{status}"})
            operation["responses"] = dict(sorted(own.items()))
    return result


@functools.cache
def document() -> Json:
    """The description of every route of the API. It is the same for all, and takes a while."""
    return SchemaGenerator().get_schema(request=None, public=True)


class SchemaView(SpectacularAPIView):
    """GET /api/schema/: for anybody, since it holds no data; as JSON unless YAML is asked for."""

    authentication_classes = ()
    renderer_classes = [
        OpenApiJsonRenderer2, OpenApiJsonRenderer, OpenApiYamlRenderer2, OpenApiYamlRenderer,
    ]  # fmt: skip

    def _get_schema_response(self, request: Request) -> Response:
        return Response(document())


class DocsView(SpectacularSwaggerView):
    """GET /api/docs/: the same for people, who may try it out with a key or their session."""

    http_method_names = ("get", "head")
    authentication_classes = ()
