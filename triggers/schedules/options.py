"""What a caller says about a schedule: read, checked, and put into its columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from executions.errors import Invalid
from executions.requests import check_tags
from executions.rules import durations
from executions.rules.values import encode, plain_text
from triggers.models import Schedule
from triggers.models.schedules import SPECS
from triggers.rules import scheduled_payload, window
from triggers.rules.overlap import Overlap
from triggers.rules.specs import CronSpec, check_zone
from triggers.schedules import firing, specs
from triggers.schedules.specs import Chosen
from triggers.schedules.store import Held

Json = Any

_WHEN: Final = ("cron", "every", "at", "solar", "spec")
DEFAULTS: Final[Mapping[str, Any]] = {
    "timezone": None, "payload": None, "external_id": None, "overlap": Overlap.SKIP,
    "catch_up": 3600, "window": "", "pause_on_failure": False, "remaining_actions": None,
    "starts_at": None, "ends_at": None, "tags": (), "queue": None, "metadata": None, "ttl": None,
}  # fmt: skip
"""What is not said of a new schedule."""
TIMING: Final = (*(f"{name}_id" for name in SPECS), "starts_at", "ends_at")
"""The columns that say when it fires."""
_MOST_ACTIONS: Final = 2**31 - 1
_EXAMPLES: Final = scheduled_payload.UPCOMING


@dataclass(frozen=True, slots=True)
class Settings:
    """What a schedule is to be: its times, and its other columns."""

    chosen: Chosen
    columns: dict[str, Any]

    def apply(self, schedule: Schedule) -> None:
        """Puts it into the columns."""
        for name, value in self.columns.items():
            setattr(schedule, name, value)

    def is_in(self, schedule: Schedule) -> bool:
        """Whether the schedule is so already."""
        return all(getattr(schedule, name) == value for name, value in self.columns.items())


def read(given: Mapping[str, Any], held: Held | None = None) -> Settings:
    """The settings of a new schedule; with `held`, those that are named, beside what it has.

    Raises Invalid naming the field, also for an option that there is not.
    """
    options = dict(given) if held is not None else {**DEFAULTS, **given}
    for name in options:
        if name not in DEFAULTS and name not in _WHEN and name != "task":
            known = ", ".join(("task", *_WHEN, *DEFAULTS))
            raise Invalid(f"A schedule has no {name!r}; it has {known}.", field=name)
    columns: dict[str, Any] = {
        column: check(options[name])
        for name, (column, check) in _COLUMNS.items()
        if name in options
    }
    chosen = _chosen(options, held)
    columns |= chosen.columns
    if chosen.spec.timezone is not None:
        columns["timezone"] = chosen.spec.timezone
    elif options.get("timezone") is not None:
        columns["timezone"] = check_zone(options["timezone"])
    columns["expression"] = chosen.spec.expression
    starts_at, ends_at = (
        columns.get(name, getattr(held.schedule, name) if held else None)
        for name in ("starts_at", "ends_at")
    )
    if starts_at is not None and ends_at is not None and starts_at > ends_at:
        raise Invalid("ends_at lies before starts_at.", field="ends_at")
    return Settings(chosen, columns)


def _chosen(options: Mapping[str, Any], held: Held | None) -> Chosen:
    when = {name: options[name] for name in _WHEN if options.get(name) is not None}
    timezone = options.get("timezone")
    if held is None:
        return specs.choose(timezone=timezone, **when)
    schedule, old = held.schedule, held.spec
    if when:
        if when == {"at": getattr(old, "at", None)}:
            return Chosen("clocked", schedule.clocked_id or 0, old)
        if "cron" in when and timezone is None:
            timezone = old.timezone
        return specs.choose(timezone=timezone, **when)
    if isinstance(old, CronSpec) and timezone not in (None, old.timezone):
        return specs.choose(cron=old.expression, timezone=timezone)
    column = next(name for name in SPECS if getattr(schedule, f"{name}_id") is not None)
    return Chosen(column, getattr(schedule, f"{column}_id"), old)


def replacing(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a new schedule as changes of one that is there: all that it is not told.

    Raises Invalid when they do not say when.
    """
    if not any(given.get(name) is not None for name in _WHEN):
        specs.choose()
    return {**DEFAULTS, **given, "timezone": given.get("timezone") or "UTC"}


def check_run(schedule: Schedule, now: datetime) -> None:
    """Makes a request for a run as the schedule will. Raises what its task or its options raise."""
    firing.request(schedule, now, now, [now] * _EXAMPLES)


def check_key(key: str | None) -> None:
    """Raises Invalid unless it is a deduplication key, or none."""
    if key is not None:
        plain_text(key, field="deduplication_key", limit=512)


def check_overlap(value: object) -> Overlap:
    """The policy of that name. Raises Invalid naming those there are."""
    if value not in list(Overlap):
        raise Invalid(f"overlap is one of {', '.join(Overlap)}, not {value!r}.", field="overlap")
    return Overlap(str(value))


# ---- one column each ----------------------------------------------------------------------------


def _text(field: str, limit: int) -> Any:
    return lambda value: None if value is None else plain_text(value, field=field, limit=limit)


def _seconds(field: str) -> Any:
    return lambda value: None if value is None else durations.seconds(value, field=field)


def _catch_up(value: Any) -> float:
    if value is None:
        raise Invalid("catch_up is a length of time; 0 for none.", field="catch_up")
    return durations.seconds(value, field="catch_up")


def _window(value: Any) -> str:
    text = value or ""
    window.parse(text)
    return str(text)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Invalid("pause_on_failure is true or false.", field="pause_on_failure")
    return value


def _actions(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_ACTIONS:
        raise Invalid(
            "remaining_actions is a whole number from 0 on, or none.", field="remaining_actions"
        )
    return value


def _moment(field: str) -> Any:
    def check(value: Any) -> datetime | None:
        if value is not None and (not isinstance(value, datetime) or value.tzinfo is None):
            raise Invalid(f"{field} is a moment with a time zone.", field=field)
        return value

    return check


def _metadata(value: Any) -> dict[str, Json]:
    if value is not None and not isinstance(value, Mapping):
        raise Invalid("metadata is an object with text keys.", field="metadata")
    encode(dict(value or {}), field="metadata")
    return dict(value or {})


_COLUMNS: Final[Mapping[str, tuple[str, Any]]] = {
    "task": ("task", _text("task", 128)),
    "payload": ("payload", scheduled_payload.check_own),
    "external_id": ("external_id", _text("external_id", 512)),
    "overlap": ("overlap", check_overlap),
    "catch_up": ("catch_up_seconds", _catch_up),
    "window": ("window", _window),
    "pause_on_failure": ("pause_on_failure", _flag),
    "remaining_actions": ("remaining_actions", _actions),
    "starts_at": ("starts_at", _moment("starts_at")),
    "ends_at": ("ends_at", _moment("ends_at")),
    "tags": ("tags", check_tags),
    "queue": ("queue", _text("queue", 128)),
    "metadata": ("metadata", _metadata),
    "ttl": ("ttl_seconds", _seconds("ttl")),
}
