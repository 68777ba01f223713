"""Replays and forks: a new run of an old one, with its journal up to a step, edited where asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction

from executions import audit, callback_secrets, files, idempotency, requests, triggering
from executions.audit import Actor
from executions.engine.results import ChildResult, TokenResult
from executions.errors import Invalid, NotFound
from executions.idempotency import Wanted
from executions.models import Run, Step
from executions.moves import retrieve
from executions.registry import get_task
from executions.rules.ids import new_id
from executions.rules.statuses import StepStatus
from executions.rules.values import Json, decode, encode
from executions.triggering import Handle

UNCHANGED: Final = object()
_ENDED = (StepStatus.COMPLETED, StepStatus.FAILED)
# What a step of these kinds holds is made by the engine and read by it; a person cannot know it.
_NOT_EDITABLE = ("token", "trigger", "patch", "cancel", "hook")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a replay makes of each step of the old run, by key.

    `taken_over` and `edited` are in the order in which the steps ended; `redone` are those that
    the new run does itself, if its code asks for them again. `ahead` are the edited ones that lie
    behind what is redone.
    """

    taken_over: Sequence[str] = ()
    edited: Sequence[str] = ()
    redone: Sequence[str] = ()
    ahead: Sequence[str] = ()

    @property
    def copied(self) -> list[str]:
        """The steps that the new run begins with."""
        return [*self.taken_over, *self.edited]


def replay(
    run_id: str, *, payload: Any = UNCHANGED, from_step: str | None = None,
    outputs: Mapping[str, Json] | None = None, options: Mapping[str, Any] | None = None,
    reason: str | None = None, actor: Actor | None = None,
) -> Handle:  # fmt: skip
    """A new run of the same task: from the start, or as a fork with a part of the journal.

    `from_step`: that step and all that ended after it are done anew. `outputs`: these steps are
    taken as completed with the given outputs; without `from_step`, all that ended after the last
    of them is done anew. `options`, those of a trigger but for `debounce`, hold instead of the old
    run's. Raises NotFound for an unknown run or step, Invalid for the rest.
    """
    reason = audit.check_reason(reason)
    changed = dict(options or {})
    key = changed.pop("idempotency_key", None)
    lifetime = requests.key_lifetime(changed.pop("idempotency_key_ttl", None))
    edited = {key: _text_of(key, value) for key, value in (outputs or {}).items()}
    with transaction.atomic():
        run = _held(run_id)
        plan = plan_of(_steps(run), run.attempt, from_step, outputs or {})
        copied = bool(plan.copied)
        given = run.data.payload if payload is UNCHANGED else payload
        # A later attempt or generation begins with metadata that the run itself has changed.
        is_first = run.attempt == 1 and run.generation == 0
        kept: dict[str, Any] = {
            "queue": run.queue, "tags": run.tags, "priority": run.priority,
            "concurrency_key": run.concurrency_key, "max_attempts": run.max_attempts,
            "max_duration": run.max_duration,
            "metadata": run.data.first_metadata if copied or is_first else None,
        }  # fmt: skip
        new_run, document = requests.document(
            run.task, given, **(kept | changed), owner=run.owner_id, workspace=run.workspace_id,
            definition=run.definition_id, forked_from=run.id,
        )  # fmt: skip
        if key is not None:
            wanted = Wanted(
                task=run.task, key=requests.check_key(key), run_id=new_run,
                seconds=lifetime.total_seconds(),
            )  # fmt: skip
            holder = idempotency.claim(run.workspace_id, [wanted])[wanted.name]
            if holder != new_run:
                return Handle(holder, is_cached=True)
        triggering.insert([new_run], [document])
        if copied:
            _copy(run, new_run, plan, edited)
            files.copy(run.id, new_run)
        after: dict[str, Json] = {"run": new_run}
        if from_step or edited:
            after |= {"from_step": from_step, "edited": sorted(edited)}
        before: dict[str, Json] = {"status": run.status}
        audit.record(actor, "run.replay", run.id, reason=reason, before=before, after=after)
    return Handle(new_run)


def preview(
    run_id: str, *, payload: Any = UNCHANGED, from_step: str | None = None,
    outputs: Mapping[str, Json] | None = None,
) -> Plan:  # fmt: skip
    """What `replay` with the same arguments would do; raises what it would raise."""
    run = retrieve(run_id)
    given = run.data.payload if payload is UNCHANGED else payload
    text = encode(given, field="payload", limit=settings.FLOWMAESTRO.PAYLOAD_LIMIT)
    get_task(run.task).parse(decode(text))
    for key, value in (outputs or {}).items():
        _text_of(key, value)
    return plan_of(_steps(run), run.attempt, from_step, outputs or {})


def _held(run_id: str) -> Run:
    """The run, kept from moving while its journal is copied."""
    run = retrieve(run_id)
    Run.objects.select_for_update(no_key=True).values_list("id").get(pk=run.id)
    return retrieve(run.id)


def _steps(run: Run) -> list[Step]:
    return list(Step.objects.filter(run_id=run.id).defer("output").order_by("seq", "key"))


def _text_of(key: str, value: Json) -> str:
    return encode(value, field=f"outputs.{key}", limit=settings.FLOWMAESTRO.OUTPUT_LIMIT)


# ---- which steps --------------------------------------------------------------------------------


def plan_of(
    steps: Iterable[Step], attempt: int, from_step: str | None, outputs: Mapping[str, Json]
) -> Plan:
    """Which steps a replay of a run in that attempt takes over; `steps` in the order they ended.

    Raises NotFound for a step that is not there, Invalid for an output that a step cannot have.
    """
    by_key = {step.key: step for step in steps}
    for key in (*outputs, *([from_step] if from_step else ())):
        if key not in by_key:
            known = ", ".join(f'"{name}"' for name in list(by_key)[:10]) or "none"
            raise NotFound(f'The run has no step "{key}"; it has {known}.', field="step")
    cancel = _cancelled_at(by_key)
    for key, value in outputs.items():
        _check_edit(by_key[key], value, cancel)
    if not outputs and from_step is None:
        return Plan(redone=[key for key, step in by_key.items() if step.kind != "cancel"])
    # The clean-up after a cancellation is no part of a run that is not cancelled.
    border = min(_border(by_key, from_step, outputs), cancel)
    taken = [
        key
        for key, step in by_key.items()
        if key not in outputs
        and step.status in _ENDED
        and step.seq is not None
        and step.seq < border
        # Failures of earlier attempts are no part of what the last one saw.
        and (step.status != StepStatus.FAILED or step.run_attempt == attempt)
    ]
    return Plan(
        taken_over=taken,
        edited=[key for key in by_key if key in outputs],
        ahead=[key for key in by_key if key in outputs and _is_ahead(by_key, key, from_step)],
        redone=[
            key
            for key, step in by_key.items()
            if key not in outputs and key not in set(taken) and (step.seq or 0) < cancel
        ],
    )


def _cancelled_at(steps: Mapping[str, Step]) -> float:
    """The place of the run's cancellation in the order of endings."""
    places = [step.seq for step in steps.values() if step.kind == "cancel" and step.seq is not None]
    return min(places, default=float("inf"))


def _border(steps: Mapping[str, Step], from_step: str | None, outputs: Mapping[str, Json]) -> float:
    """The place in the order of endings from which on nothing is taken over."""
    if from_step is not None:
        place = steps[from_step].seq
        return float("inf") if place is None else place
    return max((steps[key].seq or float("inf") for key in outputs), default=0.0)


def _is_ahead(steps: Mapping[str, Step], key: str, from_step: str | None) -> bool:
    """Whether the code comes to an edited step only after steps that it does anew."""
    own, first = steps[key].seq, None if from_step is None else steps[from_step].seq
    return own is None or (first is not None and own > first)


def _check_edit(step: Step, value: Json, cancel: float) -> None:
    field = f"outputs.{step.key}"
    if step.kind in _NOT_EDITABLE:
        raise Invalid(
            f'Step "{step.key}" is a {step.kind}; its output cannot be edited.', field=field
        )
    if (step.seq or 0) > cancel:
        raise Invalid(
            f'Step "{step.key}" belongs to the clean-up after the cancellation, which the new run '
            "does not have.",
            field=field,
        )
    # The code sees the outcome of a wait as an object; another shape would fail in its midst.
    if step.kind in ("wait", "signal"):
        _check_result(step, TokenResult, value)
    elif step.kind == "children":
        if not isinstance(value, list):
            raise Invalid(f'The outcome of "{step.key}" is a list, an item per child.', field=field)
        for item in value:
            _check_result(step, ChildResult, item)


def _check_result(step: Step, kind: type[TokenResult] | type[ChildResult], value: Json) -> None:
    try:
        kind(**value)
    except TypeError as error:
        example = '{"ok": true, "output": ...}'
        if kind is ChildResult:
            example = '{"ok": true, "run_id": "run_...", "output": ...}'
        raise Invalid(
            f'Step "{step.key}" is a wait; its outcome looks like {example}, not {value!r}.',
            field=f"outputs.{step.key}",
        ) from error


# ---- copying ------------------------------------------------------------------------------------

# Steps of no attempt of the new run answer whenever they are asked for.
_COPY = """
INSERT INTO executions_step (run_id, key, kind, status, seq, attempt, run_attempt, input, output,
  error, started_at, finished_at)
SELECT %s, s.key, s.kind, CASE WHEN x.key IS NULL THEN s.status ELSE 'COMPLETED' END,
       row_number() OVER (ORDER BY s.seq NULLS LAST, s.key), s.attempt,
       CASE WHEN s.run_attempt = %s AND s.key <> ALL (%s) THEN 1 ELSE 0 END, s.input,
       CASE WHEN x.key IS NULL THEN s.output ELSE x.output::json END,
       CASE WHEN x.key IS NULL THEN s.error END,
       s.started_at, coalesce(s.finished_at, flowmaestro_now())
FROM executions_step s LEFT JOIN json_each_text(%s::json) AS x(key, output) ON x.key = s.key
WHERE s.run_id = %s AND s.key = ANY(%s)
"""
# A token whose outcome the fork has seen keeps it; another is open again, for as long as before.
_COPY_TOKEN = """
INSERT INTO executions_waittoken (
  id, run_id, workspace_id, step_key, secret_key, secret_hash, status, timeout_at, output, tags,
  completed_at)
SELECT %(id)s, %(run)s, t.workspace_id, %(key)s, %(secret_key)s, %(digest)s,
       CASE WHEN x.seen THEN t.status ELSE 'WAITING' END,
       CASE WHEN x.seen THEN t.timeout_at
         ELSE flowmaestro_now() + (t.timeout_at - t.created_at) END,
       CASE WHEN x.seen THEN t.output END, t.tags, CASE WHEN x.seen THEN t.completed_at END
FROM executions_waittoken t CROSS JOIN LATERAL (
  SELECT EXISTS (SELECT FROM executions_step s WHERE s.run_id = %(run)s AND s.kind = 'wait'
                 AND s.input ->> 'token' = t.id) AS seen) x
WHERE t.id = %(old)s
"""
_NAME_TOKEN = "UPDATE executions_step SET output = %s::json WHERE run_id = %s AND key = %s"


def _copy(run: Run, new_run: str, plan: Plan, edited: Mapping[str, str]) -> None:
    """Copies steps; tokens of the old run get counterparts, since each belongs to one run."""
    with connection.cursor() as cursor:
        texts = encode(dict(edited), field="outputs")
        given: list[Any] = [new_run, run.attempt, list(plan.ahead), texts, run.id, plan.copied]
        cursor.execute(_COPY, given)
        tokens = Step.objects.filter(run_id=new_run, kind="token", status=StepStatus.COMPLETED)
        for key, output in tokens.values_list("key", "output"):
            old: Any = output
            token = new_id("waitpoint")
            secret = callback_secrets.make(token)
            cursor.execute(
                _COPY_TOKEN,
                {"id": token, "run": new_run, "key": key, "old": old["id"],
                 "secret_key": secret.key, "digest": secret.digest},
            )  # fmt: skip
            shown = encode({"id": token, "secretKey": secret.key}, field=key)
            cursor.execute(_NAME_TOKEN, [shown, new_run, key])
        # With this the journal is loaded when the run is claimed.
        cursor.execute("UPDATE executions_run SET flush_no = 1 WHERE id = %s", [new_run])
