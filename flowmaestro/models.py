"""What belongs to the whole project: API keys."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

KEY_PREFIX = "fm_"
SHOWN_CHARACTERS = 8


class ApiKey(models.Model):
    """A key for programs. Only its hash is stored; the key itself is shown once, when issued."""

    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16)
    key_hash = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_keys"
    )
    scopes = models.JSONField(default=list)
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
    def issue(cls, user: Any, *, name: str, scopes: list[str]) -> tuple[ApiKey, str]:
        """A new key's row, and the key: the only time it is known."""
        key = KEY_PREFIX + secrets.token_urlsafe(32)
        prefix = key[: len(KEY_PREFIX) + SHOWN_CHARACTERS]
        row = cls.objects.create(
            name=name, prefix=prefix, key_hash=cls.hash_of(key), user=user, scopes=scopes
        )
        return row, key

    @classmethod
    def find(cls, key: str) -> ApiKey | None:
        """The row of a usable key with its user; None for one unknown, revoked or of no use."""
        return (
            cls.objects.select_related("user")
            .filter(key_hash=cls.hash_of(key), revoked_at=None, user__is_active=True)
            .first()
        )

    def note_use(self) -> None:
        """Remember that the key was used, at most once a minute."""
        now = timezone.now()
        if self.last_used_at is None or self.last_used_at < now - timedelta(minutes=1):
            type(self).objects.filter(pk=self.pk).update(last_used_at=now)
