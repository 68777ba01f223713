"""The audit log: who changed what, and why. Written in the transaction of the change itself."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection

from executions.models import AuditEntry
from executions.rules.values import Json, plain_text

REASON_LIMIT = 2000


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something: the name to show and, for a user of this site, the primary key."""

    name: str
    user_id: int | None = None

    @classmethod
    def of(cls, user: object) -> Actor:
        """A signed-in user."""
        return cls(str(user), getattr(user, "pk", None))


def check_reason(reason: str | None) -> str | None:
    """The reason as it is stored. Raises Invalid when it is too long or not text."""
    return None if reason is None else plain_text(reason, field="reason", limit=REASON_LIMIT)


def record(
    actor: Actor | None,
    action: str,
    subject: str,
    *,
    reason: str | None = None,
    before: dict[str, Json] | None = None,
    after: dict[str, Json] | None = None,
) -> None:
    """Appends an entry; nothing without an actor: what code does by itself is in the run's log."""
    if actor is not None:
        AuditEntry.objects.create(
            actor=actor.name,
            user_id=actor.user_id,
            action=action,
            subject=subject,
            reason=reason or "",
            before=before or {},
            after=after or {},
        )


def broken_links() -> list[int]:
    """Numbers of entries that were changed, or whose predecessor was changed or is missing."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT e.number FROM (SELECT a AS row, a.number, a.hash, a.previous_hash, "
            "lag(a.hash, 1, '') OVER w AS expected, lag(a.number, 1, 0::bigint) OVER w AS before "
            "FROM executions_auditentry a WINDOW w AS (ORDER BY a.number)) e "
            "WHERE e.hash <> executions_audit_hash(e.row) OR e.previous_hash <> e.expected "
            "OR e.number <> e.before + 1 ORDER BY e.number"
        )
        return [row[0] for row in cursor.fetchall()]
