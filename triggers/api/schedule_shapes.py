"""The shapes of schedules on the wire, for their description; they are those of Trigger.dev v4."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from executions.api.schema import AnyObject


class ScheduleBody(serializers.Serializer[Any]):
    """All of a schedule; what is left out is as for a new one."""

    task = serializers.CharField()
    cron = serializers.CharField()
    timezone = serializers.CharField(required=False)
    externalId = serializers.CharField(required=False)
    window = serializers.CharField(
        required=False, help_text="Within what after its time a run may start: `30m` or `30%`."
    )


class NewSchedule(ScheduleBody):
    """A schedule to be made; a deduplication key that is known changes the one it has."""

    deduplicationKey = serializers.CharField()


class SchedulesQuery(serializers.Serializer[Any]):
    """Which page."""

    page = serializers.IntegerField(required=False, min_value=1)
    perPage = serializers.IntegerField(required=False, min_value=1, max_value=100)


class TimezonesQuery(serializers.Serializer[Any]):
    """Which time zones."""

    excludeUtc = serializers.BooleanField(required=False)


class Generator(serializers.Serializer[Any]):
    """When it fires."""

    type = serializers.CharField()
    expression = serializers.CharField()
    description = serializers.CharField()


class ScheduleShape(serializers.Serializer[Any]):
    """A schedule as clients take it."""

    id = serializers.CharField()
    type = serializers.ChoiceField(choices=["DECLARATIVE", "IMPERATIVE"])
    task = serializers.CharField()
    active = serializers.BooleanField()
    deduplicationKey = serializers.CharField(allow_null=True)
    externalId = serializers.CharField(allow_null=True)
    generator = Generator()
    timezone = serializers.CharField()
    nextRun = serializers.DateTimeField(allow_null=True)
    nextRunEffectiveAt = serializers.DateTimeField(allow_null=True)
    environments = serializers.ListField(child=AnyObject())
    window = serializers.CharField(required=False)


class NumberedPages(serializers.Serializer[Any]):
    """Which page it is, and of how many."""

    currentPage = serializers.IntegerField()
    totalPages = serializers.IntegerField()
    count = serializers.IntegerField()


class ScheduleList(serializers.Serializer[Any]):
    """A page of schedules, the newest first."""

    data = ScheduleShape(many=True)
    pagination = NumberedPages()


class ScheduleId(serializers.Serializer[Any]):
    """The one that was removed."""

    id = serializers.CharField()


class TimezoneList(serializers.Serializer[Any]):
    """Names of time zones."""

    timezones = serializers.ListField(child=serializers.CharField())
