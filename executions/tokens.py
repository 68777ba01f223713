"""What is done to wait tokens: create, complete, retrieve. A token has exactly one outcome."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from executions import audit, requests
from executions.audit import Actor
from executions.engine import db, failpoints, sql
from executions.engine.flush import notify_payload
from executions.errors import Conflict, NotFound
from executions.models import WaitToken
from executions.rules import durations
from executions.rules.durations import Duration
from executions.rules.ids import has_prefix, new_id
from executions.rules.statuses import TokenStatus
from executions.rules.values import Json, encode


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


def create(*, timeout: Duration | None = None, tags: Sequence[str] = ()) -> WaitToken:
    """A token outside any run; a run waits for it by its id. Without `timeout`: for ever."""
    seconds = None if timeout is None else durations.seconds(timeout, field="timeout")
    tag_list = requests.check_tags(tags)
    token_id = new_id("waitpoint")
    failpoints.hit("token.before_create")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO executions_waittoken (id, status, timeout_at, tags) "
            "VALUES (%s, 'WAITING', flowmaestro_now() + make_interval(secs => %s), %s)",
            [token_id, seconds, tag_list],
        )
    failpoints.hit("token.after_create")
    return retrieve(token_id)


def retrieve(token_id: str) -> WaitToken:
    """The token. Raises NotFound."""
    if has_prefix(token_id, "waitpoint"):
        token = WaitToken.objects.filter(pk=token_id).first()
        if token is not None:
            return token
    raise NotFound(f"There is no wait token {token_id!r}.", field="token")


def complete(
    token_id: str, output: Any = None, *, reason: str | None = None, actor: Actor | None = None
) -> WaitToken:
    """Completes a token: the first one wins, and the run that waits goes on.

    Raises NotFound, TokenClosed when it has an outcome already, Invalid for output that is not
    JSON; then nothing is written.
    """
    text = encode(output, field="output", limit=settings.FLOWMAESTRO.PAYLOAD_LIMIT)
    if not has_prefix(token_id, "waitpoint"):
        raise NotFound(f"There is no wait token {token_id!r}.", field="token")
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


def as_value(token: WaitToken) -> dict[str, Json]:
    """The token as clients see it."""
    return {
        "id": token.id, "status": token.status, "tags": token.tags, "output": token.output,
        "createdAt": token.created_at.isoformat(),
        "timeoutAt": token.timeout_at.isoformat() if token.timeout_at else None,
        "completedAt": token.completed_at.isoformat() if token.completed_at else None,
    }  # fmt: skip
