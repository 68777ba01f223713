"""Idempotency keys of runs, for sets of them: claim many at once, free one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection, transaction

from executions import audit, requests
from executions.audit import Actor
from executions.errors import NotFound
from executions.models import IdempotencyKey
from executions.rules.statuses import FREES_IDEMPOTENCY_KEY
from executions.rules.values import plain_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A key that a new run asks for, and for how many seconds."""

    task: str
    key: str
    run_id: str
    seconds: float

    @property
    def name(self) -> tuple[str, str]:
        """What a key is known by within its scope."""
        return self.task, self.key


# In one order for all, so that two batches with the same keys never wait for each other.
_CLAIM = """
INSERT INTO executions_idempotencykey AS k (task, scope, key, run_id, expires_at)
SELECT x.task, %s, x.key, x.run_id, flowmaestro_now() + make_interval(secs => x.seconds)
FROM unnest(%s::text[], %s::text[], %s::text[], %s::float8[]) AS x(task, key, run_id, seconds)
ORDER BY x.task COLLATE "C", x.key COLLATE "C"
ON CONFLICT (task, scope, key) DO UPDATE
  SET run_id = excluded.run_id, expires_at = excluded.expires_at
  WHERE k.expires_at <= flowmaestro_now()
     OR EXISTS (SELECT FROM executions_run r WHERE r.id = k.run_id AND r.status = ANY(%s))
RETURNING task, key
"""
_HOLDERS = """
SELECT k.task, k.key, k.run_id
FROM unnest(%s::text[], %s::text[]) AS x(task, key)
JOIN executions_idempotencykey k ON k.task = x.task AND k.key = x.key AND k.scope = %s
"""


def claim(workspace: str | None, wanted: Sequence[Wanted]) -> dict[tuple[str, str], str]:
    """Claims keys for runs that are about to be written; the run that holds each, by task and key.

    That is the new run, or one that was there already. No key may be wanted twice. Whoever has
    one of the keys in an open transaction is waited for; so this runs inside one.
    """
    if not wanted:
        return {}
    tasks, keys = [one.task for one in wanted], [one.key for one in wanted]
    runs, seconds = [one.run_id for one in wanted], [one.seconds for one in wanted]
    scope = requests.scope_of(workspace)
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [scope, tasks, keys, runs, seconds, list(FREES_IDEMPOTENCY_KEY)])
        if len(cursor.fetchall()) == len(wanted):
            return {one.name: one.run_id for one in wanted}
        # In a new statement, whose snapshot knows the commits that the claim waited for.
        cursor.execute(_HOLDERS, [tasks, keys, scope])
        return {(task, key): run for task, key, run in cursor.fetchall()}


def reset(task: str, key: str, *, workspace: str | None, actor: Actor | None = None) -> None:
    """Frees a key, so that the next trigger with it starts a new run. Raises NotFound."""
    plain_text(task, field="taskIdentifier", limit=128)
    requests.check_key(key)
    with transaction.atomic():
        found = IdempotencyKey.objects.filter(
            task=task, scope=requests.scope_of(workspace), key=key
        )
        row = found.first()
        if row is None or not found.delete()[0]:
            raise NotFound(
                f'No run of task "{task}" holds that idempotency key; it may have expired.',
                field="idempotency_key",
            )
        audit.record(actor, "key.reset", row.run_id, before={"task": task, "key": key})
