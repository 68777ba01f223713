"""Workflows and their versions: what comes in and what goes out."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from executions.api.schema import AnyObject, Anything
from executions.api.serializers.common import PageQuery, ReasonBody, Word
from executions.models import Workflow
from executions.rules.statuses import RunStatus
from executions.workflow_edits import DESCRIPTION_LIMIT, NAME_LIMIT

MAX_WAIT = 300.0


class WorkflowsQuery(PageQuery):
    """Which workflows."""

    search = Word(max_length=200, help_text="A part of the name or description.")


class VersionsQuery(serializers.Serializer[Any]):
    """Which versions."""

    before = serializers.IntegerField(
        required=False, default=None, min_value=1, max_value=2**31 - 1, help_text="Older ones only."
    )
    limit = serializers.IntegerField(required=False, default=50, min_value=1, max_value=100)


class NewWorkflow(ReasonBody):
    """A workflow to be made."""

    name = serializers.CharField(max_length=NAME_LIMIT)
    definition = AnyObject(help_text="Nodes and edges, in the form of a map or of a list.")
    description = serializers.CharField(
        required=False, default=None, allow_null=True, allow_blank=True,
        max_length=DESCRIPTION_LIMIT, help_text="Else that of the definition.",
    )  # fmt: skip


class ChangedWorkflow(ReasonBody):
    """What is to be different; what is left out stays."""

    name = serializers.CharField(required=False, max_length=NAME_LIMIT)
    definition = AnyObject(required=False)
    description = serializers.CharField(
        required=False, allow_blank=True, max_length=DESCRIPTION_LIMIT
    )
    baseVersion = serializers.IntegerField(
        required=False, default=None, allow_null=True, min_value=1, max_value=2**31 - 1,
        help_text="The version that was edited; 409 when another one is the newest by now.",
    )  # fmt: skip


class Definition(serializers.Serializer[Any]):
    """A definition to look at."""

    workflowDefinition = AnyObject()


class MaybeDefinition(serializers.Serializer[Any]):
    """A definition to look at; without it, the workflow's own."""

    workflowDefinition = AnyObject(required=False)


class ExecuteStored(serializers.Serializer[Any]):
    """What a run of a stored workflow gets."""

    inputs = AnyObject(required=False, default=None, allow_null=True)
    pins = AnyObject(
        required=False, default=None, allow_null=True,
        help_text="What stands in for nodes: `{node: {output} or {error} or {attempts}}`.",
    )  # fmt: skip
    wait = serializers.FloatField(
        required=False, default=0, min_value=0,
        help_text=f"Seconds to wait for the run to end; more than {MAX_WAIT:g} count as that.",
    )  # fmt: skip
    idempotencyKey = serializers.CharField(
        required=False, default=None, allow_null=True, max_length=2048,
        help_text="The workspace's runs of workflows have each key once; again, it is that run.",
    )  # fmt: skip
    tags = serializers.ListField(
        child=serializers.CharField(max_length=128), required=False, default=list, max_length=10
    )
    metadata = AnyObject(required=False, default=None, allow_null=True)
    delay = serializers.CharField(
        required=False, default=None, allow_null=True, max_length=100,
        help_text="When it starts: `90`, `1h30m` or a moment such as 2026-01-31T12:00:00Z.",
    )  # fmt: skip

    def validate_wait(self, seconds: float) -> float:
        """At most so long."""
        return min(seconds, MAX_WAIT)


class Execute(ExecuteStored):
    """A workflow to run as it stands in the request."""

    workflowDefinition = AnyObject()


# ---- out ----------------------------------------------------------------------------------------


class WorkflowSummary(serializers.Serializer[Any]):
    """A workflow in a list."""

    id = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    version = serializers.IntegerField(
        source="newest", allow_null=True, help_text="The number of the newest version."
    )
    versionId = serializers.CharField(source="newest_id", allow_null=True)
    workspaceId = serializers.CharField(source="workspace_id", allow_null=True)
    isShared = serializers.SerializerMethodField(
        help_text="It is everybody's, and its operators' to change."
    )
    createdAt = serializers.DateTimeField(source="created_at")
    updatedAt = serializers.DateTimeField(source="updated_at")

    def get_isShared(self, workflow: Workflow) -> bool:
        """Whether it belongs to no workspace."""
        return workflow.workspace_id is None


class WorkflowShape(WorkflowSummary):
    """A workflow with the definition of its newest version."""

    definition = AnyObject(allow_null=True)


class VersionSummary(serializers.Serializer[Any]):
    """A version in a list."""

    id = serializers.CharField()
    workflowId = serializers.CharField(source="workflow_id")
    number = serializers.IntegerField()
    createdAt = serializers.DateTimeField(source="created_at")


class VersionShape(VersionSummary):
    """A version."""

    definition = AnyObject()


class VersionList(serializers.Serializer[Any]):
    """Versions, the newest first."""

    items = VersionSummary(many=True)
    pageSize = serializers.IntegerField()
    hasMore = serializers.BooleanField()
    next = serializers.IntegerField(allow_null=True, help_text="The `before` of the next part.")


class IssueShape(serializers.Serializer[Any]):
    """One thing to change in a definition."""

    code = serializers.CharField()
    node = serializers.CharField(allow_null=True)
    severity = serializers.ChoiceField(choices=["error", "warning"])
    message = serializers.CharField()


class Verdict(serializers.Serializer[Any]):
    """Whether a definition can run; warnings do not keep it from that."""

    isValid = serializers.BooleanField()
    issues = IssueShape(many=True)


class NodeOutcome(serializers.Serializer[Any]):
    """What a node came to."""

    status = serializers.CharField()
    attempts = serializers.IntegerField()
    output = Anything()
    error = Anything(help_text="Its message and type.")


class Outcome(serializers.Serializer[Any]):
    """What a run came to."""

    executionId = serializers.CharField()
    status = serializers.ChoiceField(choices=list(RunStatus))
    outputs = Anything()
    error = serializers.CharField(allow_null=True)
    nodes = serializers.DictField(child=NodeOutcome())


class Started(serializers.Serializer[Any]):
    """A run that has not ended."""

    executionId = serializers.CharField()
    status = serializers.ChoiceField(choices=list(RunStatus))
