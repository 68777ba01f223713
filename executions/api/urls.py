"""Where the API hangs, under /api/."""

from __future__ import annotations

from django.urls import path

from executions.api import views

urlpatterns = [
    path("workflows/execute", views.Execute.as_view(), name="api-execute"),
    path("executions", views.Executions.as_view(), name="api-executions"),
    path("executions/<str:run_id>", views.Execution.as_view(), name="api-execution"),
    path("executions/<str:run_id>/events", views.Events.as_view(), name="api-events"),
    path(
        "executions/<str:run_id>/submit-response",
        views.SubmitResponse.as_view(),
        name="api-submit-response",
    ),
    path("executions/<str:run_id>/cancel", views.Cancel.as_view(), name="api-cancel"),
]
