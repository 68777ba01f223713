"""Where webhooks hang, beside the API."""

from __future__ import annotations

from django.urls import path

from triggers.api.webhooks import webhook

urlpatterns = [path("webhooks/<str:trigger_id>", webhook, name="webhook")]
