"""What is done to executions: what comes in and what goes out."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from executions.api.schema import AnyObject, Anything
from executions.api.serializers.common import ReasonBody
from executions.rules.statuses import RunStatus, TokenStatus


class ResponseBody(ReasonBody):
    """An answer to a review; null is an answer where none is required."""

    response = Anything()
    tokenId = serializers.CharField(
        required=False, default=None, allow_null=True, help_text="Else the oldest open question."
    )


class InputBody(ReasonBody):
    """What a person said to the wait that the token stands for."""

    userResponse = Anything()
    tokenId = serializers.CharField()


class ReplayBody(ReasonBody):
    """A new run of the same task."""

    payload = Anything(required=False, help_text="Else that of the old run.")


class ForkBody(ReplayBody):
    """Where a fork begins and what it takes as given."""

    fromStep = serializers.CharField(
        required=False, default=None, allow_null=True,
        help_text="This step and all that ended after it are done anew.",
    )  # fmt: skip
    fromNode = serializers.CharField(
        required=False, default=None, allow_null=True, help_text="The first step of this node."
    )
    outputs = AnyObject(
        required=False, default=dict,
        help_text="What steps, or the nodes of a workflow, are to have given: by key or id.",
    )  # fmt: skip
    dryRun = serializers.BooleanField(
        required=False, default=False, help_text="Only tell what would become of each step."
    )


# ---- out ----------------------------------------------------------------------------------------


class Answered(serializers.Serializer[Any]):
    """The token that took the answer."""

    executionId = serializers.CharField()
    tokenId = serializers.CharField()
    status = serializers.ChoiceField(choices=list(TokenStatus))


class Replayed(serializers.Serializer[Any]):
    """The new run."""

    executionId = serializers.CharField()
    forkedFrom = serializers.CharField()
    status = serializers.ChoiceField(choices=list(RunStatus))


class PlanShape(serializers.Serializer[Any]):
    """What a fork would make of each step of the old run; nothing is done yet."""

    takenOver = serializers.ListField(source="taken_over", child=serializers.CharField())
    edited = serializers.ListField(child=serializers.CharField())
    redone = serializers.ListField(child=serializers.CharField())
    ahead = serializers.ListField(
        child=serializers.CharField(), help_text="Edited ones behind what is redone."
    )
