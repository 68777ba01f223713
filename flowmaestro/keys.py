"""What is done to API keys: issue, revoke, list. A key is shown once, to whoever it is made for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from executions import audit
from executions.access import ScopeMissing
from executions.audit import Actor
from executions.connections import envelope
from executions.errors import NotFound
from executions.rules.scopes import ALL, Scope, parse
from flowmaestro.models import SEAL, ApiKey

Json = Any
_BATCH: Final = 100


def issue(
    user: Any,
    *,
    name: str,
    scopes: Sequence[str],
    workspace: str | None = None,
    all_workspaces: bool = False,
    within: Collection[Scope] | None = None,
    reason: str | None = None,
    actor: Actor | None = None,
) -> tuple[ApiKey, str]:
    """A new key's row, and the key: the only time it is shown.

    `within`: what whoever asks for it may do, which it may not surpass; `*` is all of that then.
    Raises Invalid for an unknown scope, ScopeMissing beyond `within`, Conflict or NotFound where
    the user may not have such a key.
    """
    reason = audit.check_reason(reason)
    wanted = parse(scopes)
    if within is not None:
        beyond = sorted(wanted - frozenset(within))
        if beyond and ALL not in scopes:
            raise ScopeMissing(
                f"A key with the scope {beyond[0]!r} is for who has that scope to give.",
                field="scopes",
            )
        scopes = sorted(wanted & frozenset(within))
    with transaction.atomic():
        row, key = ApiKey.issue(
            user, name=name, scopes=list(scopes), workspace=workspace,
            all_workspaces=all_workspaces,
        )  # fmt: skip
        audit.record(actor, "key.issue", subject(row), reason=reason, after=public(row))
    return row, key


def revoke(
    key_id: int,
    *,
    among: QuerySet[ApiKey] | None = None,
    reason: str | None = None,
    actor: Actor | None = None,
) -> ApiKey:
    """Makes a key, and every public token signed with it, useless from now on.

    One that is revoked already stays as it is. Raises NotFound for one that is not `among` those.
    """
    reason = audit.check_reason(reason)
    with transaction.atomic():
        rows = ApiKey.objects.all() if among is None else among
        row = rows.select_for_update(of=("self",)).filter(pk=key_id).first()
        if row is None:
            raise NotFound(f"There is no API key {key_id!r}.", field="key")
        if row.revoked_at is None:
            row.revoked_at = timezone.now()
            row.save(update_fields=("revoked_at",))
            audit.record(actor, "key.revoke", subject(row), reason=reason, before=public(row))
    return row


def find(reference: str) -> ApiKey:
    """The key of an id, or of the beginning that lists show. Raises NotFound."""
    by = {"pk": int(reference)} if _is_id(reference) else {"prefix": reference.replace("\0", " ")}
    found = list(ApiKey.objects.filter(**by)[:2])
    if len(found) != 1:
        which = "Several API keys begin so; name one by its id" if found else "There is no API key"
        raise NotFound(f"{which}: {reference!r}.", field="key")
    return found[0]


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def list_keys(*, workspace: str | None = None, user: int | None = None) -> QuerySet[ApiKey]:
    """The keys of a workspace or a user, or all, the newest first."""
    rows = ApiKey.objects.select_related("user", "workspace").order_by("-pk")
    if workspace is not None:
        rows = rows.filter(workspace=workspace)
    return rows if user is None else rows.filter(user=user)


def public(row: ApiKey) -> dict[str, Json]:
    """What may be shown of a key."""
    return {
        "id": row.pk,
        "name": row.name,
        "prefix": row.prefix,
        "user": row.user.get_username(),
        "workspace": row.workspace_id,
        "allWorkspaces": row.all_workspaces,
        "scopes": list(row.scopes),
        "createdAt": _time(row.created_at),
        "lastUsedAt": _time(row.last_used_at),
        "revokedAt": _time(row.revoked_at),
    }


def subject(row: ApiKey) -> str:
    """What the audit log calls a key."""
    return f"key_{row.pk}"


def rewrap() -> tuple[int, dict[str, str]]:
    """Puts the sealed keys under the current master key: how many, and those that do not open."""
    current, rotated, after = envelope.current_key(), 0, 0
    failed: dict[str, str] = {}
    while True:
        with transaction.atomic():
            stale = ApiKey.objects.exclude(sealed_with="").exclude(sealed_with=current)
            rows = list(stale.filter(pk__gt=after).order_by("pk").select_for_update()[:_BATCH])
            for row in rows:
                try:
                    again = envelope.rewrap(row.as_sealed, row=row.key_hash, provider=SEAL)
                except (envelope.KeyMissing, envelope.NotGenuine) as error:
                    failed[subject(row)] = (
                        f"API key {row.pk} does not open with the master key {row.sealed_with!r} "
                        f"({error.code}); it checks no public tokens until it does."
                    )
                    continue
                row.wrapped_key, row.sealed_with = again.wrapped_key, again.key_id
                row.save(update_fields=("wrapped_key", "sealed_with"))
                rotated += 1
        if not rows:
            return rotated, failed
        after = rows[-1].pk


def _time(at: Any) -> str | None:
    return None if at is None else at.isoformat()
