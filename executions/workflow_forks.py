"""Forks of workflows by their nodes: which step a node stands for, what an edited output becomes.

Forks themselves, by step, live in `executions/forks.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from executions import forks, nodes, workflow_runs
from executions.audit import Actor
from executions.errors import Invalid, NotFound
from executions.forks import UNCHANGED, Plan
from executions.models import Run, Step
from executions.node_runs import stand_in
from executions.rules.definition import read
from executions.rules.graph import Graph
from executions.rules.statuses import StepStatus
from executions.triggering import Handle

Json = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """Where a fork begins, by step or by node, and what it takes as given.

    `outputs` go by step, or by the node whose output they are.
    """

    from_step: str | None = None
    from_node: str | None = None
    outputs: Mapping[str, Json] = field(default_factory=dict)
    payload: Any = UNCHANGED


def fork(
    run: Run, wanted: Fork, *, reason: str | None = None, actor: Actor | None = None
) -> Handle:
    """A new run with the part of the journal that lies before where it begins.

    Raises what `forks.replay` does, and NotFound or Invalid for a node.
    """
    return forks.replay(run.id, **_by_steps(run, wanted), reason=reason, actor=actor)


def preview(run: Run, wanted: Fork) -> Plan:
    """What `fork` would make of each step; raises what it would raise."""
    return forks.preview(run.id, **_by_steps(run, wanted))


def _by_steps(run: Run, wanted: Fork) -> dict[str, Any]:
    if wanted.from_step is not None and wanted.from_node is not None:
        raise Invalid("Give fromStep or fromNode, not both.", field="fromNode")
    if wanted.from_step is None and wanted.from_node is None and not wanted.outputs:
        raise Invalid(
            "A fork begins at a step or a node, or has edited outputs; a replay needs neither.",
            field="fromStep",
        )
    keys = list(
        Step.objects.filter(run_id=run.id).order_by("seq", "key").values_list("key", flat=True)
    )
    first = wanted.from_step
    if wanted.from_node is not None:
        first = _first_step(wanted.from_node, keys)
    graph = _graph(run)
    outputs = {}
    for name, value in wanted.outputs.items():
        key, stored = (name, value) if name in keys else _of_node(run, graph, name, value, keys)
        outputs[key] = stored
    return {"from_step": first, "outputs": outputs or None, "payload": wanted.payload}


def _first_step(node: str, keys: list[str]) -> str:
    """The first of the node's steps that ended, whatever round it was in."""
    for key in keys:
        if node in key.split("/")[:-1]:
            return key
    raise NotFound(f"No step of a node {node!r} has begun in this run.", field="fromNode")


def _graph(run: Run) -> Graph | None:
    definition = workflow_runs.definition_of(run) if workflow_runs.is_workflow(run) else None
    if definition is None:
        return None
    payload = run.data.payload if isinstance(run.data.payload, dict) else {}
    pins = payload.get("pins")
    return read(definition, nodes.find, pinned=frozenset(pins or ()))[0]


def _of_node(
    run: Run, graph: Graph | None, name: str, value: Json, keys: list[str]
) -> tuple[str, Json]:
    """The step that holds a node's output, and what it holds when the output is that value."""
    key, where = f"{name}/run", f"outputs.{name}"
    if graph is None or name not in graph.nodes:
        known = ", ".join(keys[:10]) or "none"
        raise NotFound(f"The run has no step and no node {name!r}; steps: {known}.", field=where)
    node = graph.nodes[name]
    if key not in keys or node.spec.is_loop:
        own = ", ".join(each for each in keys if name in each.split("/")) or "none yet"
        raise Invalid(
            f"The output of node {name!r} is not that of a single step; edit one of its steps: "
            f"{own}.",
            field=where,
        )
    step = Step.objects.only("attempt", "status").get(run_id=run.id, key=key)
    attempts = step.attempt if step.status == StepStatus.COMPLETED else 1
    return key, stand_in(node, value, attempts=attempts, field=where)
