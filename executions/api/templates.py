"""Templates over HTTP: the workflows that come with the installation, and copies of them."""

from __future__ import annotations

from collections import Counter

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from executions import examples, workflow_edits
from executions.access import Scope
from executions.api.base import ApiView, read, success
from executions.api.schema import enveloped, paged
from executions.api.serializers import templates as shapes
from executions.api.workflows import shown


class Templates(ApiView):
    """/api/templates"""

    tag = "Templates"
    scopes = {"GET": Scope.READ}

    @extend_schema(
        parameters=[shapes.TemplatesQuery],
        responses={200: enveloped(paged(shapes.TemplateSummary))},
    )
    def get(self, request: Request) -> Response:
        """The templates, by name of their file."""
        query = read(shapes.TemplatesQuery, request.query_params)
        limit, offset = query["limit"], query["offset"]
        found = examples.search(category=query["category"], tag=query["tag"], text=query["search"])
        part = found[offset : offset + limit]
        return success(
            {
                "items": shapes.TemplateSummary(part, many=True).data,
                "total": len(found),
                "page": offset // limit + 1,
                "pageSize": limit,
                "hasMore": offset + len(part) < len(found),
            }
        )


class Categories(ApiView):
    """/api/templates/categories"""

    tag = "Templates"
    scopes = {"GET": Scope.READ}

    @extend_schema(responses={200: enveloped(shapes.Category, many=True)})
    def get(self, request: Request) -> Response:
        """The categories that templates are in, and how many are in each."""
        counts = Counter(each.category for each in examples.load_all() if each.category)
        return success([{"name": name, "count": counts[name]} for name in sorted(counts)])


class Template(ApiView):
    """/api/templates/{slug}"""

    tag = "Templates"
    scopes = {"GET": Scope.READ}

    @extend_schema(responses={200: enveloped(shapes.TemplateShape)})
    def get(self, request: Request, slug: str) -> Response:
        """A template with its definition and the inputs that it asks for."""
        return success(shapes.TemplateShape(examples.load(slug)).data)


class Copy(ApiView):
    """/api/templates/{slug}/copy"""

    tag = "Templates"
    scopes = {"POST": Scope.ADMIN}

    @extend_schema(request=shapes.CopyBody, responses={201: enveloped(shapes.Copied)})
    def post(self, request: Request, slug: str) -> Response:
        """Makes a workflow of the workspace out of a template."""
        given = read(shapes.CopyBody, request.data)
        version = workflow_edits.copy(
            self.caller, examples.load(slug), name=given["name"], reason=given["reason"]
        )
        workflow = shown(self.caller, version.workflow_id)
        return success(
            {"workflowId": version.workflow_id, "workflow": workflow},
            http_status=status.HTTP_201_CREATED,
        )
