"""django-celery-beat's tables in the admin: what says when stays, what fires is not offered.

Its periodic tasks would never fire: they are for a beat process, and none runs here. Whoever looks
for them finds schedules instead. Its forms and their checks stay; a row that schedules share is
made and looked at, and not changed under them.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.exceptions import NotRegistered
from django.core.exceptions import ValidationError
from django.db.models import Count, Model, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    PeriodicTasks,
    SolarSchedule,
)
from unfold.admin import ModelAdmin

from executions.audit import Actor
from executions.errors import FlowMaestroError
from triggers.admin.schedules import MANAGE
from triggers.schedules import specs

for _model in (
    PeriodicTask, PeriodicTasks, CrontabSchedule, IntervalSchedule, ClockedSchedule, SolarSchedule,
):  # fmt: skip
    try:
        admin.site.unregister(_model)
    except NotRegistered:
        continue


class SpecForm(ModelForm):
    """django-celery-beat's own checks, and those of what fires here."""

    def clean(self) -> dict[str, Any] | None:
        """Refuses what would never fire."""
        data = super().clean()
        if not self.errors:
            row = self._meta.model(**self.cleaned_data)
            try:
                specs.check(row)
            except FlowMaestroError as error:
                raise ValidationError(error.message) from error
        return data


class SpecAdmin(ModelAdmin):
    """Rows that schedules share: made and looked at."""

    form = SpecForm
    list_display = ("__str__", "described", "used_by")
    ordering = ("-pk",)
    readonly_fields = ("described", "used_by")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With the number of their schedules."""
        return super().get_queryset(request).annotate(uses=Count("schedules"))

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """What is told of a row that is there."""
        return () if obj is None else self.readonly_fields

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whoever may look at schedules."""
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Whoever may look at schedules."""
        return bool(getattr(request.user, "has_perm")("triggers.view_schedule"))  # noqa: B009

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Whoever manages schedules."""
        return bool(getattr(request.user, "has_perm")(MANAGE))  # noqa: B009

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never: schedules share it. A schedule is given another one."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never."""
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Has the service keep it."""
        specs.keep(obj, actor=Actor.of(request.user))

    @admin.display(description="in words")
    def described(self, row: Any) -> str:
        return specs.describe(row)

    @admin.display(description="schedules")
    def used_by(self, row: Any) -> str:
        return f"{row.uses:,}"


for _model in (CrontabSchedule, IntervalSchedule, ClockedSchedule, SolarSchedule):
    admin.site.register(_model, SpecAdmin)
