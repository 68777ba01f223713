"""A worker that stops while runs are under way: what it parks then wakes like any other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from executions import runs, tokens
from executions.engine.context import Context
from executions.engine.executor import Executor
from executions.registry import task
from executions.rules.retry import NO_RETRY
from executions.tests.conftest import eventually, until_status

gate = threading.Event()
is_inside = threading.Event()


def wait_at_gate() -> None:
    is_inside.set()
    gate.wait(10)


@task("stopping.tokens", retry=NO_RETRY)
async def two_tokens(payload: Any, ctx: Context) -> list[Any]:
    first, second = await ctx.create_token("first"), await ctx.create_token("second")
    ctx.metadata.set("tokens", [first.id, second.id])
    one = (await ctx.wait_for_token(first)).unwrap()
    await ctx.step("gate", wait_at_gate)
    # Its outcome came before this wait begins, so that only a look at the rows finds it.
    return [one, (await ctx.wait_for_token(second)).unwrap()]


def test_a_run_that_begins_a_wait_while_its_worker_stops_finds_what_came_before(
    executors: Callable[[], Executor],
) -> None:
    gate.clear()
    is_inside.clear()
    worker = executors()
    handle = two_tokens.trigger()
    first, second = until_status(handle.id, "WAITING").data.metadata["tokens"]
    tokens.complete(second, 2)
    tokens.complete(first, 1)
    assert is_inside.wait(10)
    stop = threading.Thread(target=worker.stop, args=(5,))
    stop.start()
    eventually(lambda: worker.stopping)
    gate.set()
    stop.join(15)
    assert not stop.is_alive()
    assert runs.retrieve(handle.id).status != "WAITING"
    executors()
    assert handle.result(timeout=10) == [1, 2]
