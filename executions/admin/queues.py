"""Queues: their limits, what is in them, and what is done through `executions/queues.py`."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from unfold.decorators import display

from executions import queues
from executions.admin.acts import Act, ActingAdmin
from executions.admin.common import moment
from executions.admin.forms import LimitForm
from executions.models import Queue

MANAGE = "executions.manage_queue"


def _pause(key: str, data: dict[str, Any], **who: Any) -> None:
    queues.pause(key, **who)


def _resume(key: str, data: dict[str, Any], **who: Any) -> None:
    queues.resume(key, **who)


def _limit(key: str, data: dict[str, Any], **who: Any) -> None:
    queues.set_limit(key, data["limit"], **who)


def _reset(key: str, data: dict[str, Any], **who: Any) -> None:
    queues.reset_limit(key, **who)


@admin.register(Queue)
class QueueAdmin(ActingAdmin):
    """Queues that code declares or somebody has touched."""

    acts = (
        Act(
            name="pause", label="Pause", permission=MANAGE, do=_pause, for_many=True,
            explains="No run of the queue begins; those that execute go on.", done="Paused",
            is_offered=lambda queue: queue.paused_at is None,
        ),
        Act(
            name="resume", label="Resume", permission=MANAGE, do=_resume, for_many=True,
            explains="Runs of the queue begin again.", done="Resumed",
            is_offered=lambda queue: queue.paused_at is not None,
        ),
        Act(
            name="limit", label="Set the limit", permission=MANAGE, do=_limit, form=LimitForm,
            explains="It holds instead of what the code declares, until it is reset.",
            done="The limit is set",
        ),
        Act(
            name="reset", label="Reset the limit", permission=MANAGE, do=_reset,
            explains="The queue has the limit that the code declares again.",
            done="The limit is reset", is_offered=lambda queue: queue.is_overridden,
        ),
    )  # fmt: skip
    ordering = ("name",)
    list_display = ("name", "state", "limit", "declared_limit", "queued", "executing")
    list_select_related = False
    fields = ("name", "state", "paused", "limit", "declared_limit", "queued", "executing")

    def look_at(self, rows: list[Queue]) -> None:
        """Adds how many runs wait and execute, for all queues at once."""
        states = {state.queue.name: state for state in queues.list_queues()} if rows else {}
        for row in rows:
            if row.name in states:
                row.counts = states[row.name]  # type: ignore[attr-defined]

    @display(description="state", label={"paused": "warning", "open": "success"})
    def state(self, queue: Queue) -> str:
        return "paused" if queue.paused_at else "open"

    @admin.display(description="limit")
    def limit(self, queue: Queue) -> str:
        limit = "none" if queue.concurrency_limit is None else f"{queue.concurrency_limit:,}"
        return f"{limit} (set by an operator)" if queue.is_overridden else limit

    @admin.display(description="queued")
    def queued(self, queue: Queue) -> str:
        return f"{self._state(queue).queued:,}"

    @admin.display(description="executing")
    def executing(self, queue: Queue) -> str:
        return f"{self._state(queue).executing:,}"

    def _state(self, queue: Queue) -> queues.QueueState:
        if not hasattr(queue, "counts"):
            self.look_at([queue])
        state: queues.QueueState = queue.counts  # type: ignore[attr-defined]
        return state

    @admin.display(description="paused since (UTC)")
    def paused(self, queue: Queue) -> str:
        return moment(queue.paused_at)
