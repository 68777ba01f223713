"""Schedules over HTTP, in the words of Trigger.dev v4: its SDK talks to this unmodified."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from executions.access import Scope
from executions.api.management.base import (
    ManagementView,
    body_of,
    iso,
    only,
    some,
    text_of,
    whole,
)
from executions.errors import Invalid
from executions.rules.values import plain_text
from triggers import schedules
from triggers.api import schedule_shapes as shapes
from triggers.models import Schedule
from triggers.schedules import sources, store

Json = Any
_OPTIONS = ("task", "cron", "timezone", "externalId", "window")
_INSTALLATION = "installation"


class ScheduleView(ManagementView):
    """A view about schedules."""

    tag = "Schedules"

    def found(self, schedule_id: str) -> Schedule:
        """The schedule, where the caller may see it. Raises NotFound."""
        row = self.caller.visible(Schedule.objects.filter(pk=schedule_id)).first()
        if row is None:
            raise store.not_found(schedule_id)
        return row


class Schedules(ScheduleView):
    """/api/v1/schedules"""

    scopes: ClassVar = {"GET": Scope.READ, "POST": Scope.ADMIN}

    @extend_schema(parameters=[shapes.SchedulesQuery], responses={200: shapes.ScheduleList})
    def get(self, request: Request) -> Response:
        """A page of schedules, the newest first."""
        size = whole(request.query_params.get("perPage"), field="perPage", default=25, most=100)
        number = whole(request.query_params.get("page"), field="page", default=1, most=1_000_000)
        rows = self.caller.visible(Schedule.objects.order_by("-id"))
        count = rows.count()
        shown = rows[(number - 1) * size : number * size]
        pages = {"currentPage": number, "totalPages": max(1, ceil(count / size)), "count": count}
        return Response({"data": [shape(row) for row in shown], "pagination": pages})

    @extend_schema(request=shapes.NewSchedule, responses={200: shapes.ScheduleShape})
    def post(self, request: Request) -> Response:
        """Makes a schedule; a deduplication key that is known changes the one it has."""
        body = body_of(request)
        only(body, *_OPTIONS, "deduplicationKey")
        key = _name(body, "deduplicationKey", is_required=True)
        options = _options(body)
        schedule = schedules.create(
            options.pop("task"),
            deduplication_key=key,
            owner=self.caller.user_id,
            workspace=self.caller.workspace_id,
            actor=self.caller.actor,
            **options,
        )
        return Response(shape(schedule))


class OneSchedule(ScheduleView):
    """/api/v1/schedules/{id}"""

    scopes: ClassVar = {"GET": Scope.READ, "PUT": Scope.ADMIN, "DELETE": Scope.ADMIN}

    @extend_schema(responses={200: shapes.ScheduleShape})
    def get(self, request: Request, schedule_id: str) -> Response:
        """One schedule."""
        return Response(shape(self.found(schedule_id)))

    @extend_schema(request=shapes.ScheduleBody, responses={200: shapes.ScheduleShape})
    def put(self, request: Request, schedule_id: str) -> Response:
        """Changes when it fires, and for which task. What is left out is as for a new one."""
        found = self.found(schedule_id)
        body = body_of(request)
        only(body, *_OPTIONS)
        return Response(
            shape(schedules.update(found.pk, actor=self.caller.actor, **_options(body)))
        )

    @extend_schema(responses={200: shapes.ScheduleId})
    def delete(self, request: Request, schedule_id: str) -> Response:
        """Removes it; its runs stay."""
        schedules.delete(self.found(schedule_id).pk, actor=self.caller.actor)
        return Response({"id": schedule_id})


class Activate(ScheduleView):
    """/api/v1/schedules/{id}/activate"""

    scopes: ClassVar = {"POST": Scope.ADMIN}

    @extend_schema(request=None, responses={200: shapes.ScheduleShape})
    def post(self, request: Request, schedule_id: str) -> Response:
        """Lets it fire again, from now on."""
        found = self.found(schedule_id)
        return Response(shape(schedules.activate(found.pk, actor=self.caller.actor)))


class Deactivate(ScheduleView):
    """/api/v1/schedules/{id}/deactivate"""

    scopes: ClassVar = {"POST": Scope.ADMIN}

    @extend_schema(request=None, responses={200: shapes.ScheduleShape})
    def post(self, request: Request, schedule_id: str) -> Response:
        """Lets it fire no more, until it is activated."""
        found = self.found(schedule_id)
        return Response(shape(schedules.deactivate(found.pk, actor=self.caller.actor)))


class Timezones(ManagementView):
    """/api/v1/timezones"""

    tag = "Schedules"
    # The SDK asks without a key, and there is nothing to hide.
    authentication_classes = ()
    permission_classes = ()  # type: ignore[assignment]
    scopes: ClassVar = {"GET": Scope.READ}

    @extend_schema(parameters=[shapes.TimezonesQuery], responses={200: shapes.TimezoneList})
    def get(self, request: Request) -> Response:
        """The time zones that a schedule may have."""
        exclude_utc = request.query_params.get("excludeUtc") == "true"
        return Response({"timezones": schedules.timezones(exclude_utc=exclude_utc)})


def _options(body: Mapping[str, Json]) -> dict[str, Json]:
    """The options of the service for a body that says all of a schedule."""
    return {
        "task": text_of(body, "task", is_required=True),
        "cron": text_of(body, "cron", is_required=True),
        "timezone": text_of(body, "timezone") or "UTC",
        "external_id": _name(body, "externalId"),
        "window": _window(body),
    }


def _name(body: Mapping[str, Json], field: str, *, is_required: bool = False) -> str | None:
    text = text_of(body, field, is_required=is_required)
    return None if text is None else plain_text(text, field=field, limit=512)


def _window(body: Mapping[str, Json]) -> str:
    text = text_of(body, "window")
    if text == "":
        raise Invalid('window is left out for none, or as "30m", "2h" or "30%".', field="window")
    return text or ""


def shape(schedule: Schedule) -> dict[str, Json]:
    """A schedule as clients take it.

    They know crons only: another kind says in the place of the expression what it is.
    """
    following, effective = schedule.next_fire_at, schedule.next_effective_at
    return {
        "id": schedule.pk,
        "type": "DECLARATIVE" if schedule.is_declarative else "IMPERATIVE",
        "task": schedule.task,
        "active": schedule.is_active,
        "deduplicationKey": schedule.deduplication_key,
        "externalId": schedule.external_id,
        "generator": sources.generator_of(schedule),
        "timezone": schedule.timezone,
        "nextRun": None if following is None else iso(following),
        "nextRunEffectiveAt": None if effective is None else iso(effective),
        "environments": [{"id": schedule.workspace_id or _INSTALLATION, "type": "PRODUCTION"}],
        **some(window=schedule.window or None),
    }
