"""The admin's view of API keys; and what it does not show: django-q2's own tables.

They stay empty here, and its lists would unpickle whatever a row holds.
"""

from __future__ import annotations

from django.contrib import admin
from django.contrib.admin.exceptions import NotRegistered
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django_q.models import Failure, OrmQ, Schedule, Success
from unfold.admin import ModelAdmin

from flowmaestro.models import ApiKey

for _model in (Failure, OrmQ, Schedule, Success):
    try:
        admin.site.unregister(_model)
    except NotRegistered:
        continue


@admin.register(ApiKey)
class ApiKeyAdmin(ModelAdmin):
    """Looks at keys and revokes them; the key itself is nowhere."""

    list_display = (
        "name",
        "prefix",
        "user",
        "workspace",
        "scopes",
        "created_at",
        "last_used_at",
        "revoked_at",
    )
    list_select_related = ("user", "workspace")
    search_fields = ("name", "prefix")
    actions = ("revoke",)
    exclude = ("key_hash", "sealed", "wrapped_key", "sealed_with")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """A key is shown once, where it is issued; a form cannot do that."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Keys are looked at, not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """A revoked key stays on record."""
        return False

    @admin.action(description="Revoke the selected API keys", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Make the keys useless from now on."""
        count = queryset.filter(revoked_at=None).update(revoked_at=timezone.now())
        self.message_user(request, f"{count} API keys were revoked.")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Whoever may change keys in principle may revoke them."""
        return request.user.has_perm("flowmaestro.change_apikey")
