"""Runs of workflows as people see them: start one, find those one may see, describe one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, QuerySet
from django.db.models.fields.json import KT, KeyTextTransform, KeyTransform
from django.db.models.functions import Coalesce

from executions import nodes, reviews, runs, workflows, workspaces
from executions.access import Caller
from executions.errors import Invalid, NotFound
from executions.models import Run, RunEvent, Step
from executions.orchestrator import orchestrator
from executions.rules.definition import parse, read
from executions.rules.ids import first_id, has_prefix
from executions.rules.node_states import (
    NOT_RUN,
    PENDING,
    RUNNING,
    STATE_AFTER,
    STOPPED,
    WAITING,
    reading_order,
    state_after,
)
from executions.rules.policies import read_pins
from executions.rules.statuses import RunStatus

# Of a run that is no workflow's, so many of its latest steps are shown.
SHOWN_STEPS = 200
# It runs a workflow as its child, in the step "run".
TRIGGERED = "triggered-workflow"
_CLOCK_ERROR = timedelta(days=1)

Json = Any


def start(
    definition: Json, *, inputs: Json = None, pins: Json = None, owner: int | None = None,
    workspace: str | None = None, **options: Any,
) -> runs.Handle:  # fmt: skip
    """Starts a run of a definition; raises what `payload_of` does, and then nothing is written.

    `options` are those of `runs.trigger`.
    """
    payload = payload_of(definition, inputs=inputs, pins=pins)
    if owner is not None:
        payload["userId"] = str(owner)
    return runs.trigger(orchestrator, payload, owner=owner, workspace=workspace, **options)


def start_stored(
    reference: str, *, inputs: Json = None, pins: Json = None, owner: int | None = None,
    workspace: str | None = None, **options: Any,
) -> runs.Handle:  # fmt: skip
    """Starts a run of a stored workflow, in its newest version, or of a version by its own id.

    The run points at the version. Raises NotFound, also for a workflow of another workspace,
    and what `payload_of` does. `options` are those of `runs.trigger`.
    """
    workspace = workspaces.place_of(owner, workspace)
    version = workflows.find_version(reference, workspace=workspace)
    payload = payload_of(version.definition, inputs=inputs, pins=pins)
    del payload["workflowDefinition"]
    payload["workflowId"] = version.pk
    if owner is not None:
        payload["userId"] = str(owner)
    return runs.trigger(
        orchestrator, payload, owner=owner, workspace=workspace, definition=version.pk, **options
    )


def payload_of(definition: Json, *, inputs: Json = None, pins: Json = None) -> dict[str, Json]:
    """The payload of a run of a definition, checked without the database.

    Raises InvalidDefinition, or Invalid naming the input or pin at fault.
    """
    if inputs is not None and not isinstance(inputs, Mapping):
        raise Invalid("inputs is an object: each input's name and its value.", field="inputs")
    pinned = frozenset(pins) if isinstance(pins, Mapping) else frozenset()
    graph = parse(definition, nodes.find, pinned=pinned)
    read_pins(pins, graph.nodes)
    payload: dict[str, Json] = {"workflowDefinition": definition, "inputs": dict(inputs or {})}
    if pins:
        payload["pins"] = pins
    return payload


# ---- who sees what ------------------------------------------------------------------------------


def retrieve_for(caller: Caller, run_id: str) -> Run:
    """The run with its payload and metadata. Raises NotFound also for a run of others."""
    found = Run.objects.select_related("data", "definition__workflow")
    return _one(caller.visible(found), run_id)


def glance_for(caller: Caller, run_id: str) -> Run:
    """The run's row without what it was given and gave, for those who look often.

    Raises NotFound also for a run of others.
    """
    return _one(caller.visible(Run.objects.all()).only("id", "status", "event_seq"), run_id)


def may_read(caller: Caller, run_id: str) -> bool:
    """Whether a public token was made to read a run: by its id, its task, a tag or its batch."""
    grants = caller.grants
    if grants is None or not has_prefix(run_id, "run"):
        return False
    if grants.allows("read", "runs", run_id):
        return True
    found = caller.visible(Run.objects.filter(pk=run_id))
    run = found.values("task", "tags", "source").first()
    return run is not None and (
        grants.allows("read", "tasks", run["task"])
        or any(grants.allows("read", "tags", tag) for tag in run["tags"])
        or (bool(run["source"]) and grants.allows("read", "batch", run["source"]))
    )


def _one(found: QuerySet[Run], run_id: str) -> Run:
    run = found.filter(pk=run_id).first() if has_prefix(run_id, "run") else None
    if run is None:
        raise NotFound(f"There is no run {run_id!r}.", field="run")
    return run


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which runs; None means any."""

    workflow: str | None = None
    """Runs of any version of a stored workflow."""
    statuses: Sequence[str] | None = None
    task: str | None = None
    tag: str | None = None
    source: str | None = None
    """The id of the schedule, trigger or batch that started them."""
    since: datetime | None = None
    until: datetime | None = None


def recent(
    caller: Caller, *, limit: int, after: str | None = None, filters: Filters | None = None
) -> list[Run]:
    """Runs with `workflow_name`, None for other tasks, newest first; `after` ends the last page."""
    found = caller.visible(Run.objects.all())
    if filters is not None:
        found = _of_filters(found, filters)
    if after is not None:
        if not has_prefix(after, "run"):
            raise Invalid(f"after is the `next` of the part before, not {after!r}.", field="after")
        found = found.filter(id__lt=after)
    return list(_briefly(found).order_by("-id")[:limit])


def brief_for(caller: Caller, run_id: str) -> Run:
    """The run as lists have it. Raises NotFound also for a run of others."""
    return _one(_briefly(caller.visible(Run.objects.all())), run_id)


def _briefly(found: QuerySet[Run]) -> QuerySet[Run]:
    return found.defer("output").annotate(
        workflow_name=Coalesce(
            KeyTextTransform("workflowName", "data__metadata"),
            KeyTextTransform("name", KeyTransform("workflowDefinition", "data__payload")),
            "definition__workflow__name",
        ),
        workflow_id=F("definition__workflow"),
    )


def _of_filters(found: QuerySet[Run], filters: Filters) -> QuerySet[Run]:
    if filters.workflow is not None:
        found = found.filter(definition__workflow=filters.workflow)
    if filters.statuses is not None:
        found = found.filter(status__in=filters.statuses)
    if filters.task is not None:
        found = found.filter(task=filters.task)
    if filters.tag is not None:
        # The index holds runs with tags only, and has to be told so.
        found = found.filter(tags__contains=[filters.tag]).exclude(tags=[])
    if filters.source is not None:
        found = found.filter(source=filters.source)
    # Ids tell when they were made, by a clock that may be wrong; they keep the search short.
    if filters.since is not None:
        bound = first_id("run", filters.since - _CLOCK_ERROR)
        found = found.filter(created_at__gte=filters.since, id__gte=bound)
    if filters.until is not None:
        bound = first_id("run", filters.until + _CLOCK_ERROR)
        found = found.filter(created_at__lt=filters.until, id__lt=bound)
    return found


# ---- one run ------------------------------------------------------------------------------------


def is_workflow(run: Run) -> bool:
    """Whether it is nodes that the run goes through, not the steps of some other task."""
    return run.task == orchestrator.id


def describe(run: Run) -> dict[str, Json]:
    """Everything a watcher is shown. `cursor` is the number of the last event it takes in."""
    payload = run.data.payload if isinstance(run.data.payload, dict) else {}
    metadata = run.data.metadata
    return {
        "executionId": run.id,
        "task": run.task,
        "workflowName": metadata.get("workflowName") or _name_in(payload) or _stored_name(run),
        "status": run.status,
        "isFinal": run.is_final,
        "createdAt": run.created_at.isoformat(),
        "startedAt": run.started_at.isoformat() if run.started_at else None,
        "finishedAt": run.finished_at.isoformat() if run.finished_at else None,
        "cancelRequested": run.cancel_requested_at is not None,
        "inputs": payload.get("inputs"),
        "pins": payload.get("pins"),
        "metadata": metadata,
        "reviews": [
            {**review.form, "rules": reviews.rules_of(review.form)}
            for review in reviews.open_reviews(run)
        ],
        "outputs": outputs_of(run),
        "error": error_of(run),
        "errorText": error_text_of(run),
        "nodes": nodes_of(run),
        "steps": steps_of(run),
        "cursor": run.event_seq,
    }


def outcome(run: Run) -> dict[str, Json]:
    """What a run that ended came to, for whoever has waited for it."""
    return {
        "executionId": run.id,
        "status": run.status,
        "outputs": outputs_of(run),
        "error": error_of(run),
        "nodes": {
            node: {
                "status": entry["status"],
                "attempts": entry.get("attempts", 0),
                "output": entry.get("output"),
                "error": entry.get("error"),
            }
            for node, entry in nodes_of(run).items()
        },
    }


def outputs_of(run: Run) -> Json:
    """What the run came to: a workflow's outputs, or the whole output of any other task."""
    if isinstance(run.output, dict) and "outputs" in run.output and "success" in run.output:
        return run.output["outputs"]
    return run.output


def error_of(run: Run) -> str | None:
    """One sentence on why the run did not complete."""
    if run.error is None:
        return None
    if run.status == RunStatus.CANCELED and run.cancel_reason:
        return run.cancel_reason
    return str(run.error.get("message") or run.error.get("type") or run.status)


def error_text_of(run: Run) -> str | None:
    """The error as people are shown it: its type as well, where that is news."""
    text = error_of(run)
    if text is None or run.status == RunStatus.CANCELED:
        return text
    return _with_type(text, run.error)


def _with_type(text: str, error: Json) -> str:
    kind = error.get("type") if isinstance(error, dict) else None
    return text if not kind or str(kind) in text else f"{kind}: {text}"


def steps_of(run: Run) -> list[dict[str, Json]]:
    """The latest steps of a run, in the order in which they began; a workflow has nodes instead."""
    if is_workflow(run):
        return []
    found = Step.objects.filter(run_id=run.id).defer("input", "output")
    return [
        {
            "key": step.key,
            "kind": step.kind,
            "status": step.status,
            "attempts": step.attempt,
            "error": _step_error(step.error),
        }
        for step in reversed(found.order_by("-started_at", "-key")[:SHOWN_STEPS])
    ]


def _step_error(error: Json) -> str | None:
    if not error:
        return None
    if not isinstance(error, dict):
        return str(error)
    return _with_type(str(error.get("message") or error.get("type") or ""), error)


def nodes_of(run: Run) -> dict[str, dict[str, Json]]:
    """Each node's name, type and state, each after those that lead to it; a workflow's only.

    A run that a trigger started shows those of the workflow that it runs.
    """
    if run.task == TRIGGERED:
        child = Run.objects.select_related("data").filter(parent=run.id, parent_step="run").first()
        return {} if child is None else nodes_of(child)
    if not is_workflow(run):
        # What some other task gives as `nodes` may be anything.
        return {}
    known = _nodes_in(definition_of(run), run.data.payload)
    if isinstance(run.output, dict) and isinstance(run.output.get("nodes"), dict):
        states = run.output["nodes"]
    else:
        states = _states_so_far(run)
    for node, state in states.items():
        known.setdefault(node, {"name": node, "type": ""}).update(state)
    if not run.is_final:
        return {node: {"status": PENDING, **entry} for node, entry in known.items()}
    for entry in known.values():
        if entry.get("status") in (RUNNING, WAITING):
            entry["status"] = STOPPED
    return {node: {"status": NOT_RUN, **entry} for node, entry in known.items()}


def _states_so_far(run: Run) -> dict[str, dict[str, Json]]:
    """The state of each node by the last event about it, up to the events the run's row counts."""
    last = (
        RunEvent.objects.filter(run_id=run.id, seq__lte=run.event_seq, type__in=list(STATE_AFTER))
        .annotate(node=KT("data__nodeId"))
        .order_by("node", "-seq")
        .distinct("node")
    )
    states: dict[str, dict[str, Json]] = {}
    for event in sorted(last, key=lambda event: event.seq):
        state = state_after(event.type, event.data)
        if state is not None:
            states[event.data["nodeId"]] = state
    return states


def definition_of(run: Run) -> Json:
    """The definition that a run of a workflow goes by: its own, or that of its version."""
    payload = run.data.payload
    if isinstance(payload, dict) and payload.get("workflowDefinition") is not None:
        return payload["workflowDefinition"]
    return None if run.definition is None else run.definition.definition


def _nodes_in(definition: Json, payload: Json) -> dict[str, dict[str, Json]]:
    """The nodes of a definition; none when there is none that can be read."""
    if definition is None:
        return {}
    given = payload.get("pins") if isinstance(payload, dict) else None
    pinned = frozenset(given) if isinstance(given, dict) else frozenset()
    graph, _ = read(definition, nodes.find, pinned=pinned)
    if graph is None:
        return {}
    entries: dict[str, dict[str, Json]] = {}
    edges = [(edge.source, edge.target) for edge in graph.edges]
    for node in map(graph.nodes.__getitem__, reading_order(list(graph.nodes), edges)):
        entries[node.id] = {"name": node.name, "type": node.type}
        if node.id in pinned:
            entries[node.id]["pinned"] = True
    return entries


def _name_in(payload: dict[str, Json]) -> str | None:
    definition = payload.get("workflowDefinition")
    name = definition.get("name") if isinstance(definition, dict) else None
    return str(name) if name else None


def _stored_name(run: Run) -> str | None:
    return None if run.definition is None else run.definition.workflow.name
