"""Replays and forks: a new run of an old one, with its journal up to a step, edited where asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction

from executions import audit, requests, triggering
from executions.audit import Actor
from executions.errors import Invalid, NotFound
from executions.models import Run, Step
from executions.moves import retrieve
from executions.rules.ids import new_id
from executions.rules.statuses import StepStatus
from executions.rules.values import Json, encode
from executions.triggering import Handle

UNCHANGED: Final = object()
_ENDED = (StepStatus.COMPLETED, StepStatus.FAILED)
# What a step of these kinds holds is made by the engine and read by it; a person cannot know it.
_NOT_EDITABLE = ("token", "trigger", "patch", "cancel", "hook")


def replay(
    run_id: str, *, payload: Any = UNCHANGED, from_step: str | None = None,
    outputs: Mapping[str, Json] | None = None, reason: str | None = None,
    actor: Actor | None = None,
) -> Handle:  # fmt: skip
    """A new run of the same task: from the start, or as a fork with a part of the journal.

    `from_step`: that step and all that ended after it are done anew. `outputs`: these steps are
    taken as completed with the given outputs; without `from_step`, all that ended after the last
    of them is done anew. Raises NotFound for an unknown run or step, Invalid for the rest.
    """
    run = retrieve(run_id)
    reason = audit.check_reason(reason)
    edited = {key: _text_of(key, value) for key, value in (outputs or {}).items()}
    copied = _steps_to_copy(run, from_step, edited) if from_step or edited else []
    given = run.data.payload if payload is UNCHANGED else payload
    new_run, document = requests.document(
        run.task, given, queue=run.queue, tags=run.tags, priority=run.priority,
        concurrency_key=run.concurrency_key, max_attempts=run.max_attempts,
        max_duration=run.max_duration, metadata=run.data.first_metadata if copied else None,
        owner=run.owner_id, definition=run.definition_id, forked_from=run.id,
    )  # fmt: skip
    with transaction.atomic():
        triggering.insert([new_run], [document])
        if copied:
            _copy(run, new_run, copied, edited)
        after: dict[str, Json] = {"run": new_run}
        if from_step or edited:
            after |= {"from_step": from_step, "edited": sorted(edited)}
        before: dict[str, Json] = {"status": run.status}
        audit.record(actor, "run.replay", run.id, reason=reason, before=before, after=after)
    return Handle(new_run)


def _text_of(key: str, value: Json) -> str:
    return encode(value, field=f"outputs.{key}", limit=settings.FLOWMAESTRO.OUTPUT_LIMIT)


def _steps_to_copy(run: Run, from_step: str | None, edited: Mapping[str, str]) -> list[str]:
    """The keys of the steps that the fork takes over, in the order in which they ended."""
    steps = {step.key: step for step in Step.objects.filter(run_id=run.id).order_by("seq")}
    for key in (*edited, *([from_step] if from_step else ())):
        if key not in steps:
            raise NotFound(f"Run {run.id} has no step {key!r}.", field="step")
    for key in edited:
        if steps[key].kind in _NOT_EDITABLE:
            raise Invalid(
                f"Step {key!r} is a {steps[key].kind}; its output cannot be edited.",
                field=f"outputs.{key}",
            )
    ended = [
        step
        for step in steps.values()
        if (step.status in _ENDED or step.key in edited)
        and step.kind != "cancel"
        # Failures of earlier attempts are no part of what the last one saw.
        and (step.status != StepStatus.FAILED or step.run_attempt == run.attempt)
    ]
    border = _border(steps, from_step, edited)
    return [
        step.key
        for step in ended
        if step.key in edited or (step.seq is not None and step.seq < border)
    ]


def _border(steps: Mapping[str, Step], from_step: str | None, edited: Mapping[str, str]) -> float:
    """The place in the order of endings from which on nothing is taken over."""
    if from_step is not None:
        place = steps[from_step].seq
        return float("inf") if place is None else place
    return max((steps[key].seq or float("inf") for key in edited), default=0.0)


_COPY = """
INSERT INTO executions_step (run_id, key, kind, status, seq, attempt, run_attempt, input, output,
  error, started_at, finished_at)
SELECT %s, s.key, s.kind, CASE WHEN x.key IS NULL THEN s.status ELSE 'COMPLETED' END,
       row_number() OVER (ORDER BY s.seq NULLS LAST, s.key), s.attempt,
       CASE WHEN s.run_attempt = %s THEN 1 ELSE 0 END, s.input,
       CASE WHEN x.key IS NULL THEN s.output ELSE x.output::json END,
       CASE WHEN x.key IS NULL THEN s.error END,
       s.started_at, coalesce(s.finished_at, flowmaestro_now())
FROM executions_step s LEFT JOIN json_each_text(%s::json) AS x(key, output) ON x.key = s.key
WHERE s.run_id = %s AND s.key = ANY(%s)
"""
# A token whose outcome the fork has seen keeps it; another is open again, for as long as before.
_COPY_TOKEN = """
INSERT INTO executions_waittoken (
  id, run_id, step_key, status, timeout_at, output, tags, completed_at)
SELECT %(id)s, %(run)s, %(key)s, CASE WHEN x.seen THEN t.status ELSE 'WAITING' END,
       CASE WHEN x.seen THEN t.timeout_at
         ELSE flowmaestro_now() + (t.timeout_at - t.created_at) END,
       CASE WHEN x.seen THEN t.output END, t.tags, CASE WHEN x.seen THEN t.completed_at END
FROM executions_waittoken t CROSS JOIN LATERAL (
  SELECT EXISTS (SELECT FROM executions_step s WHERE s.run_id = %(run)s AND s.kind = 'wait'
                 AND s.input ->> 'token' = t.id) AS seen) x
WHERE t.id = %(old)s
"""
_NAME_TOKEN = "UPDATE executions_step SET output = %s::json WHERE run_id = %s AND key = %s"


def _copy(run: Run, new_run: str, keys: list[str], edited: Mapping[str, str]) -> None:
    """Copies steps; tokens of the old run get counterparts, since each belongs to one run."""
    with connection.cursor() as cursor:
        texts = encode(dict(edited), field="outputs")
        cursor.execute(_COPY, [new_run, run.attempt, texts, run.id, keys])
        tokens = Step.objects.filter(run_id=new_run, kind="token", status=StepStatus.COMPLETED)
        for key, old in tokens.values_list("key", "output"):
            token = new_id("waitpoint")
            cursor.execute(_COPY_TOKEN, {"id": token, "run": new_run, "key": key, "old": old["id"]})
            cursor.execute(_NAME_TOKEN, [encode({"id": token}, field=key), new_run, key])
        # With this the journal is loaded when the run is claimed.
        cursor.execute("UPDATE executions_run SET flush_no = 1 WHERE id = %s", [new_run])
