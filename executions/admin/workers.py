"""Worker processes, their last heartbeat, and the runs they hold."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.db.models import DateTimeField, F, Func, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from unfold.decorators import display

from executions.admin.common import LookingAdmin, link, moment
from executions.models import Run, Worker
from executions.rules.statuses import RunStatus

SHOWN_RUNS = 200


@admin.register(Worker)
class WorkerAdmin(LookingAdmin):
    """Worker processes and their last heartbeat."""

    list_display = ("id", "state", "host", "pid", "started", "seen", "held")
    list_select_related = False
    search_fields = ("id__startswith", "host__startswith")
    search_help_text = "The beginning of an id or of a host's name"
    fields = ("id", "state", "host", "pid", "started", "seen", "dead", "held_runs")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Worker]:
        """Workers, with how long ago the database heard of each."""
        now = Func(function="flowmaestro_now", output_field=DateTimeField())
        return super().get_queryset(request).annotate(silence=now - F("seen_at"))

    def look_at(self, rows: list[Worker]) -> None:
        """Adds how many runs each holds."""
        ids = [row.pk for row in rows]
        found = Run.objects.filter(status=RunStatus.EXECUTING, worker__in=ids).order_by()
        held: dict[str, int] = {}
        for worker in found.values_list("worker", flat=True):
            held[str(worker)] = held.get(str(worker), 0) + 1
        for row in rows:
            row.held = held.get(row.pk, 0)  # type: ignore[attr-defined]

    @display(description="state", label={"alive": "success", "silent": "warning", "dead": "danger"})
    def state(self, worker: Worker) -> str:
        if worker.dead_at is not None:
            return "dead"
        silence = getattr(worker, "silence").total_seconds()  # noqa: B009
        return "silent" if silence > settings.FLOWMAESTRO.LEASE_SECONDS else "alive"

    @admin.display(description="runs in hand")
    def held(self, worker: Worker) -> int:
        return int(getattr(worker, "held", 0))

    @admin.display(description="started (UTC)")
    def started(self, worker: Worker) -> str:
        return moment(worker.started_at)

    @admin.display(description="last seen (UTC)")
    def seen(self, worker: Worker) -> str:
        return moment(worker.seen_at)

    @admin.display(description="dead since (UTC)")
    def dead(self, worker: Worker) -> str:
        return moment(worker.dead_at)

    @admin.display(description="runs in hand")
    def held_runs(self, worker: Worker) -> str:
        held = Run.objects.filter(worker=worker.pk, status=RunStatus.EXECUTING).order_by("id")
        rows = held.values_list("pk", "task")[:SHOWN_RUNS]
        lines = [(link("run", pk), task) for pk, task in rows]
        if not lines:
            return "-"
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{} {}</li>", lines))
