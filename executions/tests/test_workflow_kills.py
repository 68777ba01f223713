"""A worker dies in the middle of a loop, a join or a review, and the workflow does not notice."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from executions import runs, tokens
from executions.models import Run, RunEvent, Step
from executions.orchestrator import orchestrator
from executions.testing import Engine
from executions.tests.clusters import alive, kill_holder, running_cluster
from executions.tests.conftest import eventually, until_status
from executions.tests.flows import flow

Json = Any

BRANCHES = ("left", "right", "third")


class Counting(ThreadingHTTPServer):
    """Counts what it is asked; an answer takes as long as the test says."""

    daemon_threads = True
    seconds = 0.0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Counting

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        time.sleep(self.server.seconds)
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(f"answer to {self.path}".encode())


@pytest.fixture
def web() -> Iterator[Counting]:
    """Where the effects of workflows can be counted."""
    server = Counting()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def definition(rounds: int) -> dict[str, Json]:
    """A loop with a join in its body, three branches that join, a review, and one more effect."""

    def ask(path: str) -> tuple[str, dict[str, Json]]:
        return ("http", {"url": "{{web}}/" + path})

    return flow(
        {
            "in": "input",
            "l": ("loop", {"loopType": "count", "count": rounds}),
            "effect": ask("round-{{loop.index}}"),
            "aside": ("transform", {"operation": "template", "template": "a{{loop.index}}"}),
            "both": ("transform", {"operation": "template",
                                   "template": "{{effect.data}} {{aside}}"}),
            **{name: ask(name) for name in BRANCHES},
            "join": ("transform", {"operation": "template",
                                   "template": [f"{{{{{name}.data}}}}" for name in BRANCHES]}),
            "ask": ("humanReview", {"prompt": "Go?", "variableName": "go"}),
            "last": ask("last-{{go}}"),
            "r": ("output", {"outputName": "r", "format": "json", "value":
                             ["{{l.results}}", "{{join}}", "{{go}}", "{{last.data}}"]}),
        },
        "in>l", "l:body>effect", "l:body>aside", "effect>both", "aside>both", "both>l",
        *(f"l:done>{name}" for name in BRANCHES), *(f"{name}>join" for name in BRANCHES),
        "join>ask", "ask>last", "last>r",
    )  # fmt: skip


def expected(rounds: int) -> Json:
    return [
        [f"answer to /round-{number} a{number}" for number in range(rounds)],
        [f"answer to /{name}" for name in BRANCHES],
        "yes",
        "answer to /last-yes",
    ]


def effects(rounds: int) -> set[str]:
    return {
        *(f"/round-{n}" for n in range(rounds)),
        *(f"/{name}" for name in BRANCHES),
        "/last-yes",
    }


def check_ended(run: Run, rounds: int, asked: list[str]) -> None:
    """The run ended as if nothing had happened, and its log has no gap."""
    assert run.status == "COMPLETED", run.error
    assert run.output["outputs"] == {"r": expected(rounds)}
    assert {entry["status"] for entry in run.output["nodes"].values()} == {"completed"}
    assert set(asked) == effects(rounds)
    events = list(RunEvent.objects.filter(run_id=run.id).order_by("seq"))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    done = Counter(event.data["key"] for event in events if event.type == "node_completed")
    assert set(done.values()) == {1}
    assert len(done) == 3 * rounds + 9


def play(engine: Engine, web: Counting, rounds: int, *, after: str | None = None) -> Run:
    """One run to its end; with `after`, its worker dies once that step is stored."""
    web.asked.clear()
    if after is not None:
        engine.crash(after=after)
    handle = engine.trigger(
        orchestrator, {"workflowDefinition": definition(rounds), "inputs": {"web": web.address}}
    )
    engine.run_until_idle()
    tokens.complete(engine.token(handle).id, "yes")
    engine.run_until_idle()
    return handle.retrieve()


def beside(key: str) -> set[str]:
    """Effects that may be under way when this step is stored, and so may happen twice."""
    first, *rest = key.split("/")
    if first in BRANCHES:
        return {f"/{name}" for name in BRANCHES}
    if rest[:1] == ["aside"]:
        return {f"/round-{first[len('l[') : -1]}"}
    return set()


def test_a_worker_may_die_after_any_step_of_a_loop_a_join_and_a_review(engine, web, settings):
    settings.FLOWMAESTRO = dataclasses.replace(
        settings.FLOWMAESTRO, OUTBOUND_ALLOW_PRIVATE=("127.0.0.1",)
    )
    rounds = 2
    whole = play(engine, web, rounds)
    check_ended(whole, rounds, web.asked)
    steps = list(Step.objects.filter(run_id=whole.id).order_by("seq").values_list("key", flat=True))
    assert len(steps) > 3 * rounds + 9
    for key in steps:
        run = play(engine, web, rounds, after=key)
        check_ended(run, rounds, web.asked)
        assert runs.retrieve(run.id).stalls <= 1
        resumed = RunEvent.objects.filter(run_id=run.id, type="run.resumed").count()
        # Once because of the death; the review itself is answered out of memory.
        assert resumed >= 1, f"no worker died after {key}"
        repeated = {path for path, times in Counter(web.asked).items() if times > 1}
        assert repeated <= beside(key), key


def stored(run_id: str) -> set[str]:
    """The paths whose node is stored as done."""
    keys = Step.objects.filter(run_id=run_id, status="COMPLETED").values_list("key", flat=True)
    paths = set()
    for key in keys:
        place, _, node = key.removesuffix("/run").rpartition("/")
        if node == "effect":
            paths.add("/round-" + place.removeprefix("l[").removesuffix("]"))
        elif node in BRANCHES:
            paths.add("/" + node)
    return paths


def kill_and_note(run_id: str, web: Counting) -> tuple[set[str], Counter[str]]:
    """Kills the holder; what was stored by then, and what had been asked so far."""
    done = stored(run_id)
    kill_holder(run_id)
    return done, Counter(web.asked)


def test_a_cluster_loses_workers_in_a_loop_a_join_and_a_review(database_url, web):
    rounds = 6
    web.seconds = 0.1
    killed = []
    with running_cluster(database_url, OUTBOUND_ALLOW_PRIVATE="127.0.0.1"):
        handle = orchestrator.trigger(
            {"workflowDefinition": definition(rounds), "inputs": {"web": web.address}}
        )
        for reached in ("/round-3", "/left"):
            eventually(lambda path=reached: path in web.asked, seconds=20)
            killed.append(kill_and_note(handle.id, web))
            eventually(lambda: len(alive()) == 2, seconds=20)
        run = until_status(handle.id, "WAITING", seconds=20)
        form = eventually(lambda: runs.retrieve(run.id).data.metadata.get("pauseContext"))
        # Nobody holds a parked run; its answer finds other workers than those that asked.
        asking = {worker.pid for worker in alive()}
        for pid in asking:
            os.kill(pid, signal.SIGKILL)
        tokens.complete(form["tokenId"], "yes")
        run = until_status(handle.id, "COMPLETED", "FAILED", "NEEDS_ATTENTION", seconds=30)
    check_ended(run, rounds, web.asked)
    after = Counter(web.asked)
    assert {"/round-0", "/round-1", "/round-2"} <= killed[0][0]
    for done, before in killed:
        for path in done:
            assert after[path] == before[path], f"{path} was stored and happened again"
    assert sum(after.values()) - len(effects(rounds)) <= 1 + len(BRANCHES)
