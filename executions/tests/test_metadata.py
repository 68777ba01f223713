"""What a run shows: metadata, the gap-free event log, output streams."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from executions import runs
from executions.engine.context import Context
from executions.errors import FlowMaestroError
from executions.models import StreamChunk
from executions.registry import task
from executions.tests.bodies import AT_ONCE, ONCE, noted, noted_async, until_parked
from executions.tests.conftest import eventually, until_status


def shown(run_id: str) -> Any:
    """The run's metadata as everybody sees it."""
    return runs.retrieve(run_id).data.metadata


def own_events(run_id: str) -> list[Any]:
    """Type and data of the events that the code itself emitted."""
    events = runs.events(run_id, limit=100_000)
    return [(event.type, event.data) for event in events if "." not in event.type]


def assert_gap_free(run_id: str) -> None:
    """Event numbers are 1..n."""
    numbers = [event.seq for event in runs.events(run_id, limit=100_000)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert runs.retrieve(run_id).event_seq == len(numbers)


# ---- metadata -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "after"),
    [(lambda m: m.set("a", 2), {"a": 2, "list": [1, 2, 1]}),
     (lambda m: m.set("b", {"x": [1]}), {"a": 1, "list": [1, 2, 1], "b": {"x": [1]}}),
     (lambda m: m.delete("a").delete("nothing"), {"list": [1, 2, 1]}),
     (lambda m: m.append("list", 3).append("new", 1), {"a": 1, "list": [1, 2, 1, 3], "new": [1]}),
     (lambda m: m.remove("list", 1), {"a": 1, "list": [2]}),
     (lambda m: m.increment("a").increment("b", 2.5), {"a": 2, "list": [1, 2, 1], "b": 2.5}),
     (lambda m: m.decrement("a", 3), {"a": -2, "list": [1, 2, 1]}),
     (lambda m: m.replace({"c": None}), {"c": None})],
    ids=["set", "nested", "delete", "append", "remove", "increment", "decrement", "replace"],
)  # fmt: skip
def test_an_operation_changes_what_is_shown_and_what_is_read(executor, change, after):
    @task("metadata.change", retry=ONCE)
    async def changes(payload, ctx):
        change(ctx.metadata)
        return ctx.metadata.current()

    handle = changes.trigger(metadata={"a": 1, "list": [1, 2, 1]})
    assert handle.result(timeout=5) == after
    assert shown(handle.id) == after


@pytest.mark.parametrize(
    ("change", "field"),
    [(lambda m: m.set("", 1), "metadata"), (lambda m: m.increment("n", "x"), "metadata.n"),
     (lambda m: m.replace([1]), "metadata"), (lambda m: m.set("n", float("nan")), "metadata"),
     (lambda m: m.set("n", "nul\0"), "metadata"), (lambda m: m.set("\ud800", 1), "metadata"),
     (lambda m: m.set("n", "x" * 262_144), "metadata"),
     (lambda m: m.decrement("n", None), "metadata.n")],
)  # fmt: skip
def test_a_change_that_cannot_be_shown_is_refused_and_the_run_goes_on(executor, change, field):
    @task("metadata.refused", retry=ONCE)
    async def refused(payload, ctx):
        ctx.metadata.set("kept", 1)
        try:
            change(ctx.metadata)
        except FlowMaestroError as error:
            return error.field

    handle = refused.trigger()
    assert handle.result(timeout=5) == field
    assert shown(handle.id) == {"kept": 1}


@task("metadata.resumed", retry=ONCE)
async def resumed(payload, ctx):
    seen = []
    for n in range(payload):
        ctx.metadata.increment("count").append("list", n)
        ctx.emit("tick", {"n": n})
        ctx.stream("out").append(n)
        seen.append(ctx.metadata.get("count"))
        await ctx.wait_for_signal("go")
    return seen


def test_what_was_shown_is_not_repeated_when_the_run_resumes(executors):
    handle = resumed.trigger(4)
    for n in range(4):
        executor = executors()
        until_parked(executor, handle.id)
        executor.stop(0)
        assert shown(handle.id) == {"count": n + 1, "list": list(range(n + 1))}
        runs.signal(handle.id, "go")
    executors()
    assert handle.result(timeout=5) == [1, 2, 3, 4]
    assert shown(handle.id) == {"count": 4, "list": [0, 1, 2, 3]}
    assert [d for t, d in own_events(handle.id) if t == "tick"] == [{"n": n} for n in range(4)]
    assert [chunk.data for chunk in StreamChunk.objects.filter(run=handle.id)] == [0, 1, 2, 3]
    assert_gap_free(handle.id)


def test_what_a_body_shows_reads_the_same_when_the_run_resumes(executors):
    seen: list[Any] = []

    @task("metadata.from-body", retry=ONCE)
    async def from_body(payload, ctx):
        await ctx.step("plain", lambda: ctx.metadata.set("thread", 1) and None)
        await ctx.step("work", asyncio.to_thread, lambda: ctx.metadata.increment("n") and None)
        seen.append(ctx.metadata.current())
        await ctx.wait_for_signal("go")

    first = executors()
    handle = from_body.trigger()
    until_parked(first, handle.id)
    assert shown(handle.id) == {"thread": 1, "n": 1}
    first.stop(0)
    executors()
    runs.signal(handle.id, "go")
    handle.result(timeout=5)
    assert seen[0] == seen[1]


def test_a_second_attempt_of_the_run_shows_what_it_does(executor):
    @task("metadata.second-attempt", retry=AT_ONCE)
    async def second_attempt(payload, ctx):
        ctx.metadata.set("attempt", ctx.attempt)
        ctx.emit("attempt", {"n": ctx.attempt})
        if ctx.attempt == 1:
            ctx.metadata.set("phase", "failing")
            raise ValueError("not yet")
        ctx.metadata.set("phase", "done")
        return ctx.metadata.get("attempt")

    handle = second_attempt.trigger()
    assert handle.result(timeout=8) == 2
    assert shown(handle.id) == {"attempt": 2, "phase": "done"}
    assert [d["n"] for t, d in own_events(handle.id) if t == "attempt"] == [1, 2]


# ---- events -------------------------------------------------------------------------------------


def test_the_log_tells_the_life_of_a_run(executor):
    @task("metadata.life", retry=ONCE)
    async def life(payload, ctx):
        await ctx.step("s", noted)
        ctx.emit("custom", {"a": 1})
        ctx.metadata.set("k", "v")
        await ctx.wait_for_signal("go")

    handle = life.trigger()
    until_parked(executor, handle.id)
    runs.signal(handle.id, "go")
    handle.result(timeout=5)
    types = [event.type for event in runs.events(handle.id)]
    assert types[0] == "run.queued"
    assert types[-1] == "run.completed"
    told = ["run.started", "step.completed", "custom", "metadata", "run.waiting", "run.resumed"]
    assert [one for one in types if one in told] == [*told, "step.completed"]
    assert runs.events(handle.id, after=3)[0].seq == 4
    assert_gap_free(handle.id)


def test_numbers_have_no_gap_while_several_writers_write(executor):
    def enrol(name: str) -> None:
        get_user_model().objects.create(username=name)

    @task("metadata.crowd", retry=ONCE)
    async def crowd(payload, ctx):
        async def one(branch, n):
            for k in range(5):
                branch.metadata.increment("count")
                branch.emit("tick", {"n": n, "k": k})
                branch.stream("out").append([n, k])
                await branch.step(f"a{k}", noted_async)
                await branch.step(f"t{k}", enrol, f"u{n}-{k}", transactional=True)
            await branch.wait_for_signal(f"go{n}")

        await asyncio.gather(*(one(ctx.branch(f"b{n}"), n) for n in range(8)))

    handle = crowd.trigger()

    def signal(n: int) -> None:
        runs.signal(handle.id, f"go{n}")
        connection.close()

    threads = [threading.Thread(target=signal, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handle.result(timeout=10)
    assert_gap_free(handle.id)
    assert shown(handle.id) == {"count": 40}
    ticks = [(d["n"], d["k"]) for t, d in own_events(handle.id) if t == "tick"]
    assert sorted(ticks) == [(n, k) for n in range(8) for k in range(5)]
    chunks = StreamChunk.objects.filter(run=handle.id, stream="out")
    assert [chunk.index for chunk in chunks] == list(range(40))


@pytest.mark.parametrize("end", [runs.cancel, runs.terminate])
def test_the_last_event_of_a_run_that_was_ended_from_outside_leaves_no_gap(executor, end):
    handle = resumed.trigger(2)
    until_parked(executor, handle.id)
    end(handle.id)
    until_status(handle.id, "CANCELED")
    assert runs.events(handle.id)[-1].type == "run.canceled"
    assert_gap_free(handle.id)


def test_an_event_emitted_in_a_body_costs_no_later_event(executors):
    @task("metadata.emit-inside", retry=ONCE)
    async def emit_inside(payload, ctx):
        async def body() -> None:
            try:
                ctx.emit("inside")
            except FlowMaestroError:
                noted()

        await ctx.step("s", body)
        ctx.emit("one")
        await ctx.wait_for_signal("go")
        ctx.emit("two")
        ctx.emit("three")

    first = executors()
    handle = emit_inside.trigger()
    until_parked(first, handle.id)
    first.stop(0)
    executors()
    runs.signal(handle.id, "go")
    handle.result(timeout=5)
    types = [kind for kind, _ in own_events(handle.id)]
    assert [kind for kind in types if kind in ("one", "two", "three")] == ["one", "two", "three"]


@pytest.mark.parametrize("data", [float("nan"), "nul\0", "\ud800", object()])
def test_an_event_that_is_not_json_is_refused(executor, data):
    @task("metadata.bad-event", retry=ONCE)
    async def bad_event(payload, ctx):
        try:
            ctx.emit("bad", data)
        except FlowMaestroError as error:
            return error.field

    assert bad_event.trigger().result(timeout=5) == "data"


# ---- streams ------------------------------------------------------------------------------------


def test_chunks_from_bodies_threads_and_code_are_numbered_without_a_gap(executor):
    @task("metadata.streams", retry=ONCE)
    async def streams(payload, ctx):
        stream = ctx.stream("out")

        async def on_loop() -> None:
            for n in range(10):
                stream.append({"loop": n})
                await asyncio.sleep(0.005)

        def on_thread() -> None:
            for n in range(10):
                stream.append({"thread": n})

        ctx.stream("other").append("first")
        await asyncio.gather(
            ctx.branch("a").step("loop", on_loop), ctx.branch("b").step("thread", on_thread)
        )
        stream.append("last")

    handle = streams.trigger()
    handle.result(timeout=5)
    chunks = list(StreamChunk.objects.filter(run=handle.id, stream="out"))
    assert [chunk.index for chunk in chunks] == list(range(21))
    assert chunks[-1].data == "last"
    threads = [c.data["thread"] for c in chunks if isinstance(c.data, dict) and "thread" in c.data]
    assert threads == list(range(10))
    other = StreamChunk.objects.get(run=handle.id, stream="other")
    assert (other.index, other.data) == (0, "first")


def test_chunks_are_readable_while_the_body_that_makes_them_runs(executor):
    release = threading.Event()

    @task("metadata.live-stream", retry=ONCE)
    async def live_stream(payload, ctx):
        async def talk() -> None:
            ctx.stream("llm").append("hel")
            while not release.is_set():
                await asyncio.sleep(0.005)
            ctx.stream("llm").append("lo")

        await ctx.step("talk", talk)

    handle = live_stream.trigger()
    eventually(lambda: StreamChunk.objects.filter(run=handle.id), seconds=3)
    assert handle.retrieve().status == "EXECUTING"
    release.set()
    handle.result(timeout=5)
    text = "".join(chunk.data for chunk in StreamChunk.objects.filter(run=handle.id))
    assert text == "hello"


@pytest.mark.parametrize("chunk", [float("nan"), "nul\0", "\ud800"])
def test_a_chunk_that_is_not_json_is_refused(executor, chunk):
    @task("metadata.bad-chunk", retry=ONCE)
    async def bad_chunk(payload, ctx):
        try:
            ctx.stream("out").append(chunk)
        except FlowMaestroError as error:
            return error.field

    assert bad_chunk.trigger().result(timeout=5) == "chunk"


@task("metadata.reporting-child")
async def reporting_child(payload: int, ctx: Context) -> int:
    ctx.metadata.set("own", payload)
    ctx.metadata.parent.increment("done").append("numbers", payload)
    ctx.metadata.root.set("last", "seen")
    await ctx.sleep(0.01)
    return payload


@task("metadata.watched-parent")
async def watched_parent(payload: int, ctx: Context) -> int:
    results = await ctx.batch_trigger_and_wait("metadata.reporting-child", list(range(payload)))
    return len(results)


def test_children_change_the_metadata_of_their_parent_and_root(executor):
    handle = watched_parent.trigger(30)
    assert handle.result(timeout=10) == 30
    shown = runs.retrieve(handle.id).data.metadata
    assert shown["done"] == 30
    assert sorted(shown["numbers"]) == list(range(30))
    assert shown["last"] == "seen"
    events = runs.events(handle.id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert sum(event.type == "metadata" for event in events) == 90


def test_a_run_without_a_parent_changes_its_own(executor):
    handle = reporting_child.trigger(5)
    assert handle.result(timeout=5) == 5
    assert runs.retrieve(handle.id).data.metadata == {
        "own": 5, "done": 1, "numbers": [5], "last": "seen",
    }  # fmt: skip
