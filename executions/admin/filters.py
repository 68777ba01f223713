"""Filters of lists as one form: a choice, an exact text, a span of time by the ids made in it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from executions import registry
from executions.models import Run
from executions.rules.ids import first_id

# Choices are what so many of the newest runs have; a DISTINCT would read the whole table.
SAMPLE = 1000
TEMPLATE = "admin/executions/filter.html"


class FormFilter(admin.ListFilter):
    """A filter with a form of its own; all forms of a list are sent together."""

    template = TEMPLATE
    parameters: ClassVar[tuple[str, ...]]

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: type[Model], model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        self.request = request
        for name in self.parameters:
            if name in params:
                value = params.pop(name)
                self.used_parameters[name] = value[-1].strip() if value else ""

    def has_output(self) -> bool:
        """Always: there is a field."""
        return True

    def expected_parameters(self) -> list[str | None]:
        """The names of its fields."""
        return list(self.parameters)

    def value(self, name: str = "") -> str:
        """What was entered, without what PostgreSQL cannot take."""
        return str(self.used_parameters.get(name or self.parameters[0], "")).replace("\0", "")

    def fields(self) -> dict[str, forms.Field]:
        """The fields by parameter."""
        raise NotImplementedError

    def choices(self, changelist: Any) -> Iterator[dict[str, Any]]:
        """The form, for the template."""
        form = forms.Form(initial={name: self.value(name) for name in self.parameters})
        form.fields.update(self.fields())
        yield {"form": form}


class ChoiceFilter(FormFilter):
    """Rows whose field has a chosen value."""

    field: str

    def offered(self) -> list[str]:
        """What can be chosen."""
        raise NotImplementedError

    def fields(self) -> dict[str, forms.Field]:
        """A menu; a value that is not offered but asked for is in it too."""
        values = sorted({*self.offered(), *([self.value()] if self.value() else ())})
        menu = forms.ChoiceField(
            label=str(self.title).capitalize(), required=False, widget=UnfoldAdminSelectWidget(),
            choices=[("", "Any"), *((value, value) for value in values)],
        )  # fmt: skip
        return {self.parameters[0]: menu}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows."""
        return queryset.filter(**{self.field: self.value()}) if self.value() else queryset


class StatusFilter(ChoiceFilter):
    """Rows of one status."""

    title = field = "status"
    parameters = ("status",)
    model: type[Model]

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: type[Model], model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        self.model = model

    def offered(self) -> list[str]:
        """The statuses that there are."""
        field = self.model._meta.get_field("status")
        return [str(value) for value, _ in getattr(field, "choices", None) or ()]


def newest(field: str) -> set[str]:
    """The values that the newest runs have."""
    return set(Run.objects.order_by("-id").values_list(field, flat=True)[:SAMPLE])


class TaskFilter(ChoiceFilter):
    """Runs of one task."""

    title = field = "task"
    parameters = ("task",)

    def offered(self) -> list[str]:
        """Tasks that are registered or have run lately."""
        return [*newest("task"), *(task.id for task in registry.all_tasks())]


class QueueFilter(ChoiceFilter):
    """Runs of one queue."""

    title = field = "queue"
    parameters = ("queue",)

    def offered(self) -> list[str]:
        """Queues of registered tasks and of the newest runs."""
        return [*newest("queue"), *(task.queue for task in registry.all_tasks())]


class TextFilter(FormFilter):
    """Rows for which a text holds exactly."""

    help_text = ""

    def fields(self) -> dict[str, forms.Field]:
        """One line."""
        line = forms.CharField(
            label=str(self.title).capitalize(), required=False, help_text=self.help_text,
            widget=UnfoldAdminTextInputWidget(),
        )  # fmt: skip
        return {self.parameters[0]: line}


class TagFilter(TextFilter):
    """Rows with one tag."""

    title = "tag"
    parameters = ("tag",)
    help_text = "The whole tag."

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows, by the index of tags, which holds rows with tags only and has to be told so."""
        if not self.value():
            return queryset
        return queryset.filter(tags__contains=[self.value()]).exclude(tags=[])


class CreatedFilter(FormFilter):
    """Rows made in a span of time: their ids sort by it, so the primary key finds them."""

    title = "created"
    parameters = ("created_from", "created_to")
    prefix: ClassVar[str] = "run"

    def fields(self) -> dict[str, forms.Field]:
        """Two times in UTC."""
        labels = ("Created from (UTC)", "Created before (UTC)")
        return {
            name: forms.CharField(label=label, required=False, widget=_When())
            for name, label in zip(self.parameters, labels, strict=True)
        }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        """The rows; none for what is no time, with a message."""
        for name, comparison in zip(self.parameters, ("gte", "lt"), strict=True):
            if self.value(name):
                try:
                    bound = first_id(self.prefix, _time_of(self.value(name)))
                except ValueError:
                    text = f"{self.value(name)!r} is no time such as 2026-03-01T12:30."
                    messages.error(request, text)
                    return queryset.none()
                queryset = queryset.filter(**{f"pk__{comparison}": bound})
        return queryset


class TokenCreatedFilter(CreatedFilter):
    """Wait tokens made in a span of time."""

    prefix = "waitpoint"


class _When(UnfoldAdminTextInputWidget):
    input_type = "datetime-local"


def _time_of(text: str) -> datetime:
    """The time; without an offset it is UTC. Raises ValueError."""
    at = datetime.fromisoformat(text)
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(text) from error
