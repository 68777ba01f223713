"""Runs one node by itself."""

from __future__ import annotations

import asyncio
from typing import Any

from executions import nodes
from executions.nodes import NodeCall, NodeResult
from executions.rules.definition import parse
from executions.rules.scope import Scope
from executions.rules.templates import Renderer
from executions.tests.flows import flow


def call(kind: str, config: dict[str, Any], *, incoming: Any = (), **inputs: Any) -> NodeCall[Any]:
    """A call of a node over these inputs."""
    node = parse(flow({"n": (kind, config)}), nodes.find).nodes["n"]
    scope = Scope(inputs)
    return NodeCall(
        node=node, config=node.config, scope=scope, render=Renderer(scope), incoming=incoming
    )


def result(kind: str, config: dict[str, Any], **inputs: Any) -> NodeResult:
    """What a node gives."""
    asked = call(kind, config, **inputs)
    return asyncio.run(asked.node.spec.run(asked))


def output(kind: str, config: dict[str, Any], **inputs: Any) -> Any:
    """The output of a node."""
    return result(kind, config, **inputs).output
