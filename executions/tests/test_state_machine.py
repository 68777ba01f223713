"""The engine against a pure model: whatever is done to runs in whatever order, both agree."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from executions import runs, tokens
from executions.errors import Conflict
from executions.models import Run, RunEvent, WaitToken
from executions.testing import Engine
from executions.tests.model.program import effects, program
from executions.tests.model.world import ModelRun, World, fork
from executions.tests.sizes import sized

# Lengths that never add up to the same moment within a run; limits of runs end in halves.
_WAITS = st.sampled_from([None, 13, 43])
_SIMPLE = st.one_of(
    st.just(("step", None)),
    st.tuples(st.just("flaky"), st.integers(1, 2)),
    st.tuples(st.just("sleep"), st.sampled_from([7, 31])),
    st.tuples(st.just("token"), _WAITS),
    st.tuples(st.just("signal"), _WAITS),
    st.just(("fail", None)),
)
_OPS = st.lists(
    st.one_of(_SIMPLE, st.tuples(st.just("child"), st.lists(_SIMPLE, max_size=3))),
    min_size=1,
    max_size=5,
)
_TABLES = """
executions_tokenwaiter executions_waittoken executions_signal executions_idempotencykey
executions_debounce executions_runevent executions_step executions_rundata executions_run
""".split()


def _as_lists(value: Any) -> Any:
    return [_as_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


class Machine(RuleBasedStateMachine):
    """Does one thing at a time to the real runs and to the model."""

    engine: Engine

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.begun = self.engine.now()
        effects.clear()
        with connection.cursor() as cursor:
            for table in _TABLES:
                cursor.execute(f"DELETE FROM {table}")

    # ---- what people and time do ----------------------------------------------------------------

    @rule(
        ops=_OPS,
        delay=st.sampled_from([None, None, 5, 29]),
        limit=st.sampled_from([None, None, 23.5, 61.5]),
        dies=st.booleans(),
    )
    def trigger(self, ops: Any, delay: float | None, limit: float | None, dies: bool) -> None:
        if dies:
            self.engine.crash(after="s0")
        payload = {"ops": _as_lists(ops)}
        handle = runs.trigger(program, payload, delay=delay, run_timeout=limit)
        start = self.world.now + (delay or 0)
        deadline = None if limit is None else start + limit
        self.world.add(ModelRun(ops, handle.id, start_at=start, deadline=deadline))
        self._settle()

    @rule(seconds=st.sampled_from([1, 11, 37, 100]))
    def advance(self, seconds: int) -> None:
        self.engine.advance(seconds=seconds)
        self.world.advance(seconds)
        self._settle()

    @precondition(lambda self: self.world.runs)
    @rule(data=st.data(), value=st.integers(0, 9))
    def complete(self, data: st.DataObject, value: int) -> None:
        places = [(run, at) for run in self.world.runs for at in run.tokens]
        if not places:
            return
        run, at = data.draw(st.sampled_from(places))
        found = WaitToken.objects.get(run_id=run.id, step_key=f"t{at}")
        token = run.tokens[at]
        if token.status == "WAITING":
            tokens.complete(found.id, value)
            token.status, token.output = "COMPLETED", value
        else:
            with pytest.raises(tokens.TokenClosed):
                tokens.complete(found.id, value)
        self._settle()

    @precondition(lambda self: self.world.runs)
    @rule(data=st.data(), value=st.integers(10, 19))
    def signal(self, data: st.DataObject, value: int) -> None:
        run = self._draw(data)
        if self._is_refused(run.is_final, lambda: runs.signal(run.id, "go", value)):
            return
        run.mailbox.append(value)
        self._settle()

    @precondition(lambda self: self.world.runs)
    @rule(data=st.data(), is_terminated=st.booleans())
    def cancel(self, data: st.DataObject, is_terminated: bool) -> None:
        run = self._draw(data)
        act = runs.terminate if is_terminated else runs.cancel
        if not self._is_refused(run.is_final, lambda: act(run.id)):
            run.end("CANCELED")
            self._settle()

    @precondition(lambda self: self.world.runs)
    @rule(data=st.data())
    def pause(self, data: st.DataObject) -> None:
        run = self._draw(data)
        if not self._is_refused(run.is_final or run.is_paused, lambda: runs.pause(run.id)):
            run.is_paused = True
            self._settle()

    @precondition(lambda self: any(run.is_paused for run in self.world.runs))
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from([run for run in self.world.runs if run.is_paused]))
        if not self._is_refused(run.is_final, lambda: runs.resume(run.id)):
            run.is_paused = False
            self._settle()

    @precondition(lambda self: self.world.runs)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        run = self._draw(data)
        handle = runs.replay(run.id)
        self.world.add(ModelRun(run.ops, handle.id, start_at=self.world.now))
        self._settle()

    @precondition(lambda self: self._done_steps())
    @rule(data=st.data(), edited=st.sampled_from([None, 99]))
    def fork(self, data: st.DataObject, edited: int | None) -> None:
        run, place = data.draw(st.sampled_from(self._done_steps()))
        key = f"s{place}"
        given: Any = {"from_step": key} if edited is None else {"outputs": {key: edited}}
        made = fork(run, place, self.world.now, edited=edited)
        made.id = runs.replay(run.id, **given).id
        self.world.add(made)
        self._settle()

    @rule(is_killed=st.booleans())
    def lose_worker(self, is_killed: bool) -> None:
        if is_killed:
            self.engine.crash()
        else:
            self.engine.restart()
        self._settle()

    # ---- what must hold -------------------------------------------------------------------------

    @invariant()
    def both_agree(self) -> None:
        found = {run.id: run for run in Run.objects.all()}
        assert len(found) == len(self.world.runs)
        for run in self.world.runs:
            real = found[run.id]
            assert real.status == run.shown
            assert real.output == (run.seen if run.status == "COMPLETED" else None)
            assert {key: effects[run.id, key] for key in run.effects} == dict(run.effects)
        assert sum(effects.values()) == sum(sum(run.effects.values()) for run in self.world.runs)
        self._events_have_no_gap(found)
        shown = {(token.run_id, token.step_key): token.status for token in WaitToken.objects.all()}
        modelled = {
            (run.id, f"t{at}"): token.status
            for run in self.world.runs
            for at, token in run.tokens.items()
        }
        assert shown == modelled

    def _events_have_no_gap(self, found: dict[str, Run]) -> None:
        numbers: dict[str, list[int]] = {run_id: [] for run_id in found}
        for run_id, seq in RunEvent.objects.order_by("run", "seq").values_list("run", "seq"):
            numbers[run_id].append(seq)
        for run_id, seen in numbers.items():
            assert seen == list(range(1, found[run_id].event_seq + 1))

    # ---- helpers --------------------------------------------------------------------------------

    def _settle(self) -> None:
        self.engine.run_until_idle()
        self.world.settle()
        assert self.engine.now() - self.begun == timedelta(seconds=self.world.now)
        for run in self.world.runs:
            for at, child in run.children.items():
                if not child.id:
                    child.id = Run.objects.get(parent_id=run.id, parent_step=f"c{at}").id

    def _draw(self, data: st.DataObject) -> ModelRun:
        return data.draw(st.sampled_from(self.world.runs))

    def _done_steps(self) -> list[tuple[ModelRun, int]]:
        return [
            (run, place)
            for run in self.world.runs
            for place in range(len(run.seen))
            if run.ops[place][0] in ("step", "flaky")
        ]

    def _is_refused(self, expected: bool, act: Any) -> bool:
        if expected:
            with pytest.raises(Conflict):
                act()
        else:
            act()
        return expected


def test_the_engine_does_what_the_model_says(engine: Engine) -> None:
    machine = type("MachineHere", (Machine,), {"engine": engine})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=sized(200, 10_000),
            stateful_step_count=sized(12, 20),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
