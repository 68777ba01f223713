"""Tests of loops and scheduling: what is ready, live, skipped, and when rounds end."""

from __future__ import annotations

import random

import pytest

from executions import nodes
from executions.rules.definition import parse
from executions.rules.loops import find_structure
from executions.rules.scheduling import Schedule
from executions.tests.flows import flow

IF = ("conditional", {"leftValue": "1", "rightValue": "1"})
SWITCH = ("switch", {"expression": "x", "cases": [{"value": "a", "label": "First"}, "b"]})
LOOP = ("loop", {"arrayPath": "xs"})


def structure(*args, **more):
    return find_structure(parse(flow(*args, **more), nodes.find))


def schedule(*args, **more):
    return Schedule(structure(*args, **more))


def play(plan, handles=None, fails=(), order=None):
    """Run a schedule to its end; the ids of the nodes in the order in which they ran."""
    handles, ran, running = dict(handles or {}), [], []
    while not plan.is_finished:
        running.extend(plan.take())
        assert running, "the schedule stalls"
        position = order.randrange(len(running)) if order else 0
        job = running.pop(position)
        ran.append(job.node.id)
        if job.node.id in fails:
            plan.fail(job)
        else:
            handle = handles.get(job.node.id)
            plan.complete(job, handle.pop(0) if isinstance(handle, list) else handle)
    return ran


def skipped(plan):
    return [node for node, _ in plan.skipped]


def test_a_node_runs_when_all_its_edges_are_settled():
    plan = schedule(
        {"a": "noop", "b": "noop", "c": "noop", "d": "noop"}, "a>b", "a>c", "b>d", "c>d"
    )
    assert play(plan) == ["a", "b", "c", "d"]


def test_the_other_way_of_a_condition_is_skipped_with_all_behind_it():
    plan = schedule(
        {"c": IF, "y": "noop", "n": "noop", "n2": "noop", "j": "noop"},
        "c:true>y", "c:false>n", "n>n2", "n2>j", "y>j",
    )  # fmt: skip
    assert play(plan, {"c": "true"}) == ["c", "y", "j"]
    assert skipped(plan) == ["n", "n2"]


def test_two_edges_of_one_pair_let_the_target_run_either_way():
    for handle in ("true", "false"):
        plan = schedule({"c": IF, "t": "noop"}, "c:true>t", "c:false>t")
        assert play(plan, {"c": handle}) == ["c", "t"]


def test_a_join_goes_on_when_its_last_open_edge_dies():
    plan = schedule(
        {"a": "noop", "slow": "noop", "dead": "noop", "j": "noop"},
        "a>j", "a>slow", "slow>dead", "dead>j",
    )  # fmt: skip
    assert play(plan, fails={"slow"}) == ["a", "slow", "j"]
    assert plan.failures == ["slow"]
    assert skipped(plan) == ["dead"]


def test_a_join_of_dead_edges_only_is_skipped():
    plan = schedule({"a": "noop", "b": "noop", "j": "noop"}, "a>j", "b>j")
    assert play(plan, fails={"a", "b"}) == ["a", "b"]
    assert skipped(plan) == ["j"]


def test_a_failure_leaves_other_branches_alone():
    plan = schedule({"a": "noop", "b": "noop", "c": "noop", "d": "noop"}, "a>b", "c>d")
    assert play(plan, fails={"a"}) == ["a", "c", "d"]


def test_edges_without_a_handle_are_followed_whatever_was_chosen():
    plan = schedule({"c": IF, "y": "noop", "log": "noop"}, "c:true>y", "c>log")
    assert play(plan, {"c": "false"}) == ["c", "log"]


@pytest.mark.parametrize(
    ("chosen", "ran"),
    [
        ("a", ["s", "one"]),
        ("First", ["s", "one"]),
        ("case-0", ["s", "one"]),
        ("b", ["s", "two"]),
        ("default", ["s", "other", "plain"]),
        ("zebra", ["s"]),
    ],
)
def test_a_switch_leaves_by_any_name_of_its_case(chosen, ran):
    plan = schedule(
        {"s": SWITCH, "one": "noop", "two": "noop", "other": "noop", "plain": "noop"},
        "s:a>one", "s:case-1>two", "s:default>other", "s>plain",
    )  # fmt: skip
    assert play(plan, {"s": chosen}) == ran


def test_a_switch_without_handled_edges_is_followed_everywhere():
    plan = schedule({"s": SWITCH, "x": "noop", "y": "noop"}, "s>x", "s>y")
    assert play(plan, {"s": "a"}) == ["s", "x", "y"]


def test_an_error_edge_catches_a_failure():
    plan = schedule({"a": "noop", "ok": "noop", "bad": "noop"}, "a>ok", "a:error>bad")
    assert play(plan, fails={"a"}) == ["a", "bad"]
    assert plan.failures == []
    calm = schedule({"a": "noop", "ok": "noop", "bad": "noop"}, "a>ok", "a:error>bad")
    assert play(calm) == ["a", "ok"]


def test_goto_skips_the_ordinary_successors_and_runs_its_target():
    def plan():
        on_error = {"onError": {"strategy": "goto", "gotoNode": "rescue"}}
        return schedule({"a": ("noop", {}, on_error), "b": "noop", "rescue": "noop"}, "a>b")

    assert play(plan(), fails={"a"}) == ["a", "rescue"]
    assert play(plan()) == ["a", "b"]


@pytest.mark.parametrize("strategy", ["continue", "fallback"])
def test_a_failure_that_is_passed_over_lets_dependents_run(strategy):
    on_error = {"onError": {"strategy": strategy, "fallbackValue": 1}}
    plan = schedule({"a": ("noop", {}, on_error), "b": "noop"}, "a>b")
    assert play(plan, fails={"a"}) == ["a", "b"]
    assert plan.failures == []


def test_no_more_nodes_start_than_allowed_and_in_definition_order():
    listed = {f"n{number}": "noop" for number in range(5)}
    plan = schedule(listed, settings={"maxConcurrentNodes": 2})
    first = plan.take()
    assert [job.node.id for job in first] == ["n0", "n1"]
    assert plan.take() == []
    plan.complete(first[1])
    assert [job.node.id for job in plan.take()] == ["n2"]


def test_a_cycle_runs_again_until_its_condition_leaves_it():
    plan = schedule(
        {"in": "input", "draft": "noop", "check": IF, "out": "output"},
        "in>draft", "draft>check", "check:true>out", "check:false>draft",
    )  # fmt: skip
    ran = play(plan, {"check": ["false", "false", "true"]})
    assert ran == ["in", "draft", "check", "draft", "check", "draft", "check", "out"]
    assert plan.failures == []


def test_a_cycle_that_never_leaves_fails_with_a_sentence():
    plan = schedule(
        {"in": "input", "draft": "noop", "check": IF, "out": "output"},
        "in>draft", "draft>check", "check:true>out", "check:false>draft",
        settings={"maxRounds": 3},
    )  # fmt: skip
    ran = play(plan, {"check": ["false"] * 99})
    assert ran.count("draft") == 4
    assert plan.failures == ["draft"]
    assert "limit of 3 rounds" in plan.errors["draft"]
    assert skipped(plan) == ["out"]


def test_a_failure_inside_a_cycle_ends_it():
    plan = schedule(
        {"in": "input", "draft": "noop", "check": IF, "out": "output"},
        "in>draft", "draft>check", "check:true>out", "check:false>draft",
    )  # fmt: skip
    assert play(plan, {"check": ["false"]}, fails={"draft"}) == ["in", "draft"]
    assert plan.failures == ["draft"]


def test_what_a_round_of_a_cycle_starts_outside_runs_once_after_it():
    plan = schedule(
        {"in": "input", "draft": "noop", "check": IF, "note": "noop", "out": "output"},
        "in>draft", "draft>check", "check:true>out", "check:false>draft", "check:false>note",
    )  # fmt: skip
    assert play(plan, {"check": ["false", "true"]}).count("note") == 1


def test_a_cycle_inside_a_cycle_nests():
    plan = schedule(
        {"in": "input", "a": "noop", "b": "noop", "c": IF, "d": IF, "out": "output"},
        "in>a", "a>b", "b>c", "c:false>b", "c:true>d", "d:false>a", "d:true>out",
    )  # fmt: skip
    ran = play(plan, {"c": ["false", "true", "true"], "d": ["false", "true"]})
    assert ran == ["in", "a", "b", "c", "b", "c", "d", "a", "b", "c", "d", "out"]


def test_nodes_that_only_point_at_each_other_never_run():
    plan = schedule({"a": "noop", "x": "noop", "y": "noop"}, "x>y", "y>x")
    assert play(plan) == ["a"]
    assert sorted(skipped(plan)) == ["x", "y"]


def bodies(*args):
    return {key: set(region.members) for key, region in structure(*args).bodies.items()}


def test_the_body_is_what_a_body_edge_reaches_before_the_exit():
    found = bodies(
        {"l": LOOP, "a": "noop", "b": "noop", "log": "noop", "end": "output"},
        "l:body>a", "a>b", "b>l", "a>log", "l:done>end",
    )  # fmt: skip
    assert found == {"l": {"a", "b", "log"}}


def test_without_a_body_edge_it_is_what_returns_to_the_loop():
    found = bodies(
        {"l": LOOP, "a": "noop", "b": "noop", "end": "output"}, "l>a", "a>b", "b>l", "l>end"
    )
    assert found == {"l": {"a", "b"}}


def test_without_either_it_is_what_uses_the_item():
    definition = (
        {
            "in": "input",
            "l": ("loop", {"collection": "{{xs}}", "itemVariable": "row"}),
            "prepare": "noop",
            "use": ("output", {"value": "{{row.name}}"}),
            "after": ("output", {"value": "browser.row"}),
        },
        "in>l", "l>prepare", "prepare>use", "use>after",
    )  # fmt: skip
    assert bodies(*definition) == {"l": {"prepare", "use"}}
    warning = structure(*definition).warnings[0]
    assert (warning.code, warning.severity) == ("LOOP_NO_BODY", "warning")
    assert "prepare, use" in warning.message


def test_a_node_that_something_else_leads_to_is_no_implicit_body():
    found = bodies(
        {"in": "input", "l": LOOP, "use": ("output", {"value": "{{item}}"})},
        "in>l", "in>use", "l>use",
    )  # fmt: skip
    assert found == {}


def test_loops_nest():
    found = bodies(
        {"o": LOOP, "i": LOOP, "x": "noop", "y": "noop", "end": "output"},
        "o:body>i", "i:body>x", "x>i", "i:done>y", "y>o", "o:done>end",
    )  # fmt: skip
    assert found == {"o": {"i", "x", "y"}, "i": {"x"}}


def test_a_loop_runs_its_body_per_round_and_then_its_exit():
    plan = schedule({"l": LOOP, "a": "noop", "end": "output"}, "l:body>a", "a>l", "l:done>end")
    loop = plan.take()[0]
    plan.open_loop(loop)
    for number in range(3):
        plan.open_round(loop, number)
        (body,) = plan.take()
        assert body.key == f"l[{number}]/a"
        plan.complete(body)
        (frame,) = plan.closed_rounds
        assert frame.round == number
        plan.closed_rounds.clear()
    plan.close_loop(loop, rounds=3)
    assert [job.node.id for job in plan.take()] == ["end"]


def test_a_loop_without_rounds_leads_to_what_follows_its_body():
    plan = schedule(
        {"l": LOOP, "a": ("output", {"value": "{{item}}"}), "end": "output", "in": "input"},
        "l>a", "a>end", "in>end",
    )  # fmt: skip
    jobs = {job.node.id: job for job in plan.take()}
    plan.complete(jobs["in"])
    plan.open_loop(jobs["l"])
    plan.close_loop(jobs["l"], rounds=0)
    assert [job.node.id for job in plan.take()] == ["end"]


@pytest.mark.parametrize("seed", range(60))
def test_any_graph_ends_whatever_the_order_and_the_choices(seed):
    chance = random.Random(seed)
    count = chance.randint(2, 12)
    kinds = [chance.choice(["noop", IF, SWITCH, "input", "output"]) for _ in range(count)]
    edges = []
    for _ in range(chance.randint(1, 24)):
        source, target = chance.randrange(count), chance.randrange(count)
        handle = chance.choice(["", ":true", ":false", ":a", ":default", ":error"])
        edges.append(f"n{source}{handle}>n{target}")
    plan = schedule(
        {f"n{number}": kind for number, kind in enumerate(kinds)}, *edges, settings={"maxRounds": 2}
    )
    choices = {
        f"n{number}": [chance.choice(["true", "false", "a", "b", "default"]) for _ in range(5_000)]
        for number, kind in enumerate(kinds)
        if isinstance(kind, tuple)
    }
    fails = {f"n{number}" for number in range(count) if chance.random() < 0.1}
    ran = play(plan, choices, fails, order=chance)
    assert set(ran) | set(skipped(plan)) == {f"n{number}" for number in range(count)}
