"""What watchers of a workflow run see: its metadata, and one event per thing that happens."""

from __future__ import annotations

import json
from typing import Any

from executions.rules.graph import Graph, Node

Json = Any

# Outputs up to this many characters of JSON travel in events; larger ones are in the step.
EVENT_OUTPUT = 8_000
SHOWN_TEXT = 20_000


class Progress:
    """Writes a run's progress through its context; every method is replay-safe."""

    def __init__(self, ctx: Any, graph: Graph, execution_id: str) -> None:
        self._ctx = ctx
        self._completed: set[str] = set()
        self._open: dict[str, dict[str, Json]] = {}
        self._graph = graph
        self._execution_id = execution_id

    def started(self) -> None:
        """The run begins."""
        metadata = self._ctx.metadata
        metadata.set("status", "running")
        metadata.set("executionId", self._execution_id)
        metadata.set("workflowName", self._graph.name)
        metadata.set("totalNodes", len(self._graph.nodes))
        metadata.set("completedNodes", [])
        self._say("started", workflowName=self._graph.name, totalNodes=len(self._graph.nodes))

    def node_started(self, node: Node, key: str) -> None:
        """A node begins."""
        self._ctx.metadata.set("currentNode", node.id)
        self._say("node_started", node, key=key)

    def node_completed(self, node: Node, key: str, found: dict[str, Json]) -> None:
        """A node ended well; its output comes along when it is small, its warnings do always."""
        if node.id not in self._completed:
            self._completed.add(node.id)
            self._ctx.metadata.append("completedNodes", node.id)
        size = found["size"]
        more = {"output": found["output"]} if size <= EVENT_OUTPUT else {"outputSize": size}
        if found.get("warnings"):
            more["warnings"] = found["warnings"]
        self._say("node_completed", node, key=key, **more)

    def node_failed(self, node: Node, key: str, error: Json, handling: str) -> None:
        """A node failed for good, and how that is taken."""
        self._say("node_failed", node, key=key, error=error, handling=handling)

    def node_skipped(self, node: Node, key: str) -> None:
        """No live edge leads to a node."""
        self._say("node_skipped", node, key=key)

    def paused(self, key: str, form: dict[str, Json]) -> None:
        """A question is open; several may be at once, the first is the one shown."""
        shown = {
            name: value[:SHOWN_TEXT] if isinstance(value, str) else value
            for name, value in form.items()
        }
        self._open[key] = {**shown, "key": key}
        self._show_pauses()
        self._say("paused", self._graph.nodes[form["nodeId"]], **{**shown, "key": key})

    def resumed(self, key: str) -> None:
        """A question is answered."""
        form = self._open.pop(key, None)
        if form is not None:
            self._show_pauses()
            self._say("resumed", self._graph.nodes[form["nodeId"]], key=key)

    def answer_refused(self, node: Node, key: str, reason: str) -> None:
        """An answer did not fit; the question stays open."""
        self._say("answer_refused", node, key=key, reason=reason)

    def ended(self, *, error: str | None) -> None:
        """The run is over."""
        status = "completed" if error is None else "failed"
        if self._open:
            self._open.clear()
            self._show_pauses()
        self._ctx.metadata.set("status", status)
        if error is None:
            self._say("completed")
        else:
            self._say("failed", error=error[:SHOWN_TEXT])

    def _show_pauses(self) -> None:
        metadata = self._ctx.metadata
        if self._open:
            metadata.set("status", "paused")
            metadata.set("pauseContext", next(iter(self._open.values())))
        else:
            metadata.set("status", "running")
            metadata.delete("pauseContext")
        metadata.set("pauseContexts", list(self._open.values()))

    def _say(self, event: str, node: Node | None = None, **data: Json) -> None:
        where = {} if node is None else {"nodeId": node.id}
        self._ctx.metadata.set("event", {"type": event, **where})
        more = {} if node is None else {"nodeName": node.name, "nodeType": node.type}
        self._ctx.emit(event, {"executionId": self._execution_id, **where, **more, **data})


class Pause:
    """What a waiting node says of its wait; see NodeCall.pauses."""

    def __init__(self, progress: Progress, node: Node, key: str) -> None:
        self._progress = progress
        self._node = node
        self._key = key

    def open(self, form: dict[str, Json]) -> None:
        """A person is asked."""
        self._progress.paused(self._key, form)

    def open_wait(self, token_id: str, event: str) -> None:
        """Something outside is waited for."""
        form = {"nodeId": self._node.id, "waitingFor": event, "tokenId": token_id}
        self._progress.paused(self._key, form)

    def close(self) -> None:
        """The wait is over."""
        self._progress.resumed(self._key)

    def refuse(self, reason: str) -> None:
        """An answer was not accepted."""
        self._progress.answer_refused(self._node, self._key, reason)


def json_size(value: Json) -> int:
    """Characters of a value's JSON."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
