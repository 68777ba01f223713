"""Executions as they are shown, and the queries that choose among them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from executions import workflow_runs
from executions.api.schema import AnyObject, Anything
from executions.api.serializers.common import Moment, PartQuery, Word
from executions.inspection.run_logs import Level
from executions.models import Run
from executions.rules.statuses import RunStatus

EVENTS_LIMIT = 1000
STATUSES = list(RunStatus)


class ExecutionsQuery(PartQuery):
    """Which executions, and how many of them."""

    workflowId = Word()
    status = Word(help_text="One status, or several with commas between them.")
    task = Word()
    tag = Word()
    source = Word(help_text="The id of the schedule, trigger or batch.")
    triggerId = Word(help_text="The same.")
    createdAfter = Moment(required=False, default=None)
    createdBefore = Moment(required=False, default=None)


class EventsQuery(serializers.Serializer[Any]):
    """Events over a number."""

    after = serializers.IntegerField(required=False, default=0, min_value=0, max_value=2**31 - 1)
    limit = serializers.IntegerField(
        required=False, default=200, min_value=1, max_value=EVENTS_LIMIT
    )


class LogsQuery(EventsQuery):
    """Entries of one level, or about one node."""

    level = serializers.ChoiceField(required=False, default=None, choices=list(Level))
    nodeId = Word()


class CompareQuery(serializers.Serializer[Any]):
    """Two executions."""

    left = serializers.CharField()
    right = serializers.CharField()


# ---- out ----------------------------------------------------------------------------------------


class Summary(serializers.Serializer[Any]):
    """An execution in a list."""

    executionId = serializers.CharField(source="id")
    task = serializers.CharField()
    workflowName = serializers.CharField(source="workflow_name", allow_null=True)
    workflowId = serializers.CharField(source="workflow_id", allow_null=True)
    versionId = serializers.CharField(source="definition_id", allow_null=True)
    status = serializers.ChoiceField(choices=STATUSES)
    isFinal = serializers.BooleanField(source="is_final")
    cancelRequested = serializers.SerializerMethodField()
    tags = serializers.ListField(child=serializers.CharField())
    source = serializers.CharField(
        allow_null=True, help_text="The id of the schedule, trigger or batch that started it."
    )
    forkedFrom = serializers.CharField(source="forked_from", allow_null=True)
    createdAt = serializers.DateTimeField(source="created_at")
    startedAt = serializers.DateTimeField(source="started_at", allow_null=True)
    finishedAt = serializers.DateTimeField(source="finished_at", allow_null=True)
    error = serializers.SerializerMethodField()

    def get_cancelRequested(self, run: Run) -> bool:
        """Whether somebody has asked for its end."""
        return run.cancel_requested_at is not None

    def get_error(self, run: Run) -> str | None:
        """One sentence."""
        return workflow_runs.error_of(run)


class Node(serializers.Serializer[Any]):
    """A node, where it stands and what it gave; what it does not have yet is left out."""

    name = serializers.CharField()
    type = serializers.CharField()
    status = serializers.CharField()
    pinned = serializers.BooleanField(required=False)
    attempts = serializers.IntegerField(required=False)
    runs = serializers.IntegerField(required=False, help_text="How often, where more than once.")
    output = Anything(required=False)
    outputSize = serializers.IntegerField(
        required=False, help_text="In place of an output that is too large to show."
    )
    error = Anything(required=False)
    handledError = Anything(required=False)
    handledBy = serializers.CharField(required=False)
    handle = serializers.CharField(required=False)
    warnings = serializers.ListField(child=Anything(), required=False)


class StepLine(serializers.Serializer[Any]):
    """A step of a task that is no workflow."""

    key = serializers.CharField()
    kind = serializers.CharField()
    status = serializers.CharField()
    attempts = serializers.IntegerField()
    error = serializers.CharField(allow_null=True)


class Details(serializers.Serializer[Any]):
    """An execution. `cursor` is the number of the last event that it takes in."""

    executionId = serializers.CharField()
    task = serializers.CharField()
    workflowName = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(choices=STATUSES)
    isFinal = serializers.BooleanField()
    createdAt = serializers.DateTimeField()
    startedAt = serializers.DateTimeField(allow_null=True)
    finishedAt = serializers.DateTimeField(allow_null=True)
    cancelRequested = serializers.BooleanField()
    inputs = Anything()
    pins = Anything()
    metadata = AnyObject()
    reviews = serializers.ListField(child=AnyObject(), help_text="Questions that are open.")
    outputs = Anything()
    error = serializers.CharField(allow_null=True)
    errorText = serializers.CharField(allow_null=True, help_text="The error with its type.")
    nodes = serializers.DictField(child=Node())
    steps = StepLine(many=True)
    cursor = serializers.IntegerField()


class Nodes(serializers.Serializer[Any]):
    """The nodes of an execution, each after those that lead to it."""

    executionId = serializers.CharField()
    status = serializers.ChoiceField(choices=STATUSES)
    isFinal = serializers.BooleanField()
    nodes = serializers.DictField(child=Node())
    cursor = serializers.IntegerField()


class StepShape(serializers.Serializer[Any]):
    """A step: what a fork may begin at."""

    key = serializers.CharField()
    kind = serializers.CharField()
    status = serializers.CharField()
    attempt = serializers.IntegerField()
    place = serializers.IntegerField(
        source="seq", allow_null=True, help_text="In the order in which they ended."
    )
    error = Anything()
    startedAt = serializers.DateTimeField(source="started_at")
    finishedAt = serializers.DateTimeField(source="finished_at", allow_null=True)


class StepList(serializers.Serializer[Any]):
    """Steps in the order in which they began."""

    items = StepShape(many=True)
    pageSize = serializers.IntegerField()
    hasMore = serializers.BooleanField()
    next = serializers.IntegerField(allow_null=True, help_text="The `after` of the next part.")


class StepsQuery(serializers.Serializer[Any]):
    """Which part of the steps."""

    after = serializers.IntegerField(
        required=False, default=0, min_value=0, max_value=10_000_000, help_text="So many left out."
    )
    limit = serializers.IntegerField(
        required=False, default=200, min_value=1, max_value=EVENTS_LIMIT
    )


class Event(serializers.Serializer[Any]):
    """One entry of a run's log of events."""

    seq = serializers.IntegerField()
    type = serializers.CharField()
    at = serializers.DateTimeField()
    data = Anything()


class Events(serializers.Serializer[Any]):
    """Events; `isFinal` once no more of them can come."""

    events = Event(many=True)
    cursor = serializers.IntegerField()
    status = serializers.ChoiceField(choices=STATUSES)
    isFinal = serializers.BooleanField()


class LogEntry(serializers.Serializer[Any]):
    """What happened, for people."""

    seq = serializers.IntegerField()
    at = serializers.DateTimeField()
    level = serializers.ChoiceField(choices=list(Level))
    message = serializers.CharField()
    type = serializers.CharField()
    nodeId = serializers.CharField(allow_null=True)
    data = Anything()


class Logs(serializers.Serializer[Any]):
    """Entries in order."""

    items = LogEntry(many=True)
    pageSize = serializers.IntegerField()
    hasMore = serializers.BooleanField()
    cursor = serializers.IntegerField(help_text="The `after` of the next part.")


class StepSide(serializers.Serializer[Any]):
    """A step in one of two runs."""

    kind = serializers.CharField()
    status = serializers.CharField()
    attempt = serializers.IntegerField()
    seconds = serializers.FloatField(allow_null=True)
    input = Anything()
    output = Anything()
    error = Anything()
    usage = AnyObject(allow_null=True)


class StepPair(serializers.Serializer[Any]):
    """A step in both runs; null where one of them does not have it."""

    key = serializers.CharField()
    left = StepSide(source="a", allow_null=True)
    right = StepSide(source="b", allow_null=True)
    differsIn = serializers.ListField(source="differs_in", child=serializers.CharField())


class RunSide(serializers.Serializer[Any]):
    """One of two runs."""

    executionId = serializers.CharField(source="id")
    task = serializers.CharField()
    versionId = serializers.CharField(source="version", allow_null=True)
    status = serializers.ChoiceField(choices=STATUSES)
    attempt = serializers.IntegerField()
    generation = serializers.IntegerField()
    seconds = serializers.FloatField(allow_null=True)
    payload = Anything()
    output = Anything()
    error = Anything()
    usage = AnyObject()


class ComparisonShape(serializers.Serializer[Any]):
    """Two executions side by side; `firstDifference` is the place at which their paths part."""

    left = RunSide(source="a")
    right = RunSide(source="b")
    isSame = serializers.BooleanField(source="is_same")
    differsIn = serializers.ListField(source="differs_in", child=serializers.CharField())
    firstDifference = serializers.IntegerField(source="first_difference", allow_null=True)
    steps = StepPair(source="pairs", many=True)
