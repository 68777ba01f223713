"""The secrets of webhooks: what they are signed with, or must show; sealed as connections' are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from executions.connections import envelope
from executions.errors import Invalid
from triggers.clock import database_now
from triggers.models import Trigger
from triggers.rules import signatures
from triggers.rules.configs import Auth, WebhookConfig
from triggers.rules.signatures import Style

PROVIDER: Final = "webhook"
SHORTEST, LONGEST = 8, 1000
_BATCH = 100


def check(secret: object, style: Style) -> str:
    """A secret that somebody brings along. Raises Invalid without repeating it."""
    if not isinstance(secret, str) or not SHORTEST <= len(secret) <= LONGEST:
        raise Invalid(f"secret is text of {SHORTEST} to {LONGEST:,} characters.", field="secret")
    if not secret.isprintable() or secret != secret.strip() or not secret.isascii():
        raise Invalid("secret is ASCII without spaces around it.", field="secret")
    try:
        signatures.key_bytes(style, secret)
    except ValueError as error:
        raise Invalid(
            "A secret of Standard Webhooks is whsec_ and Base64.", field="secret"
        ) from error
    return secret


def put(row: Trigger, secret: str | None, old: str | None = None) -> None:
    """Seals a secret, and the one before it while that still counts; None leaves the row none."""
    if secret is None:
        row.sealed, row.wrapped_key, row.key_id = b"", b"", ""
        return
    kept = {"secret": secret} if old is None else {"secret": secret, "old": old}
    sealed = envelope.seal(kept, row=row.id, provider=PROVIDER)
    row.sealed, row.wrapped_key, row.key_id = sealed.sealed, sealed.wrapped_key, sealed.key_id


def secret_of(row: Trigger) -> str | None:
    """The secret. Raises KeyMissing or NotGenuine."""
    return _opened(row).get("secret")


def accepted(row: Trigger, now: datetime) -> list[str]:
    """The secrets that count now, the present one first."""
    found = _opened(row)
    names = ["secret"]
    if row.old_secret_until is not None and row.old_secret_until > now:
        names.append("old")
    return [found[name] for name in names if name in found]


def takes_secret(config: Any) -> bool:
    """Whether requests have to show something that only their sender knows."""
    return isinstance(config, WebhookConfig) and config.auth != Auth.NONE


def keep(row: Trigger, config: Any, given: str | None) -> str | None:
    """Sees that the row has a secret if and only if it takes one; the secret, where it is new."""
    if not takes_secret(config):
        if given is not None:
            raise Invalid("This trigger takes no secret; leave it out.", field="secret")
        put(row, None)
        row.secret_changed_at = row.old_secret_until = None
        return None
    style = config.signature_style
    if given is None and row.key_id:
        _check_fits(row, style)
        return None
    new = signatures.new_secret(style) if given is None else check(given, style)
    put(row, new)
    row.secret_changed_at = database_now()
    row.old_secret_until = None
    return new


def _check_fits(row: Trigger, style: signatures.Style) -> None:
    try:
        signatures.key_bytes(style, secret_of(row) or "")
    except ValueError as error:
        raise Invalid(
            "The trigger's secret is not one of Standard Webhooks; give `secret` along.",
            field="config.signatureStyle",
        ) from error


def rewrap() -> tuple[int, dict[str, str]]:
    """Wraps every data key with the current master key: how many rows, and those that do not open.

    The latter are {id: sentence}.
    """
    key, rotated, after = envelope.current_key(), 0, ""
    failed: dict[str, str] = {}
    while True:
        with transaction.atomic():
            stale = Trigger.objects.exclude(key_id="").exclude(key_id=key).filter(id__gt=after)
            rows = list(stale.order_by("id").select_for_update(of=("self",))[:_BATCH])
            for row in rows:
                try:
                    again = envelope.rewrap(_envelope(row), row=row.id, provider=PROVIDER)
                except (envelope.KeyMissing, envelope.NotGenuine) as error:
                    failed[row.id] = error.message
                    continue
                row.wrapped_key, row.key_id = again.wrapped_key, again.key_id
                row.save(update_fields=("wrapped_key", "key_id"))
                rotated += 1
        if not rows:
            return rotated, failed
        after = rows[-1].id


def _opened(row: Trigger) -> Mapping[str, str]:
    if not row.key_id:
        return {}
    return envelope.unseal(_envelope(row), row=row.id, provider=PROVIDER)


def _envelope(row: Trigger) -> envelope.Envelope:
    return envelope.Envelope(
        sealed=bytes(row.sealed), wrapped_key=bytes(row.wrapped_key), key_id=row.key_id
    )
