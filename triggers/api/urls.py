"""Where triggers, schedules and events hang, under /api/."""

from __future__ import annotations

from django.urls import path

from triggers.api import events, schedules, triggers

urlpatterns = [
    path("triggers", triggers.Triggers.as_view(), name="api-triggers"),
    path("triggers/<str:trigger_id>", triggers.Trigger.as_view(), name="api-trigger"),
    path(
        "triggers/<str:trigger_id>/execute", triggers.Execute.as_view(), name="api-trigger-execute"
    ),
    path(
        "triggers/<str:trigger_id>/rotate-secret",
        triggers.RotateSecret.as_view(),
        name="api-trigger-rotate-secret",
    ),
    path(
        "triggers/<str:trigger_id>/deliveries",
        triggers.Deliveries.as_view(),
        name="api-trigger-deliveries",
    ),
    path("events", events.Events.as_view(), name="api-events-publish"),
    # ---- as Trigger.dev's SDK asks for them
    path("v1/timezones", schedules.Timezones.as_view(), name="management-timezones"),
    path("v1/schedules", schedules.Schedules.as_view(), name="management-schedules"),
    path(
        "v1/schedules/<str:schedule_id>",
        schedules.OneSchedule.as_view(),
        name="management-schedule",
    ),
    path(
        "v1/schedules/<str:schedule_id>/activate",
        schedules.Activate.as_view(),
        name="management-schedule-activate",
    ),
    path(
        "v1/schedules/<str:schedule_id>/deactivate",
        schedules.Deactivate.as_view(),
        name="management-schedule-deactivate",
    ),
]
