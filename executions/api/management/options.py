"""Reading the options of a trigger: which hold, which have no effect here, which are refused.

| option                                   | here                                                |
|------------------------------------------|-----------------------------------------------------|
| delay, ttl, tags, metadata, priority,    | hold                                                |
| queue.name, concurrencyKey, maxAttempts, |                                                     |
| maxDuration, idempotencyKey,             |                                                     |
| idempotencyKeyTTL, debounce, payloadType |                                                     |
| machine, payloadSize,                    | no effect: workers are all of one size, payloads    |
| externalDeploymentId,                    | are measured here, the key is known as it was sent, |
| idempotencyKeyOptions, test: false       | and runs always use the code that workers have      |
| everything else                          | refused, with the reason                            |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from executions import parcels, registry
from executions.api.management.base import looks_like_a_moment, moment_of, only
from executions.errors import Invalid
from executions.intake import Ask

Json = Any

MACHINES = (
    "micro",
    "small-1x",
    "small-2x",
    "medium-1x",
    "medium-2x",
    "large-1x",
    "large-2x",
)
_PARENT = (
    "A run outside of this installation cannot be a parent here; trigger without it, and wait "
    "with runs.poll."
)
_VERSION = "Runs use the code that workers have; there is no other version to choose."
_LIMITS = "Limits belong to queues here; name a queue, and limit that."
_REFUSED: Final[dict[str, str]] = {
    "parentRunId": _PARENT,
    "parentAttempt": _PARENT,
    "parentBatch": _PARENT,
    "dependentAttempt": _PARENT,
    "dependentBatch": _PARENT,
    "resumeParentOnCompletion": _PARENT,
    "lockToVersion": _VERSION,
    "version": _VERSION,
    "region": "There are no regions here: a run goes where the workers are.",
    "gates": _LIMITS,
    "concurrency": _LIMITS,
    "test": "There are no test runs here; trigger a run as any other, and tag it.",
    "bulkActionId": "There are no bulk actions here.",
}
_IGNORED: Final = (
    "payloadSize",
    "externalDeploymentId",
    "idempotencyKeyOptions",
    "metadataType",
    "payloadType",
    "idempotencyKeyTTL",
)


def ask_of(task: str, body: Mapping[str, Json], *, field: str = "options") -> Ask:
    """What a trigger's body asks for. Raises Invalid naming the option."""
    if body.get("context") is not None:
        raise Invalid("Put what is in context into the payload.", field="context")
    options = body.get("options")
    if options is None:
        options = {}
    if not isinstance(options, Mapping):
        raise Invalid("options is a JSON object.", field=field)
    return Ask(
        task=task,
        payload=body.get("payload"),
        payload_type=_text(options.get("payloadType"), "options.payloadType"),
        options=read(options),
    )


def read(options: Mapping[str, Json], *, prefix: str = "options.") -> dict[str, Any]:
    """The options as `runs.trigger` takes them. Raises Invalid naming the one that is wrong."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        # What is null, false or empty asks for nothing.
        if value is None or name in _IGNORED:
            continue
        field = prefix + name
        if name in _REFUSED:
            if value not in (False, "", [], {}):
                raise Invalid(f"{field} is not possible: {_REFUSED[name]}", field=field)
        elif name in _READERS:
            found.update(_READERS[name](value, field))
        else:
            raise Invalid(f"There is no option {name!r}.", field=field)
    if "metadata" in found:
        kind = _text(options.get("metadataType"), prefix + "metadataType")
        found["metadata"] = _metadata(found["metadata"], kind, prefix + "metadata")
    if options.get("idempotencyKeyTTL") is not None and "idempotency_key" in found:
        ttl = _text(options["idempotencyKeyTTL"], prefix + "idempotencyKeyTTL")
        found["idempotency_key_ttl"] = ttl
    return found


def queue_name(name: str) -> str:
    """The queue of that name; `task/x` is the one of task x."""
    kind, _, task = name.partition("/")
    entries = registry.all_tasks() if kind == "task" and task else []
    return next((entry.queue for entry in entries if entry.id == task), name)


def _text(value: Json, field: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise Invalid(f"{field} is text.", field=field)
    return value


def _as(name: str) -> Callable[[Json, str], dict[str, Any]]:
    """An option that the service checks itself."""
    return lambda value, _field: {name: value}


def _delay(value: Json, field: str) -> dict[str, Any]:
    if isinstance(value, str) and looks_like_a_moment(value):
        return {"delay": moment_of(value, field=field)}
    return {"delay": value}


def _queue(value: Json, field: str) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise Invalid(f'{field} is an object with a name: {{"name": "reports"}}.', field=field)
    if value.get("concurrencyLimit") is not None:
        raise Invalid(f"{field}.concurrencyLimit is not possible: {_LIMITS}", field=field)
    only(value, "name")
    return {"queue": queue_name(value["name"])}


def _concurrency_key(value: Json, field: str) -> dict[str, Any]:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Invalid(f"{field} is text or a number.", field=field)
    return {"concurrency_key": str(value)}


def _priority(value: Json, field: str) -> dict[str, Any]:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return {"priority": value}


def _tags(value: Json, field: str) -> dict[str, Any]:
    return {"tags": [value] if isinstance(value, str) else value}


def _machine(value: Json, field: str) -> dict[str, Any]:
    if value not in MACHINES:
        raise Invalid(f"{field} is one of {', '.join(MACHINES)}, not {value!r}.", field=field)
    return {}


def _debounce(value: Json, field: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Invalid(f"{field} is an object with key and delay.", field=field)
    only(value, "key", "delay", "mode", "maxDelay")
    given = {name: item for name, item in value.items() if item is not None}
    if "maxDelay" in given:
        given["max_delay"] = given.pop("maxDelay")
    return {"debounce": given}


def _metadata(value: Json, kind: str | None, field: str) -> Json:
    """Metadata as an object, or as the text of one with its type."""
    found = value
    if isinstance(value, str):
        found = parcels.parse(value, kind or parcels.JSON, field=field)
    if not isinstance(found, Mapping):
        raise Invalid(f"{field} is an object with text keys.", field=field)
    return found


_READERS: Final[dict[str, Callable[[Json, str], dict[str, Any]]]] = {
    "delay": _delay,
    "ttl": _as("ttl"),
    "tags": _tags,
    "metadata": _as("metadata"),
    "priority": _priority,
    "queue": _queue,
    "concurrencyKey": _concurrency_key,
    "maxAttempts": _as("max_attempts"),
    "maxDuration": _as("max_duration"),
    "idempotencyKey": _as("idempotency_key"),
    "debounce": _debounce,
    "machine": _machine,
}
