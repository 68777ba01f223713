"""One attempt of one node: rendered, run or answered by its pin, and checked."""

from __future__ import annotations

import asyncio
import json
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from executions import masking
from executions.engine.bodies import current_step
from executions.errors import FlowMaestroError, Invalid
from executions.nodes import BadConfig, Effect, NodeCall, NodeResult, NotAvailable, Run
from executions.progress import json_size
from executions.rules.functions import ExpressionError
from executions.rules.graph import Node
from executions.rules.policies import DEFAULT_TIMEOUT, Pin, PinnedAttempt
from executions.rules.retry import NO_RETRY, Retry
from executions.rules.scope import Scope
from executions.rules.templates import Renderer

Json = Any

MAX_OUTPUT = 1_000_000
# Delays from here on are durable sleeps of the run rather than part of the step.
DURABLE_DELAY = 1.0
NODE_RETRY = Retry(max_attempts=3, factor=2.0, min_timeout=1.0, max_timeout=60.0)


class PinnedError(Exception):
    """The error that a pin stands in for."""

    def __init__(self, message: str, *, non_retryable: bool) -> None:
        super().__init__(message)
        self.non_retryable = non_retryable


@dataclass(slots=True)
class Work:
    """What one step has to do."""

    call: NodeCall[Any]
    pin: Pin | None
    slept: bool = False


def retry_of(node: Node, pin: Pin | None) -> Retry:
    """How often a node is tried: its own policy, else three times, but pure work only once."""
    if node.retry is not None:
        return node.retry
    is_pure = node.spec.effect is Effect.PURE and pin is None
    return NO_RETRY if is_pure else NODE_RETRY


def timeout_of(node: Node) -> float:
    """Seconds one attempt may take."""
    return node.timeout if node.timeout is not None else DEFAULT_TIMEOUT


async def run_in_steps(ctx: Any, work: Work) -> dict[str, Json]:
    """Run a node through its context; what comes back is as `attempt` describes it."""
    node, pin = work.call.node, work.pin
    if pin is None and node.spec.effect is Effect.WAITS and node.spec.run is not None:
        work.call.ctx = ctx
        result = await node.spec.run(work.call)
        return _stored(work, result, attempts=1)
    timeout = timeout_of(node)
    if pin is not None and pin.delay_seconds >= DURABLE_DELAY and pin.delay_seconds < timeout:
        await ctx.sleep(seconds=pin.delay_seconds, name="delay")
        work.slept = True
    # The result is Any to the engine: JSON in, the same JSON out.
    return dict(
        await ctx.step(
            "run",
            attempt,
            work,
            retry=retry_of(node, pin),
            timeout=timeout,
            pure=node.spec.effect is Effect.PURE,
        )
    )


async def attempt(work: Work) -> Any:
    """One attempt: {output, size, attempts, and where there are any handle, warnings, …}."""
    number = current_step().attempt
    spec = work.call.node.spec
    work.call.render.begin()
    try:
        if work.pin is not None:
            result = await _pinned(work, work.pin.attempt(number), number)
        elif spec.run is None:
            raise NotAvailable(_missing(work.call.node))
        else:
            result = await _without_secrets(spec.run, work.call)
        return _stored(work, result, attempts=number)
    except RecursionError as error:
        raise BadConfig(
            f"Node {work.call.node.id!r} meets data that is nested too deep; flatten it.",
            code="too_deep",
        ) from error


async def _without_secrets(run: Run, call: NodeCall[Any]) -> NodeResult:
    """What the node gives, or how it fails, without the secrets that it used."""
    with masking.hiding() as mask:
        try:
            result = await run(call)
        except Exception as error:
            clean = mask.error(error)
            if clean is error:
                raise
            # No cause: it is what shows the secret.
            raise clean from None
        call.render.warnings[:] = mask.value(call.render.warnings)
        return replace(
            result,
            output=mask.value(result.output),
            handle=mask.value(result.handle),
            variables=mask.value(result.variables),
            shared=mask.value(result.shared),
            changes=[mask.value(list(change)) for change in result.changes],
        )


def _missing(node: Node) -> str:
    provider = str(node.raw.get("provider") or "the provider")
    return f"Node {node.id!r}: " + node.spec.missing.replace("{provider!r}", repr(provider))


async def _pinned(work: Work, pinned: PinnedAttempt, number: int) -> NodeResult:
    if pinned.delay_seconds and not (work.slept and number == 1):
        await asyncio.sleep(pinned.delay_seconds)
    if pinned.error is not None:
        kind = type(_type_name(pinned.error_type), (PinnedError,), {})
        raise kind(pinned.error, non_retryable=not pinned.is_retryable)
    node = work.call.node
    handle = pinned.handle
    if handle is None:
        handle = node.spec.derive(node.config, pinned.output)
    effects = node.spec.effects(node.config, pinned.output)
    return NodeResult(output=pinned.output, handle=handle, **effects)


def _type_name(text: str) -> str:
    return text if text.isidentifier() else "PinnedError"


def _stored(work: Work, result: NodeResult, *, attempts: int) -> dict[str, Json]:
    """A result as the step keeps it; an output that is too large or no JSON is refused."""
    node = work.call.node
    try:
        size = len(
            json.dumps(result.output, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise BadConfig(f"The output of node {node.id!r} is not JSON: {error}.") from error
    if size > MAX_OUTPUT:
        raise BadConfig(
            f"The output of node {node.id!r} has {size:,} characters, over the limit of "
            f"{MAX_OUTPUT:,}; pass on less of it.",
            code="too_large",
        )
    stored: dict[str, Json] = {"output": result.output, "size": size, "attempts": attempts}
    if result.handle is not None:
        stored["handle"] = result.handle
    if result.variables:
        stored["variables"] = dict(result.variables)
    if result.shared:
        stored["shared"] = dict(result.shared)
    if result.changes:
        stored["changes"] = [list(change) for change in result.changes]
    if work.call.render.warnings:
        stored["warnings"] = list(work.call.render.warnings)
    return stored


def stand_in(node: Node, output: Json, *, attempts: int, field: str) -> dict[str, Json]:
    """What the step of a node holds when somebody says what the node gave, as a pin does.

    Raises Invalid naming `field` for an output that is too large.
    """
    size = json_size(output)
    if size > MAX_OUTPUT:
        raise Invalid(
            f"{field} has {size:,} characters, over the limit of {MAX_OUTPUT:,}.", field=field
        )
    stored: dict[str, Json] = {"output": output, "size": size, "attempts": attempts}
    handle = node.spec.derive(node.config, output)
    if handle is not None:
        stored["handle"] = handle
    effects = node.spec.effects(node.config, output)
    return {**stored, **{name: dict(values) for name, values in effects.items() if values}}


def fallback_of(node: Node, scope: Scope) -> tuple[Json, str | None]:
    """What stands in for a failed node's output, and the way out that it chooses.

    Raises ExpressionError, or RecursionError, for a fallbackValue that cannot be rendered.
    """
    try:
        found = Renderer(scope).value(node.on_error.fallback_value)
    except ExpressionError as error:
        raise ExpressionError(f"Its fallbackValue cannot be used either: {error}") from error
    # A copy: what it was taken from may go on growing, as a loop's results do.
    output = deepcopy(found)
    return output, node.spec.derive(node.config, output)


def error_json(error: Exception) -> dict[str, Json]:
    """A node's failure as outputs and watchers see it."""
    if hasattr(error, "error_type"):
        return {"message": str(error.message), "type": str(error.error_type)}  # type: ignore[attr-defined]
    code = error.code if isinstance(error, FlowMaestroError) else type(error).__name__
    return {"message": str(error), "type": code}
