"""Two runs side by side: where their paths part, and which values differ."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from executions import runs
from executions.inspection.comparison import RunFacts, StepFacts, compare, laid_side_by_side
from executions.models import Step
from executions.registry import task
from executions.rules.retry import NO_RETRY
from executions.tests.bodies import noted


def step(key: str, **facts: Any) -> StepFacts:
    return StepFacts(
        **{"key": key, "kind": "step", "status": "COMPLETED", "attempt": 1, "seconds": 0.1, **facts}
    )


def run(*steps: StepFacts, **facts: Any) -> RunFacts:
    return RunFacts(
        **{
            "id": "run_1", "task": "t", "version": None, "status": "COMPLETED", "attempt": 1,
            "generation": 0, "payload": None, "output": 1, "error": None, "seconds": 1.0,
            "usage": {}, "steps": steps, **facts,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("a", "b", "place"),
    [
        ("abc", "abc", None),
        ("abc", "axc", 1),
        ("abc", "ab", 2),
        ("", "a", 0),
        ("ab", "ba", 0),
        ("", "", None),
    ],
)
def test_paths_part_at_the_first_key_that_differs(a, b, place):
    found = laid_side_by_side(run(*map(step, a)), run(*map(step, b)))
    assert found.first_difference == place
    assert ("path" in found.differs_in) == (place is not None)
    assert [pair.key for pair in found.pairs] == list(dict.fromkeys(a + b))


def test_values_that_differ_are_named_and_times_are_not():
    a = run(step("x", input=1, output=2), step("y", error={"type": "E", "traceback": "1"}))
    b = run(
        step("x", input=1, output=3, attempt=2, seconds=9),
        step("y", error={"type": "E", "traceback": "2"}), seconds=9,
    )  # fmt: skip
    found = laid_side_by_side(a, b)
    assert found.pairs[0].differs_in == ("attempt", "output")
    assert found.pairs[1].differs_in == ()
    assert found.differs_in == () and not found.is_same
    assert laid_side_by_side(a, a).is_same


def test_a_step_of_one_run_only_is_shown_beside_nothing():
    (pair,) = laid_side_by_side(run(step("x")), run()).pairs
    assert (pair.b, pair.differs_in) == (None, ("presence",))


@task("compare.sum", retry=NO_RETRY)
async def total(payload: Any, ctx: Any) -> Any:
    values = [await ctx.step(name, noted, payload[name]) for name in sorted(payload)]
    return sum(values)


def test_recorded_runs_are_compared_with_their_usage(executor):
    a, b = total.trigger({"x": 1, "y": 2}), total.trigger({"x": 1, "z": 2})
    assert a.result(timeout=5) == b.result(timeout=5) == 3
    Step.objects.filter(run_id=a.id).update(usage={"tokens": 5, "model": "m"})
    found = compare(a.id, b.id)
    assert found.differs_in == ("payload", "path")
    assert (found.first_difference, found.a.usage, found.b.usage) == (1, {"tokens": 10}, {})
    assert [pair.key for pair in found.pairs] == ["x", "y", "z"]
    assert found.pairs[0].differs_in == ()


def test_the_command_shows_where_runs_part(executor):
    a, b = total.trigger({"x": 1}), total.trigger({"x": 2})
    a.result(timeout=5), b.result(timeout=5)
    out = io.StringIO()
    call_command("compare_runs", a.id, b.id, stdout=out)
    assert "The runs took the same path; their values differ." in out.getvalue()
    again = runs.replay(a.id)
    again.result(timeout=5)
    out = io.StringIO()
    call_command("compare_runs", a.id, again.id, "--json", stdout=out)
    document = json.loads(out.getvalue())
    assert document["same"] is True and document["a"]["id"] == a.id
    with pytest.raises(CommandError, match="no run"):
        call_command("compare_runs", a.id, "run_x")
