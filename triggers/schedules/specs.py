"""Rows of django-celery-beat for what a caller says: found, or made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, TypeVar

from django.db import connection, models, transaction
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    SolarSchedule,
)

from executions import audit
from executions.audit import Actor
from executions.errors import Invalid
from executions.rules.durations import Duration
from triggers.models.schedules import SPECS
from triggers.rules import cron, specs
from triggers.rules.solar import Solar
from triggers.rules.specs import ClockedSpec, CronSpec, IntervalSpec, SolarSpec, Spec

Row: TypeAlias = CrontabSchedule | IntervalSchedule | ClockedSchedule | SolarSchedule
R = TypeVar("R", bound=models.Model)
_MODELS: dict[type[models.Model], str] = {
    CrontabSchedule: "crontab", IntervalSchedule: "interval", ClockedSchedule: "clocked",
    SolarSchedule: "solar",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Chosen:
    """A row, which column names it, and what it says."""

    column: str
    pk: int
    spec: Spec

    @property
    def columns(self) -> dict[str, int | None]:
        """The four columns of a schedule."""
        return {f"{name}_id": self.pk if name == self.column else None for name in SPECS}


def choose(
    *, cron: str | None = None, timezone: str | None = None, every: Duration | None = None,
    at: datetime | None = None, solar: Mapping[str, Any] | None = None, spec: Row | None = None,
) -> Chosen:  # fmt: skip
    """The row for what is given; exactly one of all but `timezone`, which belongs to a cron.

    `solar` is {"event", "latitude", "longitude"}; `spec` a row that is there. Raises Invalid naming
    the field.
    """
    given = [name for name, value in (
        ("cron", cron), ("every", every), ("at", at), ("solar", solar), ("spec", spec),
    ) if value is not None]  # fmt: skip
    if len(given) != 1:
        said = " and ".join(given) or "none"
        raise Invalid(
            f"A schedule has one of cron, every, at and solar, not {said}.",
            field=given[-1] if given else "cron",
        )
    if cron is not None:
        return _of_cron(cron, timezone or "UTC")
    if timezone is not None:
        specs.check_zone(timezone)
    if every is not None:
        wanted = specs.every(every)
        row = _found(IntervalSchedule, every=wanted.every, period=wanted.period)
        return Chosen("interval", row.pk, wanted)
    if at is not None:
        return _of_moment(at)
    return _of_place(solar) if solar is not None else _of_given(spec)


def _found(model: type[R], **values: Any) -> R:
    # Two of the same do no harm, and nothing keeps them from coming into being.
    row = model._default_manager.filter(**values).order_by("pk").first()
    return row if row is not None else _made(model(**values))


def _made(row: R) -> R:
    # In bulk, since django-celery-beat would note any other change for its beat in a row of which
    # there is one: whoever makes a schedule would wait for everybody who does.
    type(row)._default_manager.bulk_create([row])
    return row


def _of_cron(text: str, timezone: str) -> Chosen:
    parsed = cron.parse(text, timezone)
    fields = dict(
        zip(
            ("minute", "hour", "day_of_month", "month_of_year", "day_of_week"),
            parsed.fields.expression.split(" "),
            strict=True,
        )
    )
    for name, value in fields.items():
        limit = CrontabSchedule._meta.get_field(name).max_length
        if limit is not None and len(value) > limit:
            raise Invalid(
                f"cron: {name} has {len(value)} characters, at most {limit}.", field="cron"
            )
    row = _found(CrontabSchedule, timezone=parsed.tz, **fields)
    return Chosen("crontab", row.pk, CronSpec(parsed.fields.expression, parsed.tz.key))


def _of_moment(at: datetime) -> Chosen:
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise Invalid("at is a moment with a time zone.", field="at")
    row = _made(ClockedSchedule(clocked_time=at))
    return Chosen("clocked", row.pk, ClockedSpec(at))


def _of_place(solar: Mapping[str, Any]) -> Chosen:
    try:
        place = Solar(str(solar["event"]), float(solar["latitude"]), float(solar["longitude"]))
    except (KeyError, TypeError, ValueError) as error:
        raise Invalid(
            'solar is {"event": text, "latitude": degrees, "longitude": degrees}.', field="solar"
        ) from error
    row = _found(
        SolarSchedule,
        event=place.event,
        latitude=f"{place.latitude:.6f}",
        longitude=f"{place.longitude:.6f}",
    )
    return Chosen(
        "solar", row.pk, SolarSpec(place.event, round(place.latitude, 6), round(place.longitude, 6))
    )


def _of_given(row: Row | None) -> Chosen:
    assert row is not None
    return Chosen(_MODELS[type(row)], row.pk, _spec_of(row))


def _spec_of(row: Row) -> Spec:
    if isinstance(row, CrontabSchedule):
        parts = (row.minute, row.hour, row.day_of_month, row.month_of_year, row.day_of_week)
        text, zone = specs.cron_text(*parts), str(row.timezone)
        return CronSpec(cron.parse(text, zone).fields.expression, zone)
    if isinstance(row, IntervalSchedule):
        return IntervalSpec(row.every, row.period)
    if isinstance(row, ClockedSchedule):
        return ClockedSpec(row.clocked_time)
    return SolarSpec(row.event, float(row.latitude), float(row.longitude))


def check(row: Row) -> None:
    """Raises Invalid for a row of which no time can be told."""
    _spec_of(row).times(datetime.now(UTC))


def describe(row: Row) -> str:
    """A row in words, or what is wrong with it."""
    try:
        return specs.describe(_spec_of(row).expression)
    except Invalid as error:
        return error.message


def keep(row: Row, *, actor: Actor | None = None) -> None:
    """Saves a new row, for schedules to be made with. Raises Invalid."""
    check(row)
    with transaction.atomic():
        _made(row)
        kind = _MODELS[type(row)]
        after = {"expression": _spec_of(row).expression}
        audit.record(actor, f"{kind}.create", f"{kind} {row.pk}", after=after)


_FORGET: Final = """
DELETE FROM django_celery_beat_clockedschedule k WHERE id = %s
  AND NOT EXISTS (SELECT FROM triggers_schedule WHERE clocked_id = k.id)
  AND NOT EXISTS (SELECT FROM django_celery_beat_periodictask WHERE clocked_id = k.id)
"""


def forget_moment(pk: int | None) -> None:
    """Removes a moment that no schedule names any more: each belongs to one."""
    if pk is not None:
        with connection.cursor() as cursor:
            cursor.execute(_FORGET, [pk])
