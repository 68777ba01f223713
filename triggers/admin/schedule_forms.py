"""What is asked before a schedule is made or fires by hand; the services check all of it."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    SolarSchedule,
)
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from executions import registry
from executions.admin.forms import ABSENT, JsonField, ReasonForm
from triggers.rules.overlap import Overlap

_POLICIES: Final = [(policy.value, policy.value) for policy in Overlap]
_SAVED: Final[dict[str, Any]] = {
    "crontab": CrontabSchedule, "interval": IntervalSchedule, "clocked": ClockedSchedule,
    "solar": SolarSchedule,
}  # fmt: skip
_OFFERED_ROWS: Final = 200


def _text(**options: Any) -> forms.CharField:
    return forms.CharField(required=False, widget=UnfoldAdminTextInputWidget(), **options)


def _moment(**options: Any) -> forms.DateTimeField:
    return forms.DateTimeField(widget=UnfoldAdminTextInputWidget(), **options)


def _policy(initial: Overlap) -> forms.ChoiceField:
    return forms.ChoiceField(
        choices=_POLICIES, initial=initial.value, widget=UnfoldAdminSelectWidget(),
        help_text="What becomes of a time while a run of this schedule is open.",
    )  # fmt: skip


class RunNowForm(ReasonForm):
    """Whether it may run beside others."""

    overlap = _policy(Overlap.ALLOW_ALL)
    field_order = ("overlap", "reason")


class BackfillForm(ReasonForm):
    """Which times, and how many of their runs at once."""

    start = _moment(help_text="The first time, in UTC, as 2026-03-31 09:00.")
    end = _moment(help_text="The last time, in UTC; it has passed.")
    overlap = _policy(Overlap.BUFFER_ALL)
    field_order = ("start", "end", "overlap", "reason")


class ScheduleForm(ReasonForm):
    """A new schedule."""

    task = forms.ChoiceField(widget=UnfoldAdminSelectWidget())
    cron = _text(help_text="Minute, hour, day of the month, month, day of the week.")
    timezone = _text(help_text="Of the cron: an IANA name. Empty: UTC.")
    every = _text(help_text="A length of time, as 90s, 15m or 1h30m.")
    at = _moment(required=False, help_text="One moment, in UTC.")
    spec = forms.ChoiceField(
        label="Saved", required=False, widget=UnfoldAdminSelectWidget(),
        help_text="Crontabs, intervals, moments and events of the sun, as saved in this admin.",
    )  # fmt: skip
    payload = JsonField(help_text="A JSON object. Empty: none.")
    overlap = _policy(Overlap.SKIP)
    catch_up = _text(initial="1h", help_text="Times missed by more are not caught up with.")
    window = _text(help_text="Over which schedules spread, as 30m or 30%. Empty: none.")
    pause_on_failure = forms.BooleanField(required=False, widget=UnfoldBooleanWidget())
    remaining_actions = forms.IntegerField(
        required=False, widget=UnfoldAdminIntegerFieldWidget(), help_text="Empty: no limit."
    )
    starts_at = _moment(required=False)
    ends_at = _moment(required=False)
    external_id = _text()
    deduplication_key = _text(help_text="One that is known changes the schedule it has.")
    field_order = (
        "task", "cron", "timezone", "every", "at", "spec", "payload", "overlap", "catch_up",
        "window", "pause_on_failure", "remaining_actions", "starts_at", "ends_at", "external_id",
        "deduplication_key", "reason",
    )  # fmt: skip

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name, choices in (
            ("task", [(task.id, task.id) for task in registry.all_tasks()]),
            ("spec", [("", "-"), *_saved_rows()]),
        ):
            menu = self.fields[name]
            assert isinstance(menu, forms.ChoiceField)
            menu.choices = choices

    def options(self) -> dict[str, Any]:
        """What the service is told."""
        data = {
            name: value
            for name, value in self.cleaned_data.items()
            if value not in ("", None) and value is not ABSENT
        }
        if "spec" in data:
            kind, _, key = data["spec"].partition(":")
            data["spec"] = _SAVED[kind].objects.get(pk=key)
        return data


def _saved_rows() -> list[tuple[str, str]]:
    return [
        (f"{kind}:{row.pk}", f"{kind}: {row}")
        for kind, model in _SAVED.items()
        for row in model.objects.order_by("-pk")[:_OFFERED_ROWS]
    ]
