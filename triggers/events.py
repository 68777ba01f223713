"""Events start workflows: one is published by name, and each trigger whose filter fits hears it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from executions.errors import FlowMaestroError, Invalid
from executions.rules.values import encode, plain_text
from triggers import firing, receipts
from triggers.models import Trigger
from triggers.rules import bodies, filters

Json = Any

logger = logging.getLogger(__name__)

NAME_LIMIT = 200
_CHUNK = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What an event started: {trigger: run}, and {trigger: sentence} for those that could not.

    `is_repeated`: an event of that id came before, and this is what it started.
    """

    runs: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    is_repeated: bool = False


def publish_event(
    name: str,
    payload: Mapping[str, Json] | None = None,
    *,
    source: str | None = None,
    workspace: str | None = None,
    id: str | None = None,
) -> Published:
    """Starts a run for every trigger of the workspace that hears the event, in the caller's
    transaction: they begin when it commits, and never were when it does not.

    Without a workspace it is the installation's own triggers that hear it. An `id` is published
    once per workspace. A trigger that cannot start its run keeps no other from it: the error is
    noted on the trigger. Raises Invalid or TooLarge for an event that is none.
    """
    name = plain_text(name, field="name", limit=NAME_LIMIT)
    payload = _payload(payload)
    if source is not None:
        plain_text(source, field="source", limit=NAME_LIMIT)
    key = None if id is None else f"event:{plain_text(id, field='id', limit=NAME_LIMIT)}"
    scope = workspace or "global"
    with transaction.atomic():
        if key is not None and not receipts.claim(scope, key, seconds=_lifetime()):
            return Published(**receipts.result_of(scope, key), is_repeated=True)
        found = Published()
        for trigger in _listening(name, workspace):
            if _hears(trigger, source, payload):
                _start(trigger, payload, found, {"event": name, "source": source, "eventId": id})
        if key is not None:
            receipts.settle(scope, key, {"runs": found.runs, "failed": found.failed})
    return found


def _payload(payload: Json) -> dict[str, Json]:
    if payload is not None and not isinstance(payload, Mapping):
        raise Invalid("payload is an object: it becomes the workflow's inputs.", field="payload")
    found = dict(payload or {})
    bodies.check_depth(found, field="payload")
    encode(found, field="payload", limit=settings.FLOWMAESTRO.PAYLOAD_LIMIT)
    return found


def _lifetime() -> float:
    return timedelta(days=settings.FLOWMAESTRO.WEBHOOK_ONCE_DAYS).total_seconds()


def _listening(name: str, workspace: str | None) -> list[Trigger]:
    """The triggers for events of that name; an index leads to them past all others."""
    rows = Trigger.objects.filter(
        event_type=name, workspace=workspace, enabled=True, deleted_at=None
    )
    return list(rows.order_by("id").iterator(chunk_size=_CHUNK))


def _hears(trigger: Trigger, source: str | None, payload: dict[str, Json]) -> bool:
    wanted = trigger.config.get("source")
    if wanted is not None and wanted != source:
        return False
    return filters.matches(trigger.config.get("filters") or {}, payload)


def _start(trigger: Trigger, payload: Json, found: Published, about: dict[str, Json]) -> None:
    try:
        with transaction.atomic():
            handle = firing.fire(trigger, payload, metadata=about)
    except FlowMaestroError as error:
        logger.warning(
            "A trigger could not start its workflow: %s", error.message,
            extra={"trigger": trigger.id},
        )  # fmt: skip
        firing.note(trigger.id, error=error.message)
        found.failed[trigger.id] = error.message
    else:
        found.runs[trigger.id] = handle.id
