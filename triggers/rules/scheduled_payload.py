"""What a scheduled run is given: Trigger.dev's fields, beside the schedule's own payload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from executions.errors import Invalid

Json = Any

UPCOMING: Final = 5
_FIELDS: Final = (
    "type", "timestamp", "lastTimestamp", "timezone", "scheduleId", "externalId", "upcoming",
)  # fmt: skip


def check_own(payload: object) -> dict[str, Json] | None:
    """A schedule's own payload. Raises Invalid unless it is an object without the fixed fields."""
    if payload is None:
        return None
    if not isinstance(payload, Mapping):
        raise Invalid(
            "A schedule's payload is an object: its fields stand beside those that tell of the "
            "schedule.",
            field="payload",
        )
    for name in _FIELDS:
        if name in payload:
            raise Invalid(
                f"payload.{name} is set by the schedule; call yours something else.",
                field=f"payload.{name}",
            )
    return dict(payload)


def build(
    own: Mapping[str, Json] | None, *, schedule_id: str, is_declarative: bool, timezone: str,
    external_id: str | None, nominal: datetime, last: datetime | None,
    upcoming: Sequence[datetime],
) -> dict[str, Json]:  # fmt: skip
    """The payload of the run for a nominal time; what is not there is left out."""
    payload: dict[str, Json] = dict(own or {})
    payload["type"] = "DECLARATIVE" if is_declarative else "IMPERATIVE"
    payload["timestamp"] = iso(nominal)
    if last is not None:
        payload["lastTimestamp"] = iso(last)
    payload["timezone"] = timezone
    payload["scheduleId"] = schedule_id
    if external_id is not None:
        payload["externalId"] = external_id
    payload["upcoming"] = [iso(moment) for moment in upcoming]
    return payload


def iso(moment: datetime) -> str:
    """A moment as JavaScript writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
