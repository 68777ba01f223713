"""A run's log as people read it: an entry with a level and a sentence per event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

from django.db.models.fields.json import KT

from executions.models import RunEvent

Json = Any


class Level(StrEnum):
    """How much an entry matters."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


# What the code of a task emits itself is information; metadata is state, and no entry.
_LEVELS: Final[Mapping[str, Level]] = {
    **dict.fromkeys(
        (
            "step.started", "step.announced", "step.waiting", "step.heartbeat", "step.completed",
            "run.waiting", "run.resumed", "run.queued", "started", "completed", "failed",
        ),
        Level.DEBUG,
    ),
    **dict.fromkeys(
        ("step.retrying", "run.attempt_failed", "answer_refused", "run.needs_attention",
         "run.expired", "run.cancel_requested"),
        Level.WARNING,
    ),
    **dict.fromkeys(
        ("step.failed", "node_failed", "run.failed", "run.crashed", "run.timed_out"), Level.ERROR
    ),
}  # fmt: skip
_LEFT_OUT: Final = ("metadata",)


def read(
    run_id: str, *, level: Level | None = None, node: str | None = None, after: int = 0, limit: int
) -> list[RunEvent]:
    """The events that make entries of a level, or about a node, with a number over `after`."""
    found = RunEvent.objects.filter(run_id=run_id, seq__gt=after).exclude(type__in=_LEFT_OUT)
    if level is Level.INFO:
        found = found.exclude(type__in=list(_LEVELS))
    elif level is not None:
        found = found.filter(type__in=[type for type, of in _LEVELS.items() if of is level])
    if node is not None:
        found = found.alias(node=KT("data__nodeId")).filter(node=node)
    return list(found.order_by("seq")[:limit])


def level_of(event: RunEvent) -> Level:
    """How much an event matters."""
    return _LEVELS.get(event.type, Level.INFO)


def sentence(event: RunEvent) -> str:
    """What happened, in words."""
    data = event.data if isinstance(event.data, dict) else {}
    if event.type in _WORDS:
        return _WORDS[event.type](data)
    if event.type.startswith("step."):
        return f"Step {data.get('key', '')!r}: {event.type.removeprefix('step.')}."
    return f"{event.type}."


def _node(words: str) -> Callable[[Mapping[str, Json]], str]:
    return lambda data: f"Node {str(data.get('nodeName') or data.get('nodeId'))!r} {words}."


def _because(words: str) -> Callable[[Mapping[str, Json]], str]:
    return lambda data: f"{words}{_reason(data)}"


def _reason(data: Mapping[str, Json]) -> str:
    error = data.get("error")
    if isinstance(error, Mapping):
        error = error.get("message") or error.get("type")
    return f": {error}" if error else "."


_WORDS: Final[Mapping[str, Callable[[Mapping[str, Json]], str]]] = {
    "node_started": _node("began"),
    "node_completed": _node("completed"),
    "node_skipped": _node("was skipped"),
    "node_failed": lambda data: _node("failed")(data)[:-1] + _reason(data),
    "paused": _node("waits"),
    "resumed": _node("goes on"),
    "answer_refused": lambda data: (
        _node("refused an answer")(data)[:-1]
        + (f": {data['reason']}" if data.get("reason") else ".")
    ),
    "run.queued": _because("The run is queued"),
    "run.delayed": _because("The run is to start later"),
    "run.started": _because("The run began"),
    "run.waiting": _because("The run waits"),
    "run.resumed": _because("The run goes on"),
    "run.paused": _because("The run is held"),
    "run.attempt_failed": _because("An attempt failed"),
    "run.needs_attention": _because("The run needs attention"),
    "run.completed": _because("The run completed"),
    "run.failed": _because("The run failed"),
    "run.canceled": _because("The run was cancelled"),
    "run.crashed": _because("The run crashed"),
    "run.timed_out": _because("The run ran out of time"),
    "run.expired": _because("The run was not begun in time"),
}
