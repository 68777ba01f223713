"""What belongs to the whole project: API keys, and what is left of callers' budgets."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import OuterRef, Subquery
from django.utils import timezone

from executions import workspaces
from executions.access import Caller
from executions.connections import envelope
from executions.connections.envelope import Envelope
from executions.errors import Conflict
from executions.models import Membership
from executions.planned import Planned
from executions.rules.scopes import EVERY_SCOPE, SCOPES_OF, Role, parse
from executions.rules.values import plain_text

KEY_PREFIX = "fm_"
SEAL = "api-key"
SHOWN_CHARACTERS = 8


class ApiKey(models.Model):
    """A key for programs, shown once, when it is issued.

    It is found by its hash. Sealed, it serves to check public tokens, which are signed with it.
    """

    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16)
    key_hash = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_keys"
    )
    workspace = models.ForeignKey(
        "executions.Workspace", on_delete=models.PROTECT, related_name="api_keys"
    )
    all_workspaces = models.BooleanField(
        default=False, help_text="Of a member of the staff: shows what belongs to any or to none."
    )
    scopes = models.JSONField(default=list)
    sealed = models.BinaryField(
        null=True, help_text="The key under the master key, to check what was signed with it."
    )
    wrapped_key = models.BinaryField(null=True)
    sealed_with = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("id",)
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @staticmethod
    def hash_of(key: str) -> str:
        """The stored form of a key. It has 256 random bits, so a plain hash is enough."""
        return hashlib.sha256(key.encode()).hexdigest()

    @classmethod
    def issue(
        cls,
        user: Any,
        *,
        name: str,
        scopes: list[str],
        workspace: str | None = None,
        all_workspaces: bool = False,
    ) -> tuple[ApiKey, str]:
        """A new key's row, and the key: the only time it is shown.

        The workspace is the user's own unless said otherwise. Raises Invalid for an unknown scope
        and Conflict where the user may not have such a key.
        """
        parse(scopes)
        home = str(workspaces.place_of(user.pk, workspace))
        _check_reach(user, home, all_workspaces=all_workspaces)
        key = KEY_PREFIX + secrets.token_urlsafe(32)
        row = cls(
            name=plain_text(name, field="name", limit=100),
            prefix=key[: len(KEY_PREFIX) + SHOWN_CHARACTERS],
            key_hash=cls.hash_of(key),
            user=user,
            workspace_id=home,
            all_workspaces=all_workspaces,
            scopes=scopes,
        )
        sealed = envelope.seal({"key": key}, row=row.key_hash, provider=SEAL)
        row.sealed, row.wrapped_key, row.sealed_with = (
            sealed.sealed, sealed.wrapped_key, sealed.key_id,
        )  # fmt: skip
        row.save(force_insert=True)
        return row, key

    @classmethod
    def find(cls, key: str) -> ApiKey | None:
        """The row of a usable key with its user; None for one unknown, revoked or of no use."""
        return next(iter(_by_hash(cls.hash_of(key))), None)

    @classmethod
    def usable(cls) -> models.QuerySet[ApiKey]:
        """Keys that count, with their users and with `role`: what those are in the workspace."""
        role = Membership.objects.filter(workspace=OuterRef("workspace"), user=OuterRef("user"))
        return (
            cls.objects.select_related("user")
            .filter(revoked_at=None, user__is_active=True)
            .annotate(role=Subquery(role.values("role")[:1]))
        )

    def caller(self) -> Caller | None:
        """Who calls with this key, of those that `usable` found; None for a member shown out."""
        user = self.user
        is_staff = user.is_staff or user.is_superuser
        role: str | None = getattr(self, "role")  # noqa: B009 - an annotation
        if role is None and not is_staff:
            return None
        sees_all = self.all_workspaces and is_staff
        held = EVERY_SCOPE if role is None or sees_all else SCOPES_OF[Role(role)]
        return Caller(
            name=f"{user}, key {self.name!r}",
            user_id=user.pk,
            workspace_id=self.workspace_id,
            scopes=parse(self.scopes) & held,
            sees_all=sees_all,
            key_id=self.pk,
        )

    def reveal(self) -> str:
        """The key itself, to check a signature. Raises KeyMissing, or NotGenuine."""
        return envelope.unseal(self.as_sealed, row=self.key_hash, provider=SEAL)["key"]

    @property
    def as_sealed(self) -> Envelope:
        """The key as it is stored, for who has the master key."""
        return Envelope(
            sealed=bytes(self.sealed or b""),
            wrapped_key=bytes(self.wrapped_key or b""),
            key_id=self.sealed_with,
        )

    def note_use(self) -> None:
        """Remember that the key was used, at most once a minute."""
        now = timezone.now()
        if self.last_used_at is None or self.last_used_at < now - timedelta(minutes=1):
            type(self).objects.filter(pk=self.pk).update(last_used_at=now)


# Every request of the API asks this.
_by_hash = Planned(lambda key_hash: ApiKey.usable().filter(key_hash=key_hash), str)


def _check_reach(user: Any, workspace: str, *, all_workspaces: bool) -> None:
    is_staff = user.is_staff or user.is_superuser
    if all_workspaces and not is_staff:
        raise Conflict(
            f"{user} is no member of the staff; only theirs may be a key for all workspaces.",
            field="all_workspaces",
        )
    if not is_staff and workspaces.role_of(user.pk, workspace) is None:
        raise Conflict(f"{user} is no member of that workspace.", field="workspace")


class RateLimit(models.Model):
    """A budget in use: `throttles` reads and writes it. Times are seconds since 1970.

    The table is not logged: after a crash of the database, budgets begin afresh.
    """

    key = models.TextField(primary_key=True)
    whole_at = models.FloatField(help_text="When the budget is whole again.")
    is_allowed = models.BooleanField(help_text="Whether the last request was let through.")
    at = models.FloatField(help_text="When it came.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.key
