"""A request for a run: options checked at the edge, then a document the trigger statement takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from executions import hooks
from executions.errors import Invalid
from executions.registry import Task, get_task
from executions.rules import durations
from executions.rules.durations import Duration
from executions.rules.ids import new_id
from executions.rules.statuses import ParentClose
from executions.rules.values import Json, decode, encode, plain_text

_MAX_PRIORITY = 366 * 86_400


def document(
    task: Task | str,
    payload: Any = None,
    *,
    delay: Duration | datetime | None = None,
    ttl: Duration | None = None,
    tags: Sequence[str] = (),
    priority: int = 0,
    queue: str | None = None,
    concurrency_key: str | None = None,
    metadata: Mapping[str, Json] | None = None,
    max_attempts: int | None = None,
    max_duration: Duration | None = None,
    run_timeout: Duration | None = None,
    parent_close: str = ParentClose.REQUEST_CANCEL,
    owner: int | None = None,
    workspace: str | None = None,
    source: str | None = None,
    definition: str | None = None,
    forked_from: str | None = None,
    root: str | None = None,
    parent: str | None = None,
    parent_step: str | None = None,
) -> tuple[str, str]:
    """A new run's id and its document as JSON text.

    Raises NotFound for an unknown task, Invalid or TooLarge naming the field for anything wrong.
    """
    entry = task if isinstance(task, Task) else get_task(task)
    text = encode(payload, field="payload", limit=settings.FLOWMAESTRO.PAYLOAD_LIMIT)
    entry.parse(decode(text))
    if metadata is not None and not isinstance(metadata, Mapping):
        raise Invalid("metadata is an object with text keys.", field="metadata")
    run_id = new_id("run")
    fields: dict[str, Json] = {
        "id": run_id,
        "task": entry.id,
        "queue": _text(queue, "queue") or entry.queue,
        "concurrency_key": _text(concurrency_key, "concurrency_key"),
        "priority": _priority(priority),
        "tags": check_tags(tags),
        "ttl": _seconds(ttl, "ttl", entry.ttl) or None,
        "run_timeout": _seconds(run_timeout, "run_timeout", entry.run_timeout),
        "max_duration": _seconds(max_duration, "max_duration", entry.max_duration),
        "max_attempts": _attempts(max_attempts),
        "parent_id": parent,
        "parent_step": parent_step,
        "parent_close": _parent_close(parent_close),
        "root_id": root or run_id,
        "definition_id": definition,
        "owner_id": check_owner(owner),
        "workspace_id": workspace,
        "source": source,
        "forked_from": forked_from,
        "hook_run": new_id("run") if hooks.need_a_run(entry.hooks) else None,
        **start_of(delay),
    }
    meta = encode(dict(metadata or {}), field="metadata", limit=settings.FLOWMAESTRO.METADATA_LIMIT)
    head = encode(fields, field="options")
    return run_id, f'{head[:-1]},"payload":{text},"metadata":{meta}}}'


def check_tags(tags: Sequence[str]) -> list[str]:
    """The tags as a list. Raises Invalid over 10 tags, or for one not of 1 to 128 characters."""
    if isinstance(tags, str) or not isinstance(tags, Sequence) or len(tags) > 10:
        raise Invalid("tags is a list of at most 10 texts.", field="tags")
    for tag in tags:
        plain_text(tag, field="tags", limit=128)
    return list(tags)


def start_of(delay: Duration | datetime | None) -> dict[str, Json]:
    """When a run starts: `start_at` for a moment, `delay` in seconds for a length of time."""
    if isinstance(delay, datetime):
        if delay.tzinfo is None:
            raise Invalid("delay needs a time zone when it is a moment.", field="delay")
        return {"start_at": delay.isoformat()}
    return {"delay": _seconds(delay, "delay", None)}


def _seconds(value: Duration | None, field: str, default: float | None) -> float | None:
    return default if value is None else durations.seconds(value, field=field)


def _text(value: str | None, field: str) -> str | None:
    return None if value is None else plain_text(value, field=field, limit=128)


def _priority(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _MAX_PRIORITY:
        raise Invalid("priority is whole seconds of head start, at most a year.", field="priority")
    return value


def _attempts(value: int | None) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
        raise Invalid("max_attempts counts the first try; 1 to 1000.", field="max_attempts")
    return value


def check_owner(value: object) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise Invalid(f"owner is the primary key of a user, not {value!r}.", field="owner")
    return value


def _parent_close(value: str) -> str:
    if value not in list(ParentClose):
        known = ", ".join(ParentClose)
        raise Invalid(f"parent_close is one of {known}, not {value!r}.", field="parent_close")
    return str(value)


def key_lifetime(value: Duration | None) -> timedelta:
    """How long an idempotency key holds; 30 days unless said otherwise."""
    if value is None:
        return timedelta(days=30)
    seconds = durations.seconds(value, field="idempotency_key_ttl")
    if seconds <= 0:
        raise Invalid("idempotency_key_ttl is more than nothing.", field="idempotency_key_ttl")
    return timedelta(seconds=seconds)


def check_key(value: object) -> str:
    """An idempotency key. Raises Invalid unless it is text of 1 to 2048 characters."""
    return plain_text(value, field="idempotency_key", limit=2048)


def scope_of(workspace: str | None) -> str:
    """The scope of the idempotency and debounce keys of a workspace."""
    return workspace or "global"
