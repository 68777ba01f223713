"""The admin's view of API keys; and what it does not show: django-q2's own tables.

They stay empty here, and its lists would unpickle whatever a row holds.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.exceptions import NotRegistered
from django_q.models import Failure, OrmQ, Schedule, Success

from executions.admin.acts import Act, ActingAdmin
from flowmaestro import keys
from flowmaestro.models import ApiKey

for _model in (Failure, OrmQ, Schedule, Success):
    try:
        admin.site.unregister(_model)
    except NotRegistered:
        continue


def _revoke(key: int, data: dict[str, Any], **who: Any) -> None:
    keys.revoke(key, **who)


@admin.register(ApiKey)
class ApiKeyAdmin(ActingAdmin):
    """Looks at keys and revokes them; the key itself is nowhere."""

    acts = (
        Act(
            name="revoke", label="Revoke", permission="flowmaestro.change_apikey",
            explains="The key, and every public token signed with it, is useless from now on.",
            done="Revoked", do=_revoke, for_many=True, is_grave=True,
            is_offered=lambda key: key.revoked_at is None,
        ),
    )  # fmt: skip
    list_display = (
        "id", "name", "prefix", "user", "workspace", "all_workspaces", "scopes",
        "created_at", "last_used_at", "revoked_at",
    )  # fmt: skip
    list_select_related = ("user", "workspace")
    search_fields = ("name__icontains", "prefix__startswith")
    fields = (
        "id", "name", "prefix", "user", "workspace", "all_workspaces", "scopes", "created_at",
        "last_used_at", "revoked_at",
    )  # fmt: skip
