"""Where each app's pages and API hang."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from flowmaestro import docs
from flowmaestro.health import healthz
from flowmaestro.key_views import Key, Keys
from flowmaestro.openapi import DocsView, SchemaView

handler400 = "flowmaestro.failures.bad_request"
handler403 = "flowmaestro.failures.permission_denied"
handler404 = "flowmaestro.failures.not_found"
handler500 = "flowmaestro.failures.server_error"

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("admin/", admin.site.urls),
    path("api/schema/", SchemaView.as_view(), name="schema"),
    path("api/docs/", DocsView.as_view(), name="api-docs"),
    path("api/keys", Keys.as_view(), name="api-keys"),
    path("api/keys/<int:key_id>", Key.as_view(), name="api-key"),
    path("api/", include("executions.api.urls")),
    path("api/", include("executions.api.management.urls")),
    path("api/", include("triggers.api.urls")),
    path("", include("triggers.urls")),
    path("docs/", docs.index, name="docs"),
    path("docs/<slug:slug>/", docs.page, name="docs-page"),
    path("", include("executions.urls")),
]
