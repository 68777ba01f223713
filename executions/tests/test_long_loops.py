"""Loops of many rounds: they end, go on after a worker's death, and a late round costs no more."""

from __future__ import annotations

from collections import Counter

import pytest

from executions.models import RunEvent, Step
from executions.nodes.expressions import without_results
from executions.orchestrator import orchestrator
from executions.tests.conftest import eventually, until_status
from executions.tests.flows import flow, run
from executions.tests.sizes import sized


def long_loop(rounds):
    return flow(
        {
            "l": ("loop", {"loopType": "count", "count": rounds, "maxIterations": 10_000}),
            "t": ("transform", {"operation": "template", "template": "{{loop.index}}"}),
            "r": ("output", {"outputName": "n", "value": "{{l.iterations}}", "format": "json"}),
        },
        "l:body>t", "t>l", "l:done>r",
    )  # fmt: skip


def test_a_long_loop_goes_on_where_it_was_when_its_worker_went(executors):
    rounds = sized(1_000, 10_000)
    first = executors()
    handle = orchestrator.trigger({"workflowDefinition": long_loop(rounds)})
    mark = f"l[{rounds // 2}]/t/run"
    eventually(lambda: Step.objects.filter(run_id=handle.id, key=mark).exists(), seconds=60)
    first.stop(0)
    executors()
    found = until_status(handle.id, "COMPLETED", "FAILED", "NEEDS_ATTENTION", seconds=120)
    assert found.status == "COMPLETED", found.error
    assert found.output["outputs"] == {"n": rounds}
    assert found.output["nodes"]["l"]["output"]["results"] == list(range(rounds))
    events = RunEvent.objects.filter(run_id=handle.id, type="node_completed")
    done = Counter(event.data["key"] for event in events)
    assert len(done) == rounds + 2
    assert set(done.values()) == {1}


STATE = {"index": 7, "total": 9, "results": [1] * 7}


@pytest.mark.parametrize(
    "code",
    ["loop.index * 2", "loop?.index", "{'a': loop . total}", "x => x + loop.index", "1", "item.k"],
)
def test_a_program_gets_the_results_so_far_only_where_it_asks(code):
    names = {"loop": STATE, "item": {"k": 1}}
    assert without_results(names, code) == {
        "loop": {"index": 7, "total": 9}, "item": {"k": 1},
    }  # fmt: skip
    assert names["loop"] is STATE


@pytest.mark.parametrize(
    "code",
    ["loop.results", "$count(loop.results)", "loop", "loop['results']", "loop[k]", "f(loop)",
     "JSON.stringify(inputs)", "{...loop}", "for k in variables: pass"],
)  # fmt: skip
def test_a_program_that_may_look_at_all_of_a_loop_gets_all_of_it(code):
    assert without_results({"loop": STATE}, code)["loop"] is STATE


@pytest.mark.parametrize("expression", ["$keys(loop)", "$keys($.loop)", "*.results ~> $count"])
def test_jsonata_finds_the_results_by_any_road(expression):
    body = ("transform", {"operation": "custom", "expression": expression})
    loop = ("loop", {"loopType": "count", "count": 1})
    result = run(flow({"l": loop, "b": body}, "l:body>b", "b>l"))
    (given,) = result["nodes"]["l"]["output"]["results"]
    assert given == 0 if "count" in expression else "results" in given


def test_rounds_see_the_results_before_theirs_and_keep_what_they_took_of_them():
    taken = {"strategy": "fallback", "fallbackValue": "{{loop.results}}"}
    definition = flow(
        {
            "l": ("loop", {"count": 3, "loopType": "count"}),
            "a": ("http", {"url": "no address", "retry": 1}, {"onError": taken}),
        },
        "l:body>a", "a>l",
    )  # fmt: skip
    result = run(definition)
    assert result["nodes"]["l"]["output"]["results"] == [[], [[]], [[], [[]]]]


def test_a_fallback_that_cannot_be_rendered_fails_its_node_alone():
    taken = {"strategy": "fallback", "fallbackValue": "{{'a'.slice(1, 2, 3, 4)}}"}
    definition = flow(
        {
            "a": ("http", {"url": "no address", "retry": 1}, {"onError": taken}),
            "r": ("output", {"outputName": "r", "value": "kept"}),
        }
    )
    result = run(definition)
    assert result["nodes"]["a"]["status"] == "failed"
    assert "fallbackValue" in result["nodes"]["a"]["error"]["message"]
    assert result["outputs"] == {"r": "kept"}
