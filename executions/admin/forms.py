"""What is asked before something is done: always a reason, at times JSON."""

from __future__ import annotations

import json
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
)

from executions.audit import REASON_LIMIT
from executions.models import Run, Step
from executions.rules.statuses import StepStatus

# Longer JSON is not put into a form by itself; whoever wants another has it elsewhere.
EDITED_CHARACTERS = 200_000
OFFERED_STEPS = 1000
ABSENT: Final = object()
REDO, EDIT = "redo", "edit"


class JsonField(forms.CharField):
    """JSON as text; ABSENT when it is left empty."""

    def __init__(self, **options: Any) -> None:
        widget = UnfoldAdminTextareaWidget({"rows": 12, "class": "fm-code", "spellcheck": "false"})
        super().__init__(required=False, strip=True, widget=widget, **options)

    def to_python(self, value: Any) -> Any:
        """The value of the text."""
        text = super().to_python(value)
        if not text:
            return ABSENT
        try:
            return json.loads(text, parse_constant=_refuse)
        except ValueError as error:
            raise ValidationError(f"This is not JSON: {error}.") from error
        except RecursionError as error:
            raise ValidationError("This JSON is nested too deeply.") from error

    def validate(self, value: Any) -> None:
        """Any JSON will do."""

    def run_validators(self, value: Any) -> None:
        """None: what is stored is checked where it is stored."""


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no value of JSON")


def json_text(value: Any) -> str:
    """A value to be edited; empty when it is too long for that."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return text if len(text) <= EDITED_CHARACTERS else ""


class ReasonForm(forms.Form):
    """Why it is done. `subject` is the one row it is done to, None where there are several."""

    reason = forms.CharField(
        max_length=REASON_LIMIT,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
        help_text="It is kept in the audit log, with your name.",
    )

    def __init__(self, *args: Any, subject: Any, request: HttpRequest, **options: Any) -> None:
        self.subject = subject
        self.request = request
        super().__init__(*args, **options)

    def clean_reason(self) -> str:
        """One line: it is shown in lists."""
        return " ".join(str(self.cleaned_data["reason"]).split())


class ReplayForm(ReasonForm):
    """A run anew, with the same or an edited payload."""

    payload = JsonField(help_text="JSON. Left as it is, or empty: the payload of this run.")
    field_order = ("payload", "reason")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["payload"].initial = json_text(self.subject.data.payload)

    def clean_payload(self) -> Any:
        """The payload; ABSENT when it is the same."""
        value = self.cleaned_data["payload"]
        return ABSENT if same(value, self.subject.data.payload) else value


def same(left: Any, right: Any) -> bool:
    """Whether two values are the same JSON; 1, 1.0 and true are three things."""
    return left is not ABSENT and json.dumps(left) == json.dumps(right)


class ForkForm(ReasonForm):
    """A new run that takes over the journal up to a step."""

    step = forms.ChoiceField(widget=UnfoldAdminSelectWidget())
    how = forms.ChoiceField(
        label="What becomes of it",
        widget=UnfoldAdminRadioSelectWidget(),
        choices=(
            (REDO, "Redo this step, and all that ended after it"),
            (EDIT, "Take it as completed with the output below, and redo all that ended after it"),
        ),
        initial=REDO,
    )
    output = JsonField(help_text="JSON, for a step that is taken as completed.")
    field_order = ("step", "how", "output", "reason")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        steps = _steps(self.subject)
        chosen = self.request.GET.get("step", "")
        keys = [key for key, _, _ in steps]
        if chosen and chosen not in keys:
            keys.insert(0, chosen)
        labels = {key: f"{key}  ({kind}, {status.lower()})" for key, kind, status in steps}
        menu = self.fields["step"]
        assert isinstance(menu, forms.ChoiceField)
        menu.choices = [(key, labels.get(key, key)) for key in keys]
        if chosen:
            menu.initial = chosen
            step = Step.objects.filter(run_id=self.subject.pk, key=chosen).first()
            if step is not None and step.status == StepStatus.COMPLETED:
                self.fields["output"].initial = json_text(step.output)

    def clean(self) -> dict[str, Any]:
        """An output is needed where it is to be taken."""
        data = super().clean() or {}
        if data.get("how") == EDIT and data.get("output") is ABSENT:
            self.add_error("output", "Say what the step's output is to be; null is one.")
        return data


def _steps(run: Run) -> list[tuple[str, str, str]]:
    found = Step.objects.filter(run_id=run.pk).order_by("seq", "started_at", "key")
    return list(found.values_list("key", "kind", "status")[:OFFERED_STEPS])


class CompleteForm(ReasonForm):
    """What a wait token comes to."""

    output = JsonField(help_text="JSON. Empty: null.")
    field_order = ("output", "reason")

    def clean_output(self) -> Any:
        """The output."""
        value = self.cleaned_data["output"]
        return None if value is ABSENT else value


class LimitForm(ReasonForm):
    """How many runs of a queue execute at once."""

    limit = forms.IntegerField(
        required=False,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="For each concurrency key by itself. Empty: any number.",
    )
    field_order = ("limit", "reason")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["limit"].initial = self.subject.concurrency_limit
