"""Templates: the workflows that come with the installation, to be copied."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from executions.api.schema import Anything
from executions.api.serializers.common import PageQuery, ReasonBody, Word
from executions.api.serializers.workflows import WorkflowShape
from executions.examples import Example
from executions.workflow_edits import NAME_LIMIT


class TemplatesQuery(PageQuery):
    """Which templates."""

    category = Word()
    tag = Word()
    search = Word(help_text="A part of the name, description or a tag.")


class CopyBody(ReasonBody):
    """How the copy is called; else as the template, with a number where that is taken."""

    name = serializers.CharField(
        required=False, default=None, allow_null=True, max_length=NAME_LIMIT
    )


class InputField(serializers.Serializer[Any]):
    """One input that the workflow asks for, as a form shows it."""

    name = serializers.CharField()
    label = serializers.CharField()
    kind = serializers.CharField()
    value = serializers.CharField()
    description = serializers.CharField()
    required = serializers.BooleanField()


class TemplateSummary(serializers.Serializer[Any]):
    """A template in a list."""

    slug = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    category = serializers.CharField()
    tags = serializers.ListField(child=serializers.CharField())
    isAvailable = serializers.SerializerMethodField(help_text="Whether it can run here.")
    problem = serializers.CharField(help_text="Why it cannot, if it cannot.")

    def get_isAvailable(self, template: Example) -> bool:
        """Whether nothing keeps it from running."""
        return not template.problem


class TemplateShape(TemplateSummary):
    """A template with its definition."""

    inputs = InputField(source="fields", many=True)
    definition = Anything()


class Category(serializers.Serializer[Any]):
    """A category, and how many templates are in it."""

    name = serializers.CharField()
    count = serializers.IntegerField()


class Copied(serializers.Serializer[Any]):
    """The workflow that a copy has become."""

    workflowId = serializers.CharField()
    workflow = WorkflowShape()
