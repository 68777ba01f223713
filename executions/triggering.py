"""Triggering runs: on the caller's connection, in the caller's transaction."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction

from executions import debouncing, idempotency, requests, workspaces
from executions.engine import db, failpoints, sql
from executions.engine.flush import notify_payload
from executions.errors import FlowMaestroError, Invalid, NotFound
from executions.idempotency import Wanted
from executions.models import Run, WorkflowVersion
from executions.moves import retrieve
from executions.registry import Task, get_task
from executions.rules.durations import Duration
from executions.rules.statuses import RunStatus
from executions.rules.values import Json

# How often `Handle.result` looks, in seconds: at once, then ever less.
_FIRST_LOOK, _LAST_LOOK = 0.002, 0.1


class RunFailed(FlowMaestroError):
    """A run whose result was asked for did not complete."""

    code = "run_failed"
    http_status = 409

    def __init__(self, run: Run) -> None:
        self.run = run
        self.error: dict[str, Json] = run.error or {}
        detail = self.error.get("message", "")
        super().__init__(f"Run {run.id} ended {run.status}{': ' if detail else ''}{detail}")


class ResultTimeout(FlowMaestroError):
    """A run did not end while its result was waited for."""

    code = "result_timeout"
    http_status = 408


@dataclass(frozen=True, slots=True)
class Handle:
    """A triggered run. `is_cached`: the idempotency key named a run that was there already."""

    id: str
    is_cached: bool = False

    def retrieve(self) -> Run:
        """The run as it stands now."""
        return retrieve(self.id)

    def result(self, timeout: float | None = None) -> Json:
        """The run's output, waited for.

        Raises RunFailed when it ends otherwise, ResultTimeout after `timeout` seconds.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_LOOK
        while True:
            run = retrieve(self.id)
            if run.status == RunStatus.COMPLETED:
                return run.output
            if run.is_final:
                raise RunFailed(run)
            if ends is not None and time.monotonic() >= ends:
                raise ResultTimeout(f"Run {self.id} is {run.status} after {timeout:g} s.")
            time.sleep(pause)
            pause = min(_LAST_LOOK, pause * 1.5)


# ---- trigger ------------------------------------------------------------------------------------


def trigger(
    task: Task | str,
    payload: Any = None,
    *,
    idempotency_key: str | None = None,
    idempotency_key_ttl: Duration | None = None,
    debounce: Mapping[str, Any] | None = None,
    **options: Any,
) -> Handle:
    """Starts a run on the caller's connection, in the caller's transaction.

    Options: delay (a length or a moment), ttl, tags, priority, queue, concurrency_key, metadata,
    max_attempts, max_duration, run_timeout, owner, workspace (else the owner's own), source (the id
    of what starts it). `debounce`: {"key", "delay", "mode": "leading"
    or "trailing", "max_delay"}; triggers of one key become one run, which starts when none has
    come for `delay`, with the payload of the first or the last. Raises NotFound for an unknown
    task, Invalid or TooLarge naming the field; then nothing is written.
    """
    entry = task if isinstance(task, Task) else get_task(task)
    if debounce is not None:
        _check_alone(idempotency_key, options)
        wanted = debouncing.parse(debounce)
        options["delay"] = wanted.delay
    _resolve(options)
    run_id, document = requests.document(entry, payload, **options)
    workspace = options["workspace"]
    if debounce is not None:
        with transaction.atomic():
            scope = requests.scope_of(workspace)
            gathered = debouncing.gather(entry.id, scope, wanted, run_id, document)
            if gathered is not None:
                return Handle(gathered, is_cached=True)
            insert([run_id], [document])
        return Handle(run_id)
    if idempotency_key is None:
        insert([run_id], [document])
        return Handle(run_id)
    key = requests.check_key(idempotency_key)
    lifetime = requests.key_lifetime(idempotency_key_ttl)
    with transaction.atomic():
        failpoints.hit("trigger.before_key")
        asked = Wanted(task=entry.id, key=key, run_id=run_id, seconds=lifetime.total_seconds())
        holder = idempotency.claim(workspace, [asked])[asked.name]
        if holder != run_id:
            return Handle(holder, is_cached=True)
        failpoints.hit("trigger.after_key")
        insert([run_id], [document])
    failpoints.hit("trigger.after_keyed_commit")
    return Handle(run_id)


def batch_trigger(task: Task | str, payloads: Sequence[Any], **options: Any) -> list[Handle]:
    """Starts a run per payload, all or none; handles in the order of the payloads."""
    limit = settings.FLOWMAESTRO.BATCH_LIMIT
    if not isinstance(payloads, Sequence) or isinstance(payloads, str):
        raise Invalid("A batch is a list of payloads.", field="payloads")
    if len(payloads) > limit:
        raise Invalid(f"A batch has at most {limit} runs, not {len(payloads)}.", field="payloads")
    _resolve(options)
    made = [requests.document(task, payload, **options) for payload in payloads]
    if made:
        insert([run_id for run_id, _ in made], [document for _, document in made])
    return [Handle(run_id) for run_id, _ in made]


def _check_alone(idempotency_key: str | None, options: dict[str, Any]) -> None:
    if idempotency_key is not None:
        raise Invalid("Give debounce or an idempotency_key, not both.", field="debounce")
    if options.get("delay") is not None:
        raise Invalid("The delay of a debounced trigger is debounce.delay.", field="delay")


def _resolve(options: dict[str, Any]) -> None:
    """Finds the run's workspace; raises now what the database would only find at the commit."""
    owner, definition = requests.check_owner(options.get("owner")), options.get("definition")
    options["workspace"] = workspaces.place_of(owner, options.get("workspace"))
    if definition is not None and not WorkflowVersion.objects.filter(pk=definition).exists():
        raise NotFound(f"There is no workflow version {definition!r}.", field="definition")


def insert(ids: list[str], documents: list[str]) -> None:
    """Writes new runs from their documents."""
    failpoints.hit("trigger.before")
    db.execute(sql.INSERT_RUNS, (f"[{','.join(documents)}]", notify_payload(ids)))
    failpoints.hit("trigger.after")
