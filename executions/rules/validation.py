"""What a validator says beside errors: parts that never run, names that nobody writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from executions.rules.advice import find_advice
from executions.rules.expressions import compile_expression
from executions.rules.functions import ExpressionError
from executions.rules.graph import Graph, Issue, Node
from executions.rules.loops import Structure
from executions.rules.names_used import loop_names
from executions.rules.templates import Placeholder, compile_template
from executions.rules.walks import reach

Json = Any

_KNOWN = frozenset(
    {
        "inputs",
        "variables",
        "shared",
        "env",
        "execution",
        "trigger",
        "loop",
        "now",
        "$now",
        "Object",
    }
)
# Config fields whose value becomes a name that later nodes can use.
_NAMING = ("outputVariable", "variableName", "inputName", "inputVariable", "outputName", "name")
_PLACEHOLDERS = (
    "lorem ipsum", "your prompt here", "enter your", "placeholder text", "xxx", "your_api_key",
    "your-api-key", "changeme", "<your",
)  # fmt: skip


def find_warnings(structure: Structure) -> list[Issue]:
    """Warnings about a graph that parses; none of them prevents a run."""
    graph = structure.graph
    return [
        *structure.warnings,
        *_unreachable(graph),
        *_branches(graph),
        *_undefined(graph),
        *_placeholders(graph),
        *find_advice(structure),
    ]


def _unreachable(graph: Graph) -> Iterator[Issue]:
    after = {key: [edge.target for edge in edges] for key, edges in graph.out_edges.items()}
    for node in graph.nodes.values():
        if node.on_error.goto_node is not None:
            after[node.id].append(node.on_error.goto_node)
    targets = {target for listed in after.values() for target in listed}
    starts = [key for key, node in graph.nodes.items() if graph.is_entry(key) or key not in targets]
    for key in graph.nodes.keys() - reach(after, starts):
        yield Issue(
            "UNREACHABLE_NODE",
            f"Node {key!r} is never reached; connect it to a node that runs.",
            key,
            "warning",
        )


def _branches(graph: Graph) -> Iterator[Issue]:
    for node in graph.nodes.values():
        if node.spec.handles != ("true", "false"):
            continue
        edges = graph.out_edges[node.id]
        if any(edge.handle is None for edge in edges):
            continue
        drawn = [
            way
            for way in node.spec.handles
            if any(edge.handle in node.spec.ways(node.config, way) for edge in edges)
        ]
        if len(drawn) == 1:
            other = "false" if drawn == ["true"] else "true"
            yield Issue(
                "DEAD_END_BRANCH",
                f"Condition {node.id!r} leads nowhere when it is {other}; connect that way too "
                "if something should happen.",
                node.id,
                "warning",
            )
        elif not drawn:
            yield Issue(
                "CONDITIONAL_MISSING_BRANCH",
                f"Condition {node.id!r} has no `true` or `false` edge, so it decides nothing.",
                node.id,
                "warning",
            )


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _written(node: Node) -> Iterator[str]:
    yield node.id
    for field in _NAMING:
        name = node.raw.get(field)
        if isinstance(name, str):
            yield name
    if node.spec.is_loop:
        yield from loop_names(node)
    variables = node.raw.get("variables")
    if isinstance(variables, Mapping):
        yield from variables


def _undefined(graph: Graph) -> Iterator[Issue]:
    known = set(_KNOWN)
    for node in graph.nodes.values():
        known.update(_written(node))
    for node in graph.nodes.values():
        missing: dict[str, None] = {}
        for text in _texts(node.raw):
            for part in compile_template(text):
                if not isinstance(part, Placeholder):
                    continue
                if part.expression is not None:
                    missing.update(dict.fromkeys(part.expression.roots - known))
                elif part.raw.strip("{} "):
                    yield _no_expression(node, part.raw, f"{part.problem} It stays as written")
        for name in sorted(missing):
            yield Issue(
                "UNDEFINED_VARIABLE",
                f"Node {node.id!r} uses {name!r}, which no node writes and no input is called; "
                "correct the name, or give the run an input of it: else it stays as written.",
                node.id,
                "warning",
            )
        yield from _bare(node, known)


def _no_expression(node: Node, text: str, what: str) -> Issue:
    shown = text if len(text) <= 100 else text[:97] + "…"
    return Issue(
        "INVALID_EXPRESSION", f"Node {node.id!r}: {shown}: {what}; correct it.", node.id, "warning"
    )


def _bare(node: Node, known: set[str]) -> Iterator[Issue]:
    """What is wrong with the expressions that stand without braces: conditions, a loop's array."""
    for field in ("expression", "condition", "array_path"):
        is_read = node.type == "conditional" or node.spec.is_loop
        text = getattr(node.config, field, None) if is_read else None
        if not isinstance(text, str) or "{{" in text:
            continue
        try:
            roots = compile_expression(text, condition=field != "array_path").roots
        except ExpressionError as error:
            yield _no_expression(node, text, str(error).removesuffix("."))
            continue
        for name in sorted(roots - known):
            code = "LOOP_ARRAY_UNDEFINED" if field == "array_path" else "UNDEFINED_VARIABLE"
            yield Issue(
                code,
                f"Node {node.id!r} uses {name!r}, which no node writes and no input is called; "
                "correct the name, or give the run an input of it.",
                node.id,
                "warning",
            )


def _placeholders(graph: Graph) -> Iterator[Issue]:
    for node in graph.nodes.values():
        for text in _texts(node.raw):
            found = next((one for one in _PLACEHOLDERS if one in text.lower()), None)
            if found is not None:
                yield Issue(
                    "PLACEHOLDER_CONTENT",
                    f"Node {node.id!r} still holds {found!r}, which looks like a placeholder; "
                    "write the real text.",
                    node.id,
                    "warning",
                )
                break
