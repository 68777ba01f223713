"""Where each app's pages and API hang."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from flowmaestro.health import healthz

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("admin/", admin.site.urls),
    path("api/", include("executions.api.urls")),
    path("", include("executions.urls")),
]
