"""What is done to connections: store, change, list, revoke, delete; and their use by nodes.

Secrets go in and never come out, but for the body of a node, where they are kept hidden.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from django.db import IntegrityError, close_old_connections, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from executions import audit, masking, workspaces
from executions.audit import Actor
from executions.connections import envelope
from executions.connections.envelope import Envelope
from executions.connections.fields import PREFIX, check_fields, check_name, check_secrets
from executions.errors import Conflict, NotFound
from executions.models import Connection
from executions.rules.ids import has_prefix, new_id
from executions.rules.values import plain_text

Json = Any
T = TypeVar("T")

_BATCH = 100
# Noting each use would write a row per call.
_USE_NOTED_EVERY = timedelta(minutes=1)
_also_sealed: dict[str, Callable[[], tuple[int, dict[str, str]]]] = {}


class Anyone:
    """Stands for a workspace where an operator looks at everybody's."""


ANYONE = Anyone()
Where = str | None | Anyone
"""The workspace whose connections are meant, beside the shared ones; None: only those."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A connection opened for a node."""

    id: str
    name: str
    provider: str
    fields: Mapping[str, Json]
    secrets: Mapping[str, str] = field(repr=False)

    def get(self, *names: str, default: str = "") -> str:
        """The first of these fields that is set, secret or not, as text."""
        for name in names:
            value = self.secrets.get(name) or self.fields.get(name)
            if value not in (None, ""):
                return str(value)
        return default


# ---- store and change ---------------------------------------------------------------------------


def create(
    name: str,
    provider: str,
    *,
    fields: Mapping[str, Json] | None = None,
    secrets: Mapping[str, str] | None = None,
    owner: int | None = None,
    workspace: str | None = None,
    reason: str | None = None,
    actor: Actor | None = None,
) -> Connection:
    """Stores a connection in a workspace, or in the owner's own; without either it is everybody's.

    Raises Invalid or Conflict.
    """
    reason = audit.check_reason(reason)
    workspace = workspaces.place_of(owner, workspace)
    provider = plain_text(provider, field="provider", limit=100)
    kept = check_secrets(secrets or {})
    row = Connection(
        id=new_id(PREFIX),
        name=check_name(name),
        provider=provider,
        owner_id=owner,
        workspace_id=workspace,
        fields=check_fields(fields or {}, kept),
    )
    _put(row, kept)
    with transaction.atomic():
        with _names_once(row):
            row.save(force_insert=True)
        row.refresh_from_db()
        _note(actor, "create", row, reason, before={})
    return row


def update(
    reference: str,
    *,
    workspace: Where = ANYONE,
    name: str | None = None,
    fields: Mapping[str, Json] | None = None,
    secrets: Mapping[str, str | None] | None = None,
    replace_secrets: bool = False,
    reason: str | None = None,
    actor: Actor | None = None,
) -> Connection:
    """Changes what is given. `fields` replaces them all.

    `secrets` changes single ones, None removes one; with `replace_secrets` nothing else is kept.
    """
    reason = audit.check_reason(reason)
    with transaction.atomic():
        row = _locked(reference, workspace)
        if row.revoked_at is not None:
            raise Conflict(f"Connection {row.name!r} is revoked; store a new one.")
        before = public(row)
        if name is not None:
            row.name = check_name(name)
        kept: dict[str, str] = {} if replace_secrets else _opened(row)
        for key, value in (secrets or {}).items():
            if value is None:
                kept.pop(key, None)
            else:
                kept[key] = value
        kept = check_secrets(kept)
        row.fields = check_fields(row.fields if fields is None else fields, kept)
        if secrets is not None or replace_secrets:
            _put(row, kept)
        row.updated_at = Now()
        with _names_once(row):
            row.save()
        row.refresh_from_db()
        _note(actor, "update", row, reason, before=before, changed=sorted(secrets or {}))
    return row


def revoke(
    reference: str,
    *,
    workspace: Where = ANYONE,
    reason: str | None = None,
    actor: Actor | None = None,
) -> Connection:
    """Erases the secrets and keeps the row, so that nodes say that it was revoked."""
    reason = audit.check_reason(reason)
    with transaction.atomic():
        row = _locked(reference, workspace)
        if row.revoked_at is None:
            before = public(row)
            row.sealed, row.wrapped_key, row.key_id, row.secret_names = b"", b"", "", []
            row.revoked_at = row.updated_at = Now()
            row.save()
            row.refresh_from_db()
            _note(actor, "revoke", row, reason, before=before)
    return row


def delete(
    reference: str,
    *,
    workspace: Where = ANYONE,
    reason: str | None = None,
    actor: Actor | None = None,
) -> None:
    """Removes the row and its secrets."""
    reason = audit.check_reason(reason)
    with transaction.atomic():
        row = _locked(reference, workspace)
        audit.record(actor, "connection.delete", row.id, reason=reason, before=public(row))
        row.delete()


def also_sealed(name: str, rewrap: Callable[[], tuple[int, dict[str, str]]]) -> None:
    """Adds rows of other tables to what `rotate` rotates, for apps that seal as this one does.

    `rewrap` wraps their data keys with the current master key, and gives how many it changed and
    those that do not open: {id: sentence}.
    """
    _also_sealed[name] = rewrap


def rotate(*, reason: str | None = None, actor: Actor | None = None) -> dict[str, Json]:
    """Wraps every data key with the current master key, a few rows at a time.

    Gives the key's id, how many rows changed, and the rows that do not open: {id: sentence}.
    """
    reason = audit.check_reason(reason)
    rotated = 0
    failed: dict[str, str] = {}
    for rewrap in (_rewrap, *_also_sealed.values()):
        count, lost = rewrap()
        rotated += count
        failed |= lost
    outcome = {"key": envelope.current_key(), "rotated": rotated, "failed": failed}
    audit.record(actor, "connection.rotate", "connections", reason=reason, after=outcome)
    return outcome


def _rewrap() -> tuple[int, dict[str, str]]:
    key, rotated, after = envelope.current_key(), 0, ""
    failed: dict[str, str] = {}
    while True:
        with transaction.atomic():
            stale = Connection.objects.exclude(key_id="").exclude(key_id=key)
            rows = list(stale.filter(id__gt=after).order_by("id").select_for_update()[:_BATCH])
            for row in rows:
                try:
                    again = envelope.rewrap(_envelope(row), row=row.id, provider=row.provider)
                except (envelope.KeyMissing, envelope.NotGenuine) as error:
                    failed[row.id] = error.message
                    continue
                row.wrapped_key, row.key_id = again.wrapped_key, again.key_id
                row.save(update_fields=("wrapped_key", "key_id"))
                rotated += 1
        if not rows:
            return rotated, failed
        after = rows[-1].id


# ---- look ---------------------------------------------------------------------------------------


def retrieve(reference: str, *, workspace: Where) -> Connection:
    """The connection of an id or name that the workspace may use. Raises NotFound."""
    return _one(_visible(workspace), reference, workspace)


def list_connections(
    *, workspace: Where, provider: str | None = None, include_revoked: bool = True
) -> list[Connection]:
    """What the workspace may use, by name, own ones before shared ones."""
    rows = _visible(workspace).order_by(F("workspace").asc(nulls_last=True), "name")
    if provider is not None:
        rows = rows.filter(provider=provider)
    return list(rows if include_revoked else rows.filter(revoked_at=None))


def public(row: Connection) -> dict[str, Json]:
    """What may be shown of a connection."""
    return {
        "id": row.id,
        "name": row.name,
        "provider": row.provider,
        "owner": row.owner_id,
        "workspace": row.workspace_id,
        "fields": row.fields,
        "secrets": list(row.secret_names),
        "keyId": row.key_id,
        "createdAt": _time(row.created_at),
        "updatedAt": _time(row.updated_at),
        "lastUsedAt": _time(row.last_used_at),
        "revokedAt": _time(row.revoked_at),
    }


# ---- use ----------------------------------------------------------------------------------------


def resolve(reference: str, *, workspace: str | None, provider: str | None = None) -> Credentials:
    """The connection with its secrets, for the body of a node. Raises NotFound or Conflict.

    A connection of another workspace, or of another provider, is as absent as one that never was.
    """
    if not masking.is_hiding():
        masking.hide()
    rows = _visible(workspace)
    if provider is not None:
        rows = rows.filter(provider=provider)
    return _open(_one(rows, reference, workspace))


def resolve_only(provider: str, *, workspace: str | None) -> Credentials | None:
    """The one connection that the workspace has for a provider, else the one shared; None without.

    Raises Conflict when there are several to choose from.
    """
    rows = list_connections(workspace=workspace, provider=provider, include_revoked=False)
    own = [row for row in rows if row.workspace_id is not None] or rows
    if len(own) > 1:
        names = ", ".join(repr(row.name) for row in own[:5])
        raise _SeveralConnections(
            f"There are several connections for {provider!r} ({names}); name one in `connection`."
        )
    if not own:
        return None
    return resolve(own[0].id, workspace=workspace, provider=provider)


class _SeveralConnections(Conflict):
    non_retryable = True


async def in_thread(function: Callable[..., T], *args: Any, **options: Any) -> T:
    """Calls a function that asks the database from a coroutine."""

    def call() -> T:
        close_old_connections()
        try:
            return function(*args, **options)
        finally:
            close_old_connections()

    return await asyncio.to_thread(call)


# ---- parts --------------------------------------------------------------------------------------


def _visible(workspace: Where) -> QuerySet[Connection]:
    rows = Connection.objects.select_related("workspace")
    if isinstance(workspace, Anyone):
        return rows
    shared = Q(workspace=None)
    return rows.filter(shared if workspace is None else shared | Q(workspace=workspace))


def _one(rows: QuerySet[Connection], reference: str, workspace: Where) -> Connection:
    by = {"id": reference} if has_prefix(reference, PREFIX) else {"name": reference}
    found = list(rows.filter(**by).order_by(F("workspace").asc(nulls_last=True))[:2])
    if not found:
        raise _NoConnection(
            f"There is no connection {reference!r}; add it with `manage.py add_connection`.",
            field="connection",
        )
    if len(found) > 1 and isinstance(workspace, Anyone):
        raise Conflict(f"Several connections are called {reference!r}; name one by its id.")
    return found[0]


class _NoConnection(NotFound):
    non_retryable = True


class _Revoked(Conflict):
    code = "connection_revoked"
    non_retryable = True


def _open(row: Connection) -> Credentials:
    if row.revoked_at is not None:
        raise _Revoked(f"Connection {row.name!r} was revoked at {row.revoked_at:%Y-%m-%d %H:%M}.")
    secrets = _opened(row)
    masking.hide(*secrets.values())
    Connection.objects.filter(pk=row.pk).filter(
        Q(last_used_at=None) | Q(last_used_at__lt=Now() - _USE_NOTED_EVERY)
    ).update(last_used_at=Now())
    return Credentials(
        id=row.id, name=row.name, provider=row.provider, fields=row.fields, secrets=secrets
    )


def _locked(reference: str, workspace: Where) -> Connection:
    row = _one(_visible(workspace), reference, workspace)
    # A shared connection is the operators' to change, not everybody's.
    if not isinstance(workspace, Anyone) and row.workspace_id != workspace:
        raise Conflict(f"Connection {row.name!r} is shared; an operator may change it.")
    return Connection.objects.select_for_update().get(pk=row.pk)


def _envelope(row: Connection) -> Envelope:
    return Envelope(sealed=bytes(row.sealed), wrapped_key=bytes(row.wrapped_key), key_id=row.key_id)


def _opened(row: Connection) -> dict[str, str]:
    return envelope.unseal(_envelope(row), row=row.id, provider=row.provider)


def _put(row: Connection, secrets: dict[str, str]) -> None:
    sealed = envelope.seal(secrets, row=row.id, provider=row.provider)
    row.sealed, row.wrapped_key, row.key_id = sealed.sealed, sealed.wrapped_key, sealed.key_id
    row.secret_names = sorted(secrets)


@contextmanager
def _names_once(row: Connection) -> Iterator[None]:
    """Turns the refusal of a second connection of a name into a sentence."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        if "connection_name_once" not in str(error):
            raise
        raise Conflict(
            f"There is a connection {row.name!r} already; choose another name.", field="name"
        ) from error


def _note(
    actor: Actor | None,
    what: str,
    row: Connection,
    reason: str | None,
    *,
    before: dict[str, Json],
    changed: list[str] | None = None,
) -> None:
    after = public(row)
    if changed:
        after["secretsChanged"] = changed
    audit.record(actor, f"connection.{what}", row.id, reason=reason, before=before, after=after)


def _time(at: Any) -> str | None:
    return None if at is None else at.isoformat()
