"""What is done to wait tokens: create, complete, retrieve. A token has exactly one outcome."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction

from executions import audit, callback_secrets, repeats, requests, workspaces
from executions.audit import Actor
from executions.engine import db, failpoints, sql
from executions.engine.flush import notify_payload
from executions.errors import Conflict, Invalid, NotFound
from executions.models import WaitToken
from executions.rules import durations
from executions.rules.durations import Duration
from executions.rules.ids import has_prefix, new_id
from executions.rules.statuses import TokenStatus
from executions.rules.values import encode

KEY_LIFETIME: Final = timedelta(hours=1)
_KIND: Final = "wait token"

_INSERT = """
INSERT INTO executions_waittoken (
  id, workspace_id, status, timeout_at, tags, secret_key, secret_hash, idempotency_key,
  idempotency_expires_at)
VALUES (
  %s, %s, 'WAITING', coalesce(%s, flowmaestro_now() + make_interval(secs => %s)), %s, %s, %s, %s,
  flowmaestro_now() + make_interval(secs => %s))
"""


class TokenClosed(Conflict):
    """The token has its outcome already."""

    code = "token_closed"

    def __init__(self, token: WaitToken) -> None:
        at = token.completed_at or token.timeout_at
        verb = "was completed" if token.status == TokenStatus.COMPLETED else "timed out"
        when = f" at {at:%Y-%m-%d %H:%M:%S} UTC" if at else ""
        super().__init__(
            f"Wait token {token.id} {verb}{when}; a token has one outcome.", field="token"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A token as its creator gets it. `is_cached`: the idempotency key named one that was there."""

    token: WaitToken
    url: str = field(repr=False)
    """Completes the token for whoever posts JSON to it; shown here and nowhere else."""
    is_cached: bool = False

    @property
    def id(self) -> str:
        """The token's id."""
        return self.token.id


# ---- create -------------------------------------------------------------------------------------


def create(
    *,
    timeout: Duration | datetime | None = None,
    tags: Sequence[str] = (),
    idempotency_key: str | None = None,
    idempotency_key_ttl: Duration | None = None,
    owner: int | None = None,
    workspace: str | None = None,
) -> NewToken:
    """A token outside any run; a run waits for it by its id. Without `timeout`: for ever.

    It belongs to the workspace, or to the owner's own. An idempotency key that the workspace used
    within its time, an hour unless said otherwise, gives the token of then, whatever became of it.
    Raises Invalid naming what is wrong.
    """
    seconds, moment = _timeout(timeout)
    tag_list = requests.check_tags(tags)
    lifetime = _lifetime(idempotency_key_ttl)
    home = workspaces.place_of(owner, workspace)

    def make() -> str:
        token_id = new_id("waitpoint")
        secret = callback_secrets.make(token_id)
        failpoints.hit("token.before_create")
        with connection.cursor() as cursor:
            cursor.execute(
                _INSERT,
                [token_id, home, moment, seconds, tag_list, secret.key, secret.digest,
                 idempotency_key, None if idempotency_key is None else lifetime.total_seconds()],
            )  # fmt: skip
        failpoints.hit("token.after_create")
        return token_id

    scope = requests.scope_of(home)
    token_id, is_cached = repeats.once(_KIND, scope, idempotency_key, make, lifetime=lifetime)
    if is_cached and idempotency_key and not WaitToken.objects.filter(pk=token_id).exists():
        # It was pruned before its key.
        repeats.forget(_KIND, scope, idempotency_key)
        token_id, is_cached = repeats.once(_KIND, scope, idempotency_key, make, lifetime=lifetime)
    token = retrieve(token_id)
    url = callback_secrets.address(token.id, token.secret_key or "")
    return NewToken(token=token, url=url, is_cached=is_cached)


def _timeout(value: Duration | datetime | None) -> tuple[float | None, datetime | None]:
    """The length or the moment of a timeout, whichever it is."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise Invalid("timeout needs a moment with a time zone.", field="timeout")
        return None, value
    return None if value is None else durations.seconds(value, field="timeout"), None


def _lifetime(ttl: Duration | None) -> timedelta:
    if ttl is None:
        return KEY_LIFETIME
    seconds = durations.seconds(ttl, field="idempotency_key_ttl")
    if seconds == 0:
        raise Invalid("idempotency_key_ttl is longer than nothing.", field="idempotency_key_ttl")
    return timedelta(seconds=seconds)


# ---- look ---------------------------------------------------------------------------------------


def retrieve(token_id: str) -> WaitToken:
    """The token. Raises NotFound."""
    if has_prefix(token_id, "waitpoint"):
        token = WaitToken.objects.filter(pk=token_id).first()
        if token is not None:
            return token
    raise _unknown(token_id)


def count_open_of_other_keys(key: str) -> int:
    """How many open tokens have an address whose secret comes from another master key."""
    return WaitToken.objects.filter(status=TokenStatus.WAITING).exclude(secret_key=key).count()


def _unknown(token_id: str) -> NotFound:
    return NotFound(f"There is no wait token {token_id!r}.", field="token")


# ---- complete -----------------------------------------------------------------------------------


def complete(
    token_id: str, output: Any = None, *, reason: str | None = None, actor: Actor | None = None
) -> WaitToken:
    """Completes a token: the first one wins, and the run that waits goes on.

    Raises NotFound, TokenClosed when it has an outcome already, Invalid for output that is not
    JSON; then nothing is written.
    """
    text = encode(output, field="output", limit=settings.FLOWMAESTRO.PAYLOAD_LIMIT)
    if not has_prefix(token_id, "waitpoint"):
        raise _unknown(token_id)
    reason = audit.check_reason(reason)
    with transaction.atomic() if actor is not None else contextlib.nullcontext():
        failpoints.hit("token.before_commit")
        rows = db.execute(sql.COMPLETE_TOKEN, (token_id, token_id, text, token_id))
        if rows:
            audit.record(actor, "token.complete", token_id, reason=reason)
    failpoints.hit("token.after_commit")
    if not rows:
        raise TokenClosed(retrieve(token_id))
    run_id, step_key, timeout_at, tags, created_at, completed_at, _ = rows[0]
    if run_id is None:
        wake_late_waiters(token_id)
    return WaitToken(
        id=token_id,
        run_id=run_id,
        step_key=step_key,
        status=TokenStatus.COMPLETED,
        timeout_at=timeout_at,
        output=output,
        tags=tags,
        created_at=created_at,
        completed_at=completed_at,
    )


def wake_late_waiters(token_id: str | None = None) -> None:
    """Wakes runs that joined a token, or any, just as it got its outcome."""
    with transaction.atomic():
        late = sorted({row[0] for row in db.execute(sql.TAKE_LATE_WAITERS, (token_id, token_id))})
        if late:
            db.execute(sql.WAKE, (late,))
            db.execute(sql.NOTIFY, (notify_payload(late),))
        failpoints.hit("late_waiters.before_commit")
    failpoints.hit("late_waiters.after_commit")
