"""GET /healthz: whether this installation can take runs and advance them."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Q
from django.db.models.aggregates import Count, Max
from django.db.models.functions import Now
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from executions.models import Worker
from flowmaestro import __version__


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 when the database answers and a worker was seen within its lease, else 503 and why."""
    lease = settings.FLOWMAESTRO.LEASE_SECONDS
    fresh = Q(dead_at=None, seen_at__gte=Now() - timedelta(seconds=lease))
    try:
        found = Worker.objects.aggregate(alive=Count("id", filter=fresh), last=Max("seen_at"))
    except DatabaseError as error:
        # The details of a connection failure name hosts and users; callers here are anonymous.
        sort = type(error).__name__
        return _unavailable(f"The database does not answer ({sort}).")
    if not found["alive"]:
        seen = f"; the last one at {found['last']:%Y-%m-%d %H:%M:%S} UTC" if found["last"] else ""
        return _unavailable(f"No worker was seen in the last {lease:g} seconds{seen}.")
    return JsonResponse(
        {"status": "ok", "version": __version__, "database": "ok", "workers": found["alive"]}
    )


def _unavailable(reason: str) -> JsonResponse:
    return JsonResponse({"status": "unavailable", "reason": reason}, status=503)
