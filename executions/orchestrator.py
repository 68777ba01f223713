"""The task `orchestrator`: carries a workflow's graph through with steps and waits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from executions import nodes, workflows
from executions.engine.failures import StepFailed
from executions.errors import FlowMaestroError, Invalid
from executions.loop_runs import LoopRun, evaluate_condition
from executions.node_results import Results, effects_of, keep_effects
from executions.node_runs import Work, error_json, fallback_of, run_in_steps
from executions.nodes import NodeCall
from executions.progress import Pause, Progress, json_size
from executions.registry import task
from executions.rules.definition import InvalidDefinition, parse
from executions.rules.functions import ExpressionError
from executions.rules.graph import Graph, Node
from executions.rules.loops import Structure, find_structure, last_nodes, last_of_run
from executions.rules.policies import Pin, read_pins
from executions.rules.retry import NO_RETRY, Retry
from executions.rules.scheduling import Frame, Job, Schedule
from executions.rules.scope import Scope
from executions.rules.templates import Renderer

Json = Any

MAX_CONTEXT = 50_000_000
_NODE_ERRORS = (StepFailed, FlowMaestroError, ExpressionError)


class WorkflowFailed(Exception):
    """The workflow ended with failures nobody handled; `output` is what it came to all the same."""

    non_retryable = True

    def __init__(self, message: str, output: dict[str, Json]) -> None:
        super().__init__(message)
        self.output = output


@task("orchestrator", retry=NO_RETRY)
async def orchestrator(payload: Json, ctx: Any) -> Json:
    """Run a workflow: {workflowDefinition | workflowId, inputs, pins, userId?}."""
    graph, pins, inputs = await _prepare(payload, ctx)
    execution_id = str(payload.get("executionId") or ctx.run_id)
    run = WorkflowRun(graph, ctx, pins=pins, inputs=inputs, execution_id=execution_id)
    if payload.get("userId") is not None:
        run.scope.set_variable("userId", payload["userId"])
    return await run.carry_out()


async def _prepare(payload: Json, ctx: Any) -> tuple[Graph, dict[str, Pin], Mapping[str, Json]]:
    """The graph, pins and inputs of a payload; what is wrong with them fails the run for good."""
    try:
        if not isinstance(payload, Mapping):
            raise Invalid("The payload is an object with workflowDefinition.", field="payload")
        definition = payload.get("workflowDefinition")
        if definition is None:
            workflow_id = payload.get("workflowId")
            if not isinstance(workflow_id, str):
                raise Invalid(
                    "The payload names no workflow; give workflowDefinition or workflowId.",
                    field="workflowDefinition",
                )
            found = await ctx.step(
                "definition",
                workflows.load_definition,
                workflow_id,
                ctx.workspace,
                retry=Retry(non_retryable=("not_found",)),
            )
            definition = found["definition"]
        inputs = payload.get("inputs")
        if inputs is not None and not isinstance(inputs, Mapping):
            raise Invalid("`inputs` is an object.", field="inputs")
        given = payload.get("pins")
        pinned = frozenset(given) if isinstance(given, Mapping) else frozenset()
        graph = parse(definition, nodes.find, pinned=pinned)
        return graph, read_pins(given, graph.nodes), inputs or {}
    except (FlowMaestroError, StepFailed) as error:
        message = error.message
        output: dict[str, Json] = {
            "success": False, "status": "failed", "outputs": {}, "error": message, "nodes": {},
        }  # fmt: skip
        if isinstance(error, InvalidDefinition):
            output["issues"] = [issue.as_json() for issue in error.issues]
        ctx.metadata.set("status", "failed")
        ctx.metadata.set("event", {"type": "failed"})
        ctx.emit("failed", {"error": message})
        raise WorkflowFailed(message, output) from error


class WorkflowRun:
    """One run of a graph: its schedule, its context, and the asyncio tasks of its nodes.

    Each node runs in an asyncio task with a branch of its own; what they come to is handled one
    by one here, in the order in which they ended, so a replay decides as the first time.
    """

    def __init__(
        self,
        graph: Graph,
        ctx: Any,
        *,
        pins: Mapping[str, Pin],
        inputs: Mapping[str, Json],
        execution_id: str,
    ) -> None:
        self.graph = graph
        self.ctx = ctx
        self.pins = pins
        self.scope = Scope(
            inputs,
            defaults={
                "env": nodes.allowed_environment(),
                "execution": {"id": execution_id},
                # What started the run, by the name that templates of triggered workflows use.
                "trigger": inputs,
            },
        )
        self._structure: Structure = find_structure(graph)
        self._schedule = Schedule(self._structure)
        self._results = Results(graph, last_of_run(self._structure))
        self._progress = Progress(ctx, graph, execution_id)
        self._branches: dict[tuple[str, ...], Any] = {(): ctx}
        self._scopes: dict[Frame, Scope] = {self._schedule.root: self.scope}
        self._loops: dict[Job, LoopRun] = {}
        self._ended: deque[Callable[[], None]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._limit: asyncio.Future[Any] | None = None
        self._sizes: dict[str, int] = {}
        self._context_size = 0
        self._last = {
            loop: last_nodes(self._structure, body) for loop, body in self._structure.bodies.items()
        }

    async def carry_out(self) -> dict[str, Json]:
        """Run every node that is to run. Raises WorkflowFailed when a failure is left over."""
        self._progress.started()
        timed_out = False
        if self.graph.settings.timeout_seconds is not None:
            self._limit = self.ctx.active_limit(self.graph.settings.timeout_seconds)
        try:
            self._advance()
            while not self._schedule.is_finished and not timed_out:
                timed_out = not await self._wait()
                while self._ended:
                    self._ended.popleft()()
                self._advance()
        finally:
            # Also when the run leaves memory in the middle: its nodes' tasks must not stay behind.
            for each in self._tasks:
                each.cancel()
        return self._finish(timed_out)

    def _advance(self) -> None:
        """Start what may start, until nothing more changes without a node's end."""
        schedule = self._schedule
        while True:
            for node, frame in schedule.skipped:
                self._skipped(node, frame)
            schedule.skipped.clear()
            if schedule.closed_rounds:
                rounds, schedule.closed_rounds = schedule.closed_rounds, []
                for frame in rounds:
                    self._round_ended(frame)
                continue
            jobs = schedule.take()
            if not jobs:
                return
            for job in jobs:
                self._start(job)

    async def _wait(self) -> bool:
        """Wait for the next node to end; False when the run's active time is used up."""
        waited: set[asyncio.Future[Any]] = {*self._tasks}
        if self._limit is not None:
            waited.add(self._limit)
        done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        for each in self._tasks & done:
            each.result()
        self._tasks -= done
        return self._limit not in done

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.get_running_loop().create_task(coroutine))

    # ---- one node -------------------------------------------------------------------------------

    def _start(self, job: Job) -> None:
        self._progress.node_started(job.node, job.key)
        self._spawn(self._run(job, self._branch((*job.frame.path, job.node.id))))

    async def _run(self, job: Job, branch: Any) -> None:
        node = job.node
        scope = self._scope(job.frame)
        call = NodeCall(
            node=node,
            config=node.config,
            scope=scope,
            render=Renderer(scope),
            incoming=self._incoming(node, scope),
            workspace=self.ctx.workspace,
            pauses=Pause(self._progress, node, job.key),
        )
        try:
            found = await run_in_steps(branch, Work(call, self.pins.get(node.id)))
        except _NODE_ERRORS as error:
            failure = error_json(error)
            attempts = getattr(error, "attempts", 1)
            self._ended.append(lambda: self._settle_failure(job, failure, attempts))
            return
        self._ended.append(lambda: self._succeeded(job, found))

    def _incoming(self, node: Node, scope: Scope) -> list[Json]:
        sources = dict.fromkeys(edge.source for edge in self.graph.in_edges[node.id])
        missing = object()
        values = (scope.nearest_output(source, missing) for source in sources)
        return [value for value in values if value is not missing]

    def _succeeded(self, job: Job, found: dict[str, Json]) -> None:
        if job.node.spec.is_loop:
            self._begin_loop(job, found)
            return
        scope = self._scope(job.frame)
        effects = effects_of(scope, found)
        refusal = self._keep(job, found["output"], found["size"])
        if refusal is not None:
            self._settle_failure(job, refusal, found["attempts"])
            return
        keep_effects(scope, job.node, effects)
        self._results.completed(job.node, found)
        self._progress.node_completed(job.node, job.key, found)
        self._schedule.complete(job, found.get("handle"))

    def _settle_failure(self, job: Job, failure: dict[str, Json], attempts: int) -> None:
        node, schedule = job.node, self._schedule
        handling = schedule.handling(node)
        output: Json = {"error": failure}
        handle = None
        if handling == "fallback":
            try:
                output, handle = fallback_of(node, self._scope(job.frame))
            except (ExpressionError, RecursionError) as error:
                handling, failure = "fail", {**failure, "message": f"{failure['message']} {error}"}
        elif handling == "continue" and "false" in node.spec.handles:
            # A condition that could not be evaluated does not hold.
            handle = "false"
        if handling != "fail":
            self._keep(job, output, json_size(output))
        self._progress.node_failed(node, job.key, failure, handling)
        self._results.failed(node, failure, attempts, handling, output)
        if handling in ("continue", "fallback"):
            schedule.complete(job, handle)
        else:
            schedule.fail(job, handling)

    def _skipped(self, node_id: str, frame: Frame) -> None:
        node = self.graph.nodes[node_id]
        self._results.skipped(node)
        self._progress.node_skipped(node, Job(node, frame).key)

    def _keep(self, job: Job, output: Json, size: int) -> dict[str, Json] | None:
        """Put an output into the context; the refusal when the context would be too large."""
        self._context_size += size - self._sizes.get(job.node.id, 0)
        self._sizes[job.node.id] = size
        if self._context_size > MAX_CONTEXT:
            return {
                "type": "too_large",
                "message": f"With the output of node {job.node.id!r} the run's context is over "
                f"{MAX_CONTEXT:,} characters; pass on less.",
            }
        self._scope(job.frame).set_output(job.node.id, output)
        return None

    # ---- loops ----------------------------------------------------------------------------------

    def _begin_loop(self, job: Job, found: dict[str, Json]) -> None:
        loop = LoopRun(
            job,
            self._scope(job.frame),
            found,
            has_body=self._schedule.has_body(job.node),
            pin=self.pins.get(job.node.id),
        )
        self._loops[job] = loop
        self._schedule.open_loop(job)
        self._advance_loop(loop)

    def _advance_loop(self, loop: LoopRun) -> None:
        while loop.may_begin:
            self._begin_round(loop)
        if not loop.failures and loop.needs_check and not loop.reached_limit():
            loop.is_checking = True
            branch = self._branch((*loop.job.frame.path, f"{loop.job.node.id}[{loop.next_index}]?"))
            self._spawn(self._check(loop, branch))
        if loop.has_ended:
            self._end_loop(loop)

    def _begin_round(self, loop: LoopRun) -> None:
        scope = loop.round_scope()
        frame = self._schedule.open_round(loop.job, loop.begin_round())
        self._scopes[frame] = scope

    async def _check(self, loop: LoopRun, branch: Any) -> None:
        try:
            answer = bool(
                await branch.step("check", evaluate_condition, loop, pure=True, retry=NO_RETRY)
            )
        except _NODE_ERRORS as error:
            failure = error_json(error)
            self._ended.append(lambda: self._check_failed(loop, failure))
            return
        self._ended.append(lambda: self._checked(loop, answer))

    def _checked(self, loop: LoopRun, answer: bool) -> None:
        loop.is_checking = False
        if answer:
            self._begin_round(loop)
        else:
            loop.is_over = True
            loop.wanted = loop.next_index
        self._advance_loop(loop)

    def _check_failed(self, loop: LoopRun, failure: dict[str, Json]) -> None:
        del self._loops[loop.job]
        self._schedule.running += 1
        self._settle_failure(loop.job, failure, 1)

    def _round_ended(self, frame: Frame) -> None:
        assert frame.loop is not None
        loop = self._loops[frame.loop]
        scope = self._scopes.pop(frame)
        loop.end_round(frame, scope, self._last[frame.loop.node.id])
        self._branches.pop(frame.path, None)
        loop.export(frame.round, scope)
        self._advance_loop(loop)

    def _end_loop(self, loop: LoopRun) -> None:
        job, node = loop.job, loop.job.node
        del self._loops[job]
        if loop.next_index == 0 and self._schedule.has_body(node):
            for key in self._schedule.body_of(node):
                self._skipped(key, job.frame)
        if loop.failures:
            names = ", ".join(repr(name) for name in dict.fromkeys(loop.failures))
            self._results.inner_failures(node, loop.failures)
            self._schedule.running += 1
            self._settle_failure(
                job,
                {"type": "round_failed", "message": f"A round of the loop failed at {names}."},
                loop.attempts,
            )
            return
        loop.export_latest()
        output = loop.output()
        size = json_size(output)
        refusal = self._keep(job, output, size)
        if refusal is not None:
            self._schedule.running += 1
            self._settle_failure(job, refusal, loop.attempts)
            return
        found: dict[str, Json] = {"output": output, "size": size, "attempts": loop.attempts}
        if loop.warnings:
            found["warnings"] = loop.warnings
        self._results.completed(node, found)
        self._progress.node_completed(node, job.key, found)
        self._schedule.close_loop(job, rounds=loop.next_index)

    # ---- the end --------------------------------------------------------------------------------

    def _finish(self, timed_out: bool) -> dict[str, Json]:
        for node, message in self._schedule.errors.items():
            self._results.stopped(self.graph.nodes[node], message)
        error = self._results.error_text(self._schedule.failures)
        if timed_out:
            limit = self.graph.settings.timeout_seconds
            error = f"The workflow took longer than its limit of {limit:g} s (settings.timeout)."
        self._progress.ended(error=error)
        output = self._results.as_json(error)
        if error is not None:
            raise WorkflowFailed(error, output)
        return output

    def _scope(self, frame: Frame) -> Scope:
        return self._scopes[frame.scope]

    def _branch(self, path: tuple[str, ...]) -> Any:
        """The context at a path; those of rounds are kept while the round lasts."""
        known = self._branches.get(path)
        if known is None:
            known = self._branch(path[:-1]).branch(path[-1])
            if path[-1] not in self.graph.nodes:
                self._branches[path] = known
        return known
