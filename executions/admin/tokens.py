"""Wait tokens and their outcome; an operator may complete one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin

from executions import reviews
from executions.admin.acts import Act, ActingAdmin
from executions.admin.common import link, pre
from executions.admin.filters import StatusFilter, TagFilter, TokenCreatedFilter
from executions.admin.forms import CompleteForm
from executions.models import WaitToken
from executions.rules.statuses import TokenStatus


def _complete(key: str, data: dict[str, Any], **who: Any) -> None:
    reviews.complete_token(key, data["output"], **who)


@admin.register(WaitToken)
class WaitTokenAdmin(ActingAdmin):
    """Wait tokens and their outcome."""

    acts = (
        Act(
            name="complete", label="Complete", permission="executions.complete_waittoken",
            explains="The run that waits goes on with this output; a token has one outcome.",
            done="Completed", form=CompleteForm, do=_complete,
            is_offered=lambda token: token.status == TokenStatus.WAITING,
        ),
    )  # fmt: skip
    list_display = ("id", "run_link", "step_key", "status", "timeout_at", "created_at")
    list_filter = (StatusFilter, TagFilter, TokenCreatedFilter)
    list_select_related = False
    search_fields = ("id__startswith",)
    search_help_text = "The beginning of a token's id"
    fields = (
        "id", "run_link", "step_key", "workspace", "status", "timeout_at", "tags",
        "idempotency_key", "idempotency_expires_at", "created_at", "completed_at", "outcome",
    )  # fmt: skip

    @admin.display(description="run")
    def run_link(self, token: WaitToken) -> str:
        return link("run", token.run_id)

    @admin.display(description="output")
    def outcome(self, token: WaitToken) -> str:
        return pre(token.output)
