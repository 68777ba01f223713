"""The manual: a page per subject, for whoever can reach the site."""

from __future__ import annotations

from typing import Final

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

PAGES: Final = {
    "keys": "Keys, scopes and workspaces",
    "trigger-dev": "The Trigger.dev client",
    "schedules": "Schedules",
    "webhooks": "Webhooks, events and manual triggers",
}


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """The subjects."""
    return render(request, "docs/index.html", {"pages": PAGES.items()})


@require_safe
def page(request: HttpRequest, slug: str) -> HttpResponse:
    """One subject."""
    if slug not in PAGES:
        raise Http404(f"The manual has no page {slug!r}.")
    context = {"title": PAGES[slug], "pages": PAGES.items(), "current": slug}
    return render(request, f"docs/{slug}.html", context)
