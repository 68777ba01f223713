"""What a workflow run comes to: the state of each node, the outputs, the error."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from executions.rules.graph import Graph, Node
from executions.rules.scope import Scope, changed

Json = Any

# The run's output row has a limit; beyond this much the outputs of nodes stay in their steps.
NODE_OUTPUTS = 4_000_000


def effects_of(scope: Scope, found: dict[str, Json]) -> dict[str, dict[str, Json]]:
    """What a node sets beside its output, worked out on what the run holds as it settles."""
    variables = dict(found.get("variables", {}))
    shared = dict(found.get("shared", {}))
    for where, name, operation, by in found.get("changes", ()):
        is_shared = where == "shared"
        present = scope.shared.get(name) if is_shared else scope.get(name)
        value = changed(operation, present, by)
        if value is not None:
            (shared if is_shared else variables)[name] = value
    return {"variables": variables, "shared": shared}


def keep_effects(scope: Scope, node: Node, effects: dict[str, dict[str, Json]]) -> None:
    """Puts what a node sets beside its output where the whole run sees it."""
    for name, value in effects["variables"].items():
        scope.set_variable(name, value, node=node.id)
        if node.type == "humanReview":
            scope.answers.add(name)
        else:
            scope.answers.discard(name)
    scope.shared.update(effects["shared"])


class Results:
    """Collects the outcome of each node; a node that runs again replaces its earlier outcome."""

    def __init__(self, graph: Graph, last: Iterable[str] = ()) -> None:
        self._graph = graph
        self._last = frozenset(last)
        self._nodes: dict[str, dict[str, Json]] = {}
        self._sizes: dict[str, int] = {}
        self._runs: dict[str, int] = {}
        self._inner: dict[str, list[str]] = {}

    def completed(self, node: Node, found: dict[str, Json]) -> None:
        """A node ended well."""
        entry: dict[str, Json] = {
            "status": "completed",
            "attempts": found["attempts"],
            "output": found["output"],
        }
        if found.get("handle") is not None:
            entry["handle"] = found["handle"]
        if found.get("warnings"):
            entry["warnings"] = found["warnings"]
        self._put(node, entry, found["size"])

    def failed(self, node: Node, error: Json, attempts: int, handling: str, output: Json) -> None:
        """A node failed; `continue` and `fallback` count as completed, with what stands in."""
        if handling in ("continue", "fallback"):
            entry: dict[str, Json] = {
                "status": "completed",
                "attempts": attempts,
                "output": output,
                "handledError": error,
            }
        else:
            entry = {"status": "failed", "attempts": attempts, "error": error}
        if handling != "fail":
            entry["handledBy"] = handling
        self._put(node, entry, 0)

    def skipped(self, node: Node) -> None:
        """No live edge led to a node; an outcome of an earlier round stays."""
        self._nodes.setdefault(node.id, {"status": "skipped", "attempts": 0})

    def stopped(self, node: Node, message: str) -> None:
        """A cycle reached its limit at this node."""
        entry = self._nodes.setdefault(node.id, {"attempts": 0})
        entry["status"] = "failed"
        entry["error"] = {"type": "max_rounds", "message": message}

    def inner_failures(self, node: Node, failures: Iterable[str]) -> None:
        """The nodes of a loop's body whose failure failed the loop."""
        self._inner[node.id] = list(dict.fromkeys(failures))

    def _put(self, node: Node, entry: dict[str, Json], size: int) -> None:
        runs = self._runs.get(node.id, 0) + 1
        self._runs[node.id] = runs
        if runs > 1:
            entry["runs"] = runs
        self._nodes[node.id] = entry
        self._sizes[node.id] = size

    def error_text(self, failures: Iterable[str]) -> str | None:
        """One sentence with the failing nodes and their messages; None without failures."""
        named: dict[str, str] = {}
        work = list(failures)
        while work:
            node = work.pop(0)
            if node in named:
                continue
            error = self._nodes.get(node, {}).get("error") or {}
            named[node] = str(error.get("message", "failed"))[:2_000]
            work.extend(self._inner.get(node, ()))
        if not named:
            return None
        details = json.dumps(named, ensure_ascii=False)
        plural = "s" if len(named) != 1 else ""
        return f"Workflow completed with {len(named)} failed node{plural}: {details}"

    def outputs(self) -> dict[str, Json]:
        """The results of the output nodes merged, or of the last nodes where there are none."""
        graph = self._graph
        chosen = [node for node in graph.nodes.values() if node.spec.is_output]
        if not chosen:
            chosen = [node for node in graph.nodes.values() if node.id in self._last]
        merged: dict[str, Json] = {}
        for node in chosen:
            entry = self._nodes.get(node.id, {})
            if entry.get("status") != "completed":
                continue
            output = entry.get("output")
            merged.update(output if isinstance(output, dict) else {node.id: output})
        return merged

    def as_json(self, error: str | None) -> dict[str, Json]:
        """The output of the run."""
        result: dict[str, Json] = {
            "success": error is None,
            "status": "completed" if error is None else "failed",
            "outputs": self.outputs(),
        }
        if error is not None:
            result["error"] = error
        left = NODE_OUTPUTS
        listed: dict[str, Json] = {}
        for node in self._graph.nodes:
            entry = dict(self._nodes.get(node, {"status": "not_run", "attempts": 0}))
            size = self._sizes.get(node, 0)
            if size > left and "output" in entry:
                # Still in the node's own step, under its key.
                del entry["output"]
                entry["outputSize"] = size
            else:
                left -= size
            listed[node] = entry
        result["nodes"] = listed
        return result
