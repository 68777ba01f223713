"""Adding tags to a run that is there already."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection, transaction

from executions import audit, moves, requests
from executions.audit import Actor
from executions.engine import sql
from executions.errors import Invalid
from executions.models import Run
from executions.rules.values import encode

LIMIT = 10


class TooManyTags(Invalid):
    """The run would have more tags than a run can have."""

    code = "too_many_tags"
    http_status = 422


def add(run_id: str, tags: Sequence[str], *, actor: Actor | None = None) -> list[str]:
    """Adds those tags that the run does not have, and gives all it has then.

    A run that ended takes them too, without an event: its log is complete. Raises NotFound,
    Invalid, and TooManyTags over ten.
    """
    for tag in tags:
        requests.check_tags([tag])
    with transaction.atomic(), connection.cursor() as cursor:
        moves.lock(cursor, [moves.retrieve(run_id).id])
        run = moves.retrieve(run_id)
        known: list[str] = run.tags
        after = list(dict.fromkeys([*known, *tags]))
        if len(after) > LIMIT:
            raise TooManyTags(
                f"A run has at most {LIMIT} tags; run {run.id} has {len(known)} and would have "
                f"{len(after)}.",
                field="tags",
            )
        if after != known:
            _write(run, after)
            audit.record(actor, "run.tag", run.id, before={"tags": known}, after={"tags": after})
    return after


_ADD = sql.MOVE.format(changes="tags = x.tags").replace(
    "WHERE r.id", "FROM (SELECT %s::text[] AS tags) x WHERE r.id"
)


def _write(run: Run, tags: list[str]) -> None:
    if run.is_final:
        Run.objects.filter(pk=run.pk).update(tags=tags)
        return
    with connection.cursor() as cursor:
        cursor.execute(_ADD, [tags, run.id, "run.tagged", encode({"tags": tags}, field="tags")])
