"""What requests of every noun have in common."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rest_framework import serializers
from rest_framework.fields import empty

from executions.audit import REASON_LIMIT

LIST_LIMIT = 100
# Dates of Python and PostgreSQL go on a little longer, with room for time zones.
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class Moment(serializers.DateTimeField):
    """A moment that ids of that time can hold; without a time zone it is one of UTC."""

    def to_internal_value(self, value: Any) -> datetime:
        """The moment. Raises ValidationError."""
        moment: datetime = super().to_internal_value(value)
        if not _FIRST <= moment <= _LAST:
            raise serializers.ValidationError("It lies between the years 1970 and 9000.")
        return moment


class Word(serializers.CharField):
    """A text in a query, which is as good as absent when it is empty."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"required": False, "default": None, "allow_blank": True, **options})

    def run_validation(self, data: Any = empty) -> str | None:
        """The text; None for none."""
        return super().run_validation(data) or None


class PartQuery(serializers.Serializer[Any]):
    """Which part of a list."""

    after = Word(help_text="The `next` of the part before.")
    limit = serializers.IntegerField(required=False, default=50, min_value=1, max_value=LIST_LIMIT)


class PageQuery(serializers.Serializer[Any]):
    """Which page of a list that is counted."""

    limit = serializers.IntegerField(required=False, default=50, min_value=1, max_value=LIST_LIMIT)
    offset = serializers.IntegerField(required=False, default=0, min_value=0, max_value=1_000_000)


class ReasonBody(serializers.Serializer[Any]):
    """Why somebody does it: for the audit log."""

    reason = serializers.CharField(
        required=False, default=None, allow_null=True, max_length=REASON_LIMIT
    )


class ReasonQuery(serializers.Serializer[Any]):
    """The same where there is no body; an address has less room."""

    reason = Word(max_length=500)
